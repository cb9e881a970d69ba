package pgproxy

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"time"

	"jit-gateway/internal/inventory"
)

// How a session role is made and ended. With the set-up of sql/setup.sql the
// gateway calls its functions. Without it, from version 16 on, where CREATEROLE
// reaches no further than ADMIN, the gateway's login does the same itself.

var errNotSetUp = errors.New("the database is not set up for session roles: `target check` prints the SQL")

// roleName is the name of a session's role.
func roleName(installation, session string) string {
	return "jit_" + installation + "_" + strings.ToLower(session)
}

// retriable are errors of concurrent changes to the same catalog rows.
func retriable(err error) bool {
	e, ok := errors.AsType[*pgError](err)
	return ok && (e.Code == "40P01" || e.Code == "40001" || strings.Contains(e.Message, "tuple concurrently"))
}

// createRole makes the role, a member of memberOf, until end at the latest. It
// does not wait for the database's disk: a server that crashes before it has the
// role there ends the session as well, and there is less to clean up. Dropping
// one waits.
func (a *admins) createRole(ctx context.Context, t inventory.Target, role, memberOf, password string, end time.Time) error {
	salt := make([]byte, 16)
	rand.Read(salt)
	// One iteration: the password is 32 random bytes (BASELINES: 0.1 ms instead of 3).
	verifier, err := scramVerifier(password, salt, 1)
	if err != nil {
		return err
	}
	until := end.UTC().Format(time.RFC3339)
	err = a.retry(ctx, t, adminDatabase(t.Postgres), func(c *adminConn) error {
		var err error
		switch {
		case c.setup:
			_, err = c.query(ctx, "SELECT set_config('synchronous_commit', 'off', true), "+setupSchema+".create_role($1, $2, $3, $4::timestamptz)", role, memberOf, verifier, until)
		case c.version >= 160000:
			err = c.exec(ctx, fmt.Sprintf("SET LOCAL synchronous_commit = off; CREATE ROLE %s LOGIN INHERIT NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS CONNECTION LIMIT 1 PASSWORD %s VALID UNTIL %s IN ROLE %s, %s",
				quoteIdent(role), quoteLiteral(verifier), quoteLiteral(until), setupSessions, quoteIdent(memberOf)))
		default:
			err = errNotSetUp
		}
		if e, ok := errors.AsType[*pgError](err); ok && e.Code == "42710" { // a retry after the answer was lost
			return nil
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("create role %s: %w", role, err)
	}
	return nil
}

func (a *admins) retry(ctx context.Context, t inventory.Target, database string, fn func(*adminConn) error) error {
	for try := 0; ; try++ {
		err := a.with(ctx, t, database, fn)
		if try == 5 || !retriable(err) {
			return err
		}
		select {
		case <-time.After(time.Duration(try+1) * 5 * time.Millisecond):
		case <-ctx.Done():
			return err
		}
	}
}

// disableRole lets nobody log in as the role any more.
func (a *admins) disableRole(ctx context.Context, t inventory.Target, role string) error {
	return a.retry(ctx, t, adminDatabase(t.Postgres), func(c *adminConn) error {
		if c.setup {
			_, err := c.query(ctx, "SELECT "+setupSchema+".disable_role($1)", role)
			return err
		}
		err := c.exec(ctx, "ALTER ROLE "+quoteIdent(role)+" NOLOGIN")
		if e, ok := errors.AsType[*pgError](err); ok && e.Code == "42704" {
			return nil // gone already
		}
		return err
	})
}

// terminateRole ends every backend of the role, at once.
func (a *admins) terminateRole(ctx context.Context, t inventory.Target, role string) error {
	return a.with(ctx, t, adminDatabase(t.Postgres), func(c *adminConn) error {
		sql := "SELECT " + setupSchema + ".terminate_role($1)"
		if !c.setup {
			sql = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE usename = $1"
		}
		_, err := c.query(ctx, sql, role)
		return err
	})
}

// dropRole drops the role in the one call that does for a session which has
// ended by itself. rest says what is in the way.
func (a *admins) dropRole(ctx context.Context, t inventory.Target, database, role, memberOf string) (rest string, err error) {
	err = a.retry(ctx, t, database, func(c *adminConn) error {
		if c.setup {
			rest, err = c.one(ctx, "SELECT "+setupSchema+".drop_role($1)", role)
			return err
		}
		if c.version < 160000 {
			return errNotSetUp
		}
		rest, err = c.dropRole(ctx, role, memberOf)
		return err
	})
	return rest, err
}

// dropRole is the function of the same name in sql/setup.sql, for a login
// with CREATEROLE from version 16 on.
func (c *adminConn) dropRole(ctx context.Context, role, memberOf string) (string, error) {
	rows, err := c.query(ctx, `SELECT r.oid, (SELECT count(*) FROM pg_stat_activity a WHERE a.usesysid = r.oid),
		(SELECT count(*) FROM pg_shdepend s WHERE s.refclassid = 'pg_authid'::regclass AND s.refobjid = r.oid
			AND s.dbid IN (0, (SELECT oid FROM pg_database WHERE datname = current_database()))),
		(SELECT coalesce(string_agg(DISTINCT d.datname, ','), '') FROM pg_shdepend s JOIN pg_database d ON d.oid = s.dbid
			WHERE s.refclassid = 'pg_authid'::regclass AND s.refobjid = r.oid AND d.datname <> current_database())
		FROM pg_roles r WHERE r.rolname = $1`, role)
	if err != nil || len(rows) == 0 {
		return "", err
	}
	if rows[0][1] != "0" {
		return "backends", nil
	}
	id := quoteIdent(role)
	if rows[0][2] != "0" {
		if err := c.exec(ctx, "GRANT "+id+" TO CURRENT_USER WITH INHERIT TRUE, SET TRUE; REASSIGN OWNED BY "+id+" TO "+quoteIdent(memberOf)+"; DROP OWNED BY "+id); err != nil {
			return "", err
		}
	}
	if rows[0][3] != "" {
		return "databases " + rows[0][3], nil
	}
	return "", c.exec(ctx, "DROP ROLE "+id)
}

// roleExists is the after-check.
func (a *admins) roleExists(ctx context.Context, t inventory.Target, role string) (yes bool, err error) {
	err = a.with(ctx, t, adminDatabase(t.Postgres), func(c *adminConn) error {
		n, err := c.one(ctx, "SELECT count(*) FROM pg_roles WHERE rolname = $1", role)
		yes = n != "0"
		return err
	})
	return yes, err
}
