package pgproxy

import (
	"context"
	"fmt"
	"strings"

	"jit-gateway/internal/inventory"
)

// A setting cannot make a session read-only: the user turns it off again. A
// rule with read_only therefore wants a role that cannot write, and this is
// looked up in the database before every session; the setting comes on top.

// writesSQL lists up to ten ways in which the role can change something.
const writesSQL = `
WITH RECURSIVE r AS (SELECT oid, rolname, rolsuper, rolcreaterole, rolcreatedb, rolreplication, rolbypassrls FROM pg_roles WHERE rolname = $1),
m AS (SELECT oid FROM r UNION SELECT a.roleid FROM pg_auth_members a JOIN m ON a.member = m.oid)
SELECT what FROM (
  SELECT 'the role does not exist' AS what WHERE NOT EXISTS (SELECT FROM r)
  UNION ALL SELECT 'attribute of role ' || g.rolname || ': ' || concat_ws(', ', CASE WHEN g.rolsuper THEN 'SUPERUSER' END, CASE WHEN g.rolcreaterole THEN 'CREATEROLE' END,
      CASE WHEN g.rolcreatedb THEN 'CREATEDB' END, CASE WHEN g.rolreplication THEN 'REPLICATION' END)
    FROM m JOIN pg_roles g USING (oid) WHERE g.rolsuper OR g.rolcreaterole OR g.rolcreatedb OR g.rolreplication
  UNION ALL SELECT 'member of ' || g.rolname FROM m JOIN pg_roles g USING (oid)
    WHERE g.rolname IN ('pg_write_all_data', 'pg_write_server_files', 'pg_execute_server_program', 'pg_signal_backend', 'pg_checkpoint', 'pg_maintain', 'pg_create_subscription', 'pg_database_owner')
  UNION ALL SELECT 'owns ' || c.oid::regclass FROM pg_class c JOIN m ON c.relowner = m.oid WHERE c.relpersistence <> 't' AND c.relkind IN ('r','p','v','m','S','f')
  UNION ALL SELECT 'owns schema ' || n.nspname FROM pg_namespace n JOIN m ON n.nspowner = m.oid
  UNION ALL SELECT 'owns function ' || p.oid::regprocedure FROM pg_proc p JOIN m ON p.proowner = m.oid
  UNION ALL SELECT 'owns the database' FROM pg_database d JOIN m ON d.datdba = m.oid WHERE d.datname = current_database()
  UNION ALL SELECT 'may CREATE in schema ' || n.nspname FROM pg_namespace n, r
    WHERE n.nspname !~ '^pg_(toast|temp)' AND has_schema_privilege(r.oid, n.oid, 'CREATE')
  UNION ALL SELECT 'may CREATE schemas in the database' FROM r WHERE has_database_privilege(r.oid, current_database(), 'CREATE')
  UNION ALL SELECT 'may write ' || c.oid::regclass FROM pg_class c, r
    WHERE c.relkind IN ('r','p','v','m','f') AND c.relpersistence <> 't'
      AND (has_table_privilege(r.oid, c.oid, 'INSERT') OR has_table_privilege(r.oid, c.oid, 'UPDATE') OR has_table_privilege(r.oid, c.oid, 'DELETE')
        OR has_table_privilege(r.oid, c.oid, 'TRUNCATE') OR has_any_column_privilege(r.oid, c.oid, 'INSERT, UPDATE'))
      AND NOT (c.oid = 'pg_settings'::regclass)
  UNION ALL SELECT 'may advance sequence ' || c.oid::regclass FROM pg_class c, r
    WHERE c.relkind = 'S' AND (has_sequence_privilege(r.oid, c.oid, 'USAGE') OR has_sequence_privilege(r.oid, c.oid, 'UPDATE'))
  UNION ALL SELECT 'may run as their owner: ' || p.oid::regprocedure FROM pg_proc p, r
    WHERE p.prosecdef AND p.provolatile = 'v' AND has_function_privilege(r.oid, p.oid, 'EXECUTE')
      AND has_schema_privilege(r.oid, p.pronamespace, 'USAGE')
) w LIMIT 10`

// readOnly refuses unless the role cannot write in the database. It asks as
// the target's administrator, who can see the catalogs, like everybody.
func (s *Server) readOnly(ctx context.Context, t inventory.Target, database, role string) error {
	ways, err := s.admins.writes(ctx, t, database, role)
	if err != nil {
		return fatal(stateCannotNow, "the rule wants a read-only role, and whether %q is one cannot be looked up now", role).because(err)
	}
	if len(ways) > 0 {
		return fatal(stateNotAllowed, "the rule wants a read-only role, and %q can write: %s", role, ways[0]).
			hint("Tell an administrator: `target check %s` lists it all.", t.Name).because(fmt.Errorf("%s", strings.Join(ways, "; ")))
	}
	return nil
}

func (a *admins) writes(ctx context.Context, t inventory.Target, database, role string) (ways []string, err error) {
	p := *t.Postgres
	if p.AdminUser == "" && p.Static[role] != "" { // no administrator: the role looks at itself
		p.AdminUser, p.AdminPassword = role, p.Static[role]
	}
	t.Postgres = &p
	err = a.with(ctx, t, database, func(c *adminConn) error {
		rows, err := c.query(ctx, writesSQL, role)
		ways = nil
		for _, r := range rows {
			ways = append(ways, r[0])
		}
		return err
	})
	return ways, err
}
