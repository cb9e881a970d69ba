package pgproxy

import (
	_ "embed"
	"fmt"
	"strings"
	"text/template"

	"jit-gateway/internal/inventory"
)

// Names that the set-up makes in a database.
const (
	setupSchema   = "jit_gateway"
	setupOwner    = "jit_gateway_owner"
	setupSessions = "jit_sessions"
)

//go:embed sql/setup.sql
var setupText string

var setupTemplate = template.Must(template.New("setup").Funcs(template.FuncMap{"id": quoteIdent, "lit": quoteLiteral}).Parse(setupText))

// SetupSQL is what a superuser runs in the target's databases once, for
// identity dynamic_role. The administrator's password is set apart from it:
// ALTER ROLE … PASSWORD.
func SetupSQL(t inventory.Target) (string, error) {
	p := t.Postgres
	if p == nil || len(p.Roles) == 0 || p.AdminUser == "" {
		return "", fmt.Errorf("target %q needs roles and admin_user for its set-up", t.Name)
	}
	var b strings.Builder
	err := setupTemplate.Execute(&b, struct {
		Schema, Owner, Sessions, Admin string
		Roles                          []string
	}{setupSchema, setupOwner, setupSessions, p.AdminUser, p.Roles})
	return b.String(), err
}

// SetupHBA are the lines for the top of pg_hba.conf: session roles come from
// the gateway alone, so that one that sets itself a password cannot connect
// directly.
func SetupHBA(t inventory.Target, gateway string) string {
	if gateway == "" {
		gateway = "GATEWAY-ADDRESS/32"
	}
	conn := "hostssl"
	if t.Postgres.TLS == "disable" {
		conn = "host"
	}
	admin := t.Postgres.AdminUser
	switch t.Postgres.Identity {
	case "client_cert":
		var b strings.Builder
		for _, r := range t.Postgres.Roles {
			fmt.Fprintf(&b, "hostssl all %s %s cert clientcert=verify-full\nhost    all %s all reject\nlocal   all %s reject\n", quoteIdent(r), gateway, quoteIdent(r), quoteIdent(r))
		}
		return b.String()
	case "static":
		var b strings.Builder
		for _, r := range t.Postgres.Roles {
			fmt.Fprintf(&b, "%s all %s %s scram-sha-256\nhost    all %s all reject\nlocal   all %s reject\n", conn, quoteIdent(r), gateway, quoteIdent(r), quoteIdent(r))
		}
		return b.String()
	}
	return fmt.Sprintf(`%[1]s all +%[2]s %[3]s scram-sha-256
host    all +%[2]s all reject
local   all +%[2]s reject
%[1]s all %[4]s %[3]s scram-sha-256
host    all %[4]s all reject
local   all %[4]s reject
`, conn, setupSessions, gateway, quoteIdent(admin))
}

func quoteIdent(s string) string { return `"` + strings.ReplaceAll(s, `"`, `""`) + `"` }

func quoteLiteral(s string) string {
	if strings.Contains(s, `\`) {
		return `E'` + strings.NewReplacer(`\`, `\\`, `'`, `''`).Replace(s) + `'`
	}
	return `'` + strings.ReplaceAll(s, `'`, `''`) + `'`
}
