package pgproxy

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"jit-gateway/internal/id"
	"jit-gateway/internal/inventory"
)

// A Finding is one thing that Check looked at.
type Finding struct {
	What   string
	OK     bool
	Detail string
	Fix    string // SQL, pg_hba.conf lines or what to do, if not OK
}

// A checker gathers findings about one target.
type checker struct {
	a        *admins
	t        inventory.Target
	c        *adminConn
	findings []Finding

	installation string
}

func (k *checker) ok(what, detail string) {
	k.findings = append(k.findings, Finding{What: what, OK: true, Detail: detail})
}

func (k *checker) bad(what, detail, fix string) {
	k.findings = append(k.findings, Finding{What: what, Detail: detail, Fix: fix})
}

// Check looks at the target's database as the gateway would use it, and tells
// what is missing or too strong, with the SQL and pg_hba.conf lines that set
// it right. With standing it also lists the ways into the database that do
// not lead through the gateway. It changes nothing, but for one role that it
// makes and drops to see that it can.
func (s *Server) Check(ctx context.Context, t inventory.Target, standing bool) ([]Finding, error) {
	if t.Postgres == nil {
		return nil, fmt.Errorf("target %q is no database", t.Name)
	}
	k := &checker{a: s.admins, t: t, installation: s.o.Installation}
	identity := t.Postgres.Identity
	if identity == "" {
		identity = "dynamic_role"
	}
	if t.Postgres.AdminUser == "" {
		if identity != "static" {
			k.bad("administrator", "the target has no admin_user", "add admin_user and admin_password to the target")
		} else {
			k.ok("administrator", "none: backends are ended by their own login")
		}
		if identity == "static" {
			k.static(ctx, s)
		}
		return k.findings, nil
	}
	err := s.admins.with(ctx, t, adminDatabase(t.Postgres), func(c *adminConn) error {
		k.c = c
		k.findings = nil // a second try starts anew
		k.ok("connection", fmt.Sprintf("%s as %s, PostgreSQL %d", t.Postgres.Address, t.Postgres.AdminUser, c.version/10000))
		ends := func(ctx context.Context) error { return k.ends(ctx, setupHint(t)) }
		steps := []func(context.Context) error{k.admin, ends, k.roles, k.prepared, k.hba}
		if identity == "dynamic_role" {
			steps = []func(context.Context) error{k.admin, k.setup, k.roles, k.prepared, k.hba, func(ctx context.Context) error { return k.try(ctx) }}
		}
		if standing {
			steps = append(steps, k.standing)
		}
		for _, step := range steps {
			if err := step(ctx); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil && k.c == nil {
		k.bad("connection", err.Error(), setupHint(t))
		return k.findings, nil
	}
	if identity == "static" {
		k.static(ctx, s)
	}
	return k.findings, err
}

func setupHint(t inventory.Target) string {
	sql, err := SetupSQL(t)
	if err != nil {
		return err.Error()
	}
	return "run as a superuser in each of its databases:\n" + sql + "\nand put at the top of pg_hba.conf:\n" + SetupHBA(t, "")
}

// admin says whether the gateway's own login is too strong.
func (k *checker) admin(ctx context.Context) error {
	rows, err := k.c.query(ctx, `SELECT concat_ws(', ', CASE WHEN rolsuper THEN 'SUPERUSER' END, CASE WHEN rolcreaterole THEN 'CREATEROLE' END,
		CASE WHEN rolcreatedb THEN 'CREATEDB' END, CASE WHEN rolreplication THEN 'REPLICATION' END, CASE WHEN rolbypassrls THEN 'BYPASSRLS' END),
		(SELECT coalesce(string_agg(g.rolname, ', ' ORDER BY 1), '') FROM pg_auth_members m JOIN pg_roles g ON g.oid = m.roleid WHERE m.member = r.oid)
		FROM pg_roles r WHERE rolname = current_user`)
	if err != nil || len(rows) != 1 {
		return fmt.Errorf("look at the administrator: %w", err)
	}
	attrs, member := rows[0][0], rows[0][1]
	login := quoteIdent(k.t.Postgres.AdminUser)
	byItself := k.c.version >= 160000 && !k.c.setup // its own CREATEROLE makes the session roles
	switch {
	case attrs == "":
		k.ok("administrator's attributes", "none beyond LOGIN")
	case attrs == "CREATEROLE" && byItself:
		k.ok("administrator's attributes", "CREATEROLE, which reaches no further than ADMIN from version 16 on")
	case byItself:
		k.bad("administrator's attributes", attrs+": all but CREATEROLE is too strong", "ALTER ROLE "+login+" NOSUPERUSER NOCREATEDB NOREPLICATION NOBYPASSRLS;")
	default:
		k.bad("administrator's attributes", attrs+" is too strong: up to version 15 CREATEROLE is as good as a shell on the server",
			"ALTER ROLE "+login+" NOSUPERUSER NOCREATEROLE NOCREATEDB NOREPLICATION NOBYPASSRLS;")
	}
	if k.c.setup && member != "" {
		k.bad("administrator's memberships", member+": with the functions none is needed", "REVOKE "+member+" FROM "+login+";")
	}
	return nil
}

// ends says whether the gateway's login may end the backends of logins that
// are not its own.
func (k *checker) ends(ctx context.Context, fix string) error {
	may, err := k.c.one(ctx, "SELECT pg_has_role(current_user, 'pg_signal_backend', 'USAGE')")
	if err != nil {
		return fmt.Errorf("look at pg_signal_backend: %w", err)
	}
	if !k.c.setup && may != "t" {
		k.bad("end a session", "the gateway's login may not end backends", fix)
		return nil
	}
	k.ok("end a session", "")
	return nil
}

// setup looks at the functions.
func (k *checker) setup(ctx context.Context) error {
	if !k.c.setup {
		if k.c.version >= 160000 {
			return k.adminOption(ctx)
		}
		k.bad("session roles", "the functions are not there", setupHint(k.t))
		return nil
	}
	rows, err := k.c.query(ctx, `SELECT p.proname, p.prosecdef, coalesce(array_to_string(p.proconfig, ' '), ''), o.rolname, o.rolsuper, o.rolcanlogin,
			coalesce(array_to_string(p.proacl, ' '), '=X') ~ '(^| )=X'
		FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace JOIN pg_roles o ON o.oid = p.proowner WHERE n.nspname = $1 ORDER BY 1`, setupSchema)
	if err != nil {
		return fmt.Errorf("look at the functions: %w", err)
	}
	var wrong []string
	seen := map[string]bool{}
	for _, r := range rows {
		seen[r[0]] = true
		switch {
		case r[1] == "t" && !strings.Contains(r[2], "search_path="):
			wrong = append(wrong, r[0]+" has no fixed search_path")
		case r[4] == "t":
			wrong = append(wrong, r[0]+" runs as the superuser "+r[3])
		case r[1] == "t" && r[5] == "t":
			wrong = append(wrong, r[0]+" runs as "+r[3]+", which can log in")
		case r[6] == "t":
			wrong = append(wrong, r[0]+" may be called by everybody")
		}
	}
	for _, f := range []string{"create_role", "disable_role", "terminate_role", "drop_role", "terminate_backend"} {
		if !seen[f] {
			wrong = append(wrong, f+" is missing")
		}
	}
	rows, err = k.c.query(ctx, "SELECT a.rolname FROM pg_auth_members m JOIN pg_roles g ON g.oid = m.roleid JOIN pg_roles a ON a.oid = m.member WHERE g.rolname = $1 ORDER BY 1", setupOwner)
	if err != nil {
		return fmt.Errorf("look at who is a member of %s: %w", setupOwner, err)
	}
	for _, r := range rows {
		k.bad("members of "+setupOwner, r[0]+" may make roles as it", "REVOKE "+setupOwner+" FROM "+quoteIdent(r[0])+";")
	}
	if len(wrong) > 0 {
		k.bad("functions", strings.Join(wrong, "; "), setupHint(k.t))
	} else {
		k.ok("functions", "owned by "+setupOwner+", fixed search_path, callable by the gateway alone")
	}
	rows, err = k.c.query(ctx, "SELECT name FROM "+setupSchema+".allowed_roles ORDER BY 1")
	if err != nil {
		return fmt.Errorf("look at the allowed roles: %w", err)
	}
	var allowed []string
	for _, r := range rows {
		allowed = append(allowed, r[0])
	}
	want := slices.Sorted(slices.Values(k.t.Postgres.Roles))
	if slices.Equal(allowed, want) {
		k.ok("allowed roles", strings.Join(allowed, ", "))
	} else {
		k.bad("allowed roles", fmt.Sprintf("the database allows %q, the target has %q", allowed, want), setupHint(k.t))
	}
	return nil
}

// adminOption is for version 16 and later without the functions.
func (k *checker) adminOption(ctx context.Context) error {
	for _, role := range append([]string{setupSessions}, k.t.Postgres.Roles...) {
		n, err := k.c.one(ctx, `SELECT count(*) FROM pg_auth_members m JOIN pg_roles g ON g.oid = m.roleid JOIN pg_roles a ON a.oid = m.member
			WHERE a.rolname = current_user AND g.rolname = $1 AND m.admin_option`, role)
		if err != nil {
			return fmt.Errorf("look at ADMIN on %s: %w", role, err)
		}
		if n == "0" {
			k.bad("session roles", "the gateway has no ADMIN on "+role,
				fmt.Sprintf("GRANT %s TO %s WITH ADMIN TRUE, INHERIT FALSE, SET FALSE;", quoteIdent(role), quoteIdent(k.t.Postgres.AdminUser)))
		} else {
			k.ok("session roles", "ADMIN on "+role)
		}
	}
	return k.ends(ctx, "GRANT pg_signal_backend TO "+quoteIdent(k.t.Postgres.AdminUser)+";")
}

// roles looks at the roles that sessions get.
func (k *checker) roles(ctx context.Context) error {
	identity := k.t.Postgres.Identity
	for _, role := range k.t.Postgres.Roles {
		rows, err := k.c.query(ctx, `SELECT rolsuper, rolcanlogin, concat_ws(', ', CASE WHEN rolsuper THEN 'SUPERUSER' END, CASE WHEN rolcreaterole THEN 'CREATEROLE' END,
				CASE WHEN rolreplication THEN 'REPLICATION' END, CASE WHEN rolbypassrls THEN 'BYPASSRLS' END), has_database_privilege(oid, $2, 'CONNECT'),
				pg_has_role(oid, 'pg_execute_server_program', 'MEMBER') OR pg_has_role(oid, 'pg_write_server_files', 'MEMBER')
			FROM pg_roles WHERE rolname = $1`, role, k.t.Postgres.Database)
		if err != nil {
			return fmt.Errorf("look at role %s: %w", role, err)
		}
		what, name := "role "+role, quoteIdent(role)
		switch {
		case len(rows) == 0:
			k.bad(what, "it does not exist", "CREATE ROLE "+name+" NOLOGIN;")
		case rows[0][2] != "":
			k.bad(what, rows[0][2]+" is not for a session", "ALTER ROLE "+name+" NOSUPERUSER NOCREATEROLE NOREPLICATION NOBYPASSRLS;")
		case rows[0][4] == "t":
			k.bad(what, "it may run programs or write files on the server", "REVOKE pg_execute_server_program, pg_write_server_files FROM "+name+";")
		case rows[0][3] != "t":
			k.bad(what, "it may not CONNECT to "+k.t.Postgres.Database, "GRANT CONNECT ON DATABASE "+quoteIdent(k.t.Postgres.Database)+" TO "+name+";")
		case rows[0][1] == "t" && (identity == "" || identity == "dynamic_role"):
			k.bad(what, "it can log in by itself, around the gateway", "ALTER ROLE "+name+" NOLOGIN;")
		default:
			ways, err := k.c.query(ctx, writesSQL, role)
			if err != nil {
				return fmt.Errorf("look at what role %s may write: %w", role, err)
			}
			detail := "read-only"
			if len(ways) > 0 {
				detail = "can write: " + ways[0][0]
				if len(ways) > 1 {
					detail += ", …"
				}
			}
			k.ok(what, detail)
		}
	}
	return nil
}

func (k *checker) prepared(ctx context.Context) error {
	n, err := k.c.one(ctx, "SHOW max_prepared_transactions")
	if err != nil {
		return fmt.Errorf("look at max_prepared_transactions: %w", err)
	}
	switch {
	case n == "0":
		k.ok("prepared transactions", "off")
	case k.t.Postgres.AllowPreparedTransactions:
		k.ok("prepared transactions", "on, and the target accepts that they outlive a session")
	default:
		k.bad("prepared transactions", "max_prepared_transactions = "+n+": a prepared transaction survives its session and its role",
			"ALTER SYSTEM SET max_prepared_transactions = 0; -- and restart; or allow_prepared_transactions: true in the target")
	}
	return nil
}

// try makes a role and drops it. It is good for a minute at most and nobody
// learns its password.
func (k *checker) try(ctx context.Context) error {
	if len(k.t.Postgres.Roles) == 0 || !k.c.setup && k.c.version < 160000 {
		return nil
	}
	role := roleName(k.installation, "check"+id.Short("", 10))
	member := k.t.Postgres.Roles[0]
	if err := k.a.createRole(ctx, k.t, role, member, randomSecret(), time.Now().Add(time.Minute)); err != nil {
		k.bad("make a session role", err.Error(), setupHint(k.t))
		return nil
	}
	rest, err := k.a.dropRole(ctx, k.t, adminDatabase(k.t.Postgres), role, member)
	if err == nil && rest != "" {
		err = errors.New(rest)
	}
	if err != nil {
		k.bad("drop a session role", err.Error(), "DROP ROLE "+role+"; -- and look at the functions")
		return nil
	}
	k.ok("make and drop a session role", "")
	return nil
}

// static looks whether each role's password is good.
func (k *checker) static(ctx context.Context, s *Server) {
	for _, role := range k.t.Postgres.Roles {
		what := "login as " + role
		ref := k.t.Postgres.Static[role]
		if ref == "" || s.o.Secrets == nil {
			k.bad(what, "the target has no password for it", "add static: {"+role+": file:…} to the target")
			continue
		}
		t := k.t
		p := *t.Postgres
		p.AdminUser, p.AdminPassword = role, ref
		t.Postgres = &p
		if err := s.admins.with(ctx, t, p.Database, func(*adminConn) error { return nil }); err != nil {
			k.bad(what, err.Error(), SetupHBA(k.t, ""))
			continue
		}
		k.ok(what, "")
	}
}
