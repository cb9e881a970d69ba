package pgproxy

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// An hbaRule is one line of pg_hba.conf as the server reads it.
type hbaRule struct {
	line, kind, databases, users, address, method string
}

func (r hbaRule) String() string {
	return strings.Join(strings.Fields(strings.Join([]string{"line", r.line + ":", r.kind, r.databases, r.users, r.address, r.method}, " ")), " ")
}

// names reports whether the rule is for the user or group, or for everybody.
func (r hbaRule) names(user string) bool {
	for _, u := range strings.Split(r.users, ",") {
		if u == user || u == "all" {
			return true
		}
	}
	return false
}

// around lists the lines that admit user from elsewhere than they should:
// those that admit before a reject for everything has been met. The first
// line that is for the user alone is the gateway's own.
func around(rules []hbaRule, user string) (open []hbaRule, closed bool) {
	host, local := false, false // rejected from here on
	for _, r := range rules {
		if !r.names(user) {
			continue
		}
		everywhere := r.address == "" || r.address == "all" || r.address == "0.0.0.0" || r.address == "::"
		switch {
		case r.method == "reject" && r.kind == "local":
			local = true
		case r.method == "reject" && r.kind == "host" && everywhere && r.databases == "all":
			host = true
		case r.method == "reject":
		case r.kind == "local" && !local, r.kind != "local" && !host:
			if r.users != user || everywhere {
				open = append(open, r)
			}
		}
		if host && local {
			return open, true
		}
	}
	return open, host && local
}

func (k *checker) rules(ctx context.Context) ([]hbaRule, error) {
	rows, err := k.c.query(ctx, `SELECT line_number, type, array_to_string(database, ','), array_to_string(user_name, ','), address, auth_method
		FROM pg_hba_file_rules WHERE error IS NULL ORDER BY line_number`)
	if err != nil {
		return nil, err
	}
	var out []hbaRule
	for _, r := range rows {
		out = append(out, hbaRule{r[0], r[1], r[2], r[3], r[4], r[5]})
	}
	return out, nil
}

// hba looks whether session roles are admitted from the gateway alone.
func (k *checker) hba(ctx context.Context) error {
	rules, err := k.rules(ctx)
	if e, ok := errors.AsType[*pgError](err); ok && e.Code == "42501" {
		k.bad("pg_hba.conf", "the gateway's login may not read it, so that it cannot be checked",
			fmt.Sprintf("GRANT SELECT ON pg_hba_file_rules TO %[1]s; GRANT EXECUTE ON FUNCTION pg_hba_file_rules() TO %[1]s;\nand make sure that these lines are at its top:\n%[2]s",
				quoteIdent(k.t.Postgres.AdminUser), SetupHBA(k.t, "")))
		return nil
	}
	if err != nil {
		return fmt.Errorf("look at pg_hba.conf: %w", err)
	}
	users := []string{"+" + setupSessions}
	if id := k.t.Postgres.Identity; id == "static" || id == "client_cert" {
		users = k.t.Postgres.Roles
	}
	for _, u := range users {
		open, closed := around(rules, u)
		if closed && len(open) == 0 {
			k.ok("pg_hba.conf for "+u, "from the gateway alone")
			continue
		}
		detail := "nothing rejects it at the end"
		if len(open) > 0 {
			detail = "it is admitted around the gateway by " + open[0].String()
		}
		k.bad("pg_hba.conf for "+u, detail+": a session role could set itself a password and connect directly", "put these lines at the top:\n"+SetupHBA(k.t, ""))
	}
	return nil
}

// standing lists who can log in without the gateway.
func (k *checker) standing(ctx context.Context) error {
	rows, err := k.c.query(ctx, `SELECT r.rolname, r.rolsuper,
			(SELECT coalesce(string_agg(g.rolname, ', ' ORDER BY 1), '') FROM pg_roles g WHERE g.rolname = ANY (string_to_array($1, ',')) AND pg_has_role(r.oid, g.oid, 'MEMBER') AND g.oid <> r.oid)
		FROM pg_roles r WHERE r.rolcanlogin AND r.rolname !~ '^jit_[a-z0-9]{1,12}_[a-z0-9]{10,40}$' AND r.rolname <> current_user
			AND has_database_privilege(r.oid, current_database(), 'CONNECT') ORDER BY 2 DESC, 1`, strings.Join(k.t.Postgres.Roles, ","))
	if err != nil {
		return fmt.Errorf("look for standing access: %w", err)
	}
	rules, ruleErr := k.rules(ctx)
	for _, r := range rows {
		var has []string
		if r[1] == "t" {
			has = append(has, "superuser")
		}
		if r[2] != "" {
			has = append(has, "member of "+r[2])
		}
		if slices.Contains(k.t.Postgres.Roles, r[0]) {
			has = append(has, "one of the target's roles")
		}
		way := "pg_hba.conf cannot be read"
		if ruleErr == nil {
			open, _ := around(rules, r[0])
			way = "no line of pg_hba.conf admits it"
			if len(open) > 0 {
				way = open[0].String()
			}
		}
		k.bad("standing access", strings.TrimSpace(fmt.Sprintf("%s can log in (%s); %s", r[0], cmp.Or(strings.Join(has, ", "), "ordinary role"), way)),
			"ALTER ROLE "+quoteIdent(r[0])+" NOLOGIN; -- or a line in pg_hba.conf that keeps it to where it is needed")
	}
	if len(rows) == 0 {
		k.ok("standing access", "nobody else can log in")
	}
	return nil
}
