package pgproxy

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// An hbaRule is one line of pg_hba.conf as the server reads it.
type hbaRule struct {
	line, kind, databases, users, address, mask, method string
}

func (r hbaRule) String() string {
	address := r.address
	if r.mask != "" && !r.single() {
		address += " " + r.mask
	}
	return strings.Join(strings.Fields(strings.Join([]string{"line", r.line + ":", r.kind, r.databases, r.users, address, r.method}, " ")), " ")
}

// single reports whether the rule is for one address; a name stands for one.
func (r hbaRule) single() bool {
	switch r.address {
	case "", "all", "samenet":
		return false
	}
	return r.mask == "" || r.mask == "255.255.255.255" || r.mask == "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"
}

// A loginName is a role whose ways in are looked for: what lines call it.
type loginName struct {
	name   string   // as the line that is the gateway's own has it: a role, or "+" and a group
	sample string   // a role that regular expressions are tried on
	groups []string // it is a member of, itself included
}

// names reports whether the rule is for the login, one of its groups, or for
// everybody. An expression that is not understood is taken to be.
func (r hbaRule) names(l loginName) bool {
	for _, u := range strings.Split(r.users, ",") {
		if u == "all" || u == l.name {
			return true
		}
		if group, ok := strings.CutPrefix(u, "+"); ok && slices.Contains(l.groups, group) {
			return true
		}
		if expr, ok := strings.CutPrefix(u, "/"); ok {
			if re, err := regexp.Compile(expr); err != nil || re.MatchString(l.sample) {
				return true
			}
		}
	}
	return false
}

// around lists the lines that admit the login from elsewhere than they should:
// those that admit before a reject for everything has been met. A line that
// is for it alone, from one address, and asks for a proof is the gateway's own.
func around(rules []hbaRule, l loginName) (open []hbaRule, closed bool) {
	host4, host6, local := false, false, false // rejected from here on
	for _, r := range rules {
		if !r.names(l) {
			continue
		}
		switch {
		case r.method == "reject" && r.databases != "all":
		case r.method == "reject" && r.kind == "local":
			local = true
		case r.method == "reject" && r.kind == "host":
			host4 = host4 || r.address == "all" || r.address == "0.0.0.0" && r.mask == "0.0.0.0"
			host6 = host6 || r.address == "all" || r.address == "::" && r.mask == "::"
		case r.method == "reject":
		case r.kind == "local" && !local, r.kind != "local" && !(host4 && host6):
			if r.users != l.name || !r.single() || r.method == "trust" || r.method == "password" {
				open = append(open, r)
			}
		}
		if host4 && host6 && local {
			return open, true
		}
	}
	return open, false
}

// member lists the roles that the roles are members of, themselves included.
func (k *checker) member(ctx context.Context, roles ...string) ([]string, error) {
	rows, err := k.c.query(ctx, `WITH RECURSIVE m AS (SELECT oid FROM pg_roles WHERE rolname = ANY (string_to_array($1, chr(31)))
		UNION SELECT a.roleid FROM pg_auth_members a JOIN m ON a.member = m.oid) SELECT rolname FROM pg_roles JOIN m USING (oid)`, strings.Join(roles, "\x1f"))
	var out []string
	for _, r := range rows {
		out = append(out, r[0])
	}
	return out, err
}

func (k *checker) rules(ctx context.Context) ([]hbaRule, error) {
	rows, err := k.c.query(ctx, `SELECT line_number, type, array_to_string(database, ','), array_to_string(user_name, ','), address, netmask, auth_method
		FROM pg_hba_file_rules WHERE error IS NULL ORDER BY line_number`)
	if err != nil {
		return nil, err
	}
	var out []hbaRule
	for _, r := range rows {
		out = append(out, hbaRule{r[0], r[1], r[2], r[3], r[4], r[5], r[6]})
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
	var logins []loginName
	if id := k.t.Postgres.Identity; id == "static" || id == "client_cert" {
		for _, r := range k.t.Postgres.Roles {
			groups, err := k.member(ctx, r)
			if err != nil {
				return fmt.Errorf("look at the memberships of %s: %w", r, err)
			}
			logins = append(logins, loginName{name: r, sample: r, groups: groups})
		}
	} else {
		// A session role is a member of the approved role too, and of all
		// that this is a member of.
		groups, err := k.member(ctx, append([]string{setupSessions}, k.t.Postgres.Roles...)...)
		if err != nil {
			return fmt.Errorf("look at the memberships of session roles: %w", err)
		}
		logins = []loginName{{name: "+" + setupSessions, sample: roleName(k.installation, "s000000000"), groups: groups}}
	}
	for _, l := range logins {
		u := l.name
		open, closed := around(rules, l)
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
			groups, err := k.member(ctx, r[0])
			if err != nil {
				return fmt.Errorf("look at the memberships of %s: %w", r[0], err)
			}
			open, _ := around(rules, loginName{name: r[0], sample: r[0], groups: groups})
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
