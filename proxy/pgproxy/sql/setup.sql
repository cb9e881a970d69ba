-- What the gateway needs in PostgreSQL: run as a superuser in every database
-- that is reachable through it. Running it again changes nothing.
--
-- {{.Owner}} owns the functions below and can create roles; nobody can log in
-- as it. {{.Admin}} is the gateway's own login: it can call the functions, and
-- nothing else. Every session role is a member of {{.Sessions}}, which
-- pg_hba.conf names.
BEGIN;
-- What somebody else put into a schema of this name would run with the rights
-- of whoever runs this.
DO $jit$ BEGIN
  IF EXISTS (SELECT FROM pg_catalog.pg_namespace n JOIN pg_catalog.pg_roles r ON r.oid = n.nspowner WHERE n.nspname = '{{.Schema}}' AND r.rolname <> '{{.Owner}}') THEN
    RAISE EXCEPTION 'the schema {{.Schema}} belongs to somebody else: see what is in it, and drop it first';
  END IF;
END $jit$;
DO $jit$ BEGIN
  IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '{{.Owner}}') THEN CREATE ROLE {{.Owner}} NOLOGIN; END IF;
  IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '{{.Sessions}}') THEN CREATE ROLE {{.Sessions}} NOLOGIN; END IF;
  IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = {{lit .Admin}}) THEN CREATE ROLE {{id .Admin}} LOGIN; END IF;
END $jit$;
ALTER ROLE {{.Owner}} NOLOGIN CREATEROLE NOSUPERUSER NOCREATEDB NOREPLICATION NOBYPASSRLS;
ALTER ROLE {{.Sessions}} NOLOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS;
ALTER ROLE {{id .Admin}} LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS;
GRANT pg_signal_backend TO {{.Owner}};
-- From version 16 creating roles is not enough: ADMIN on what is granted.
DO $jit$ BEGIN
  IF current_setting('server_version_num')::int >= 160000 THEN
    GRANT {{.Sessions}} TO {{.Owner}} WITH ADMIN OPTION;
{{- range .Roles}}
    GRANT {{id .}} TO {{$.Owner}} WITH ADMIN OPTION;
{{- end}}
  END IF;
END $jit$;

CREATE SCHEMA IF NOT EXISTS {{.Schema}} AUTHORIZATION {{.Owner}};
ALTER SCHEMA {{.Schema}} OWNER TO {{.Owner}};
REVOKE ALL ON SCHEMA {{.Schema}} FROM PUBLIC;
GRANT USAGE ON SCHEMA {{.Schema}} TO PUBLIC; -- pg_dump of anybody locks and reads every table

-- The roles that sessions may be members of.
CREATE TABLE IF NOT EXISTS {{.Schema}}.allowed_roles (name name PRIMARY KEY);
ALTER TABLE {{.Schema}}.allowed_roles OWNER TO {{.Owner}};
REVOKE ALL ON {{.Schema}}.allowed_roles FROM PUBLIC;
GRANT SELECT ON {{.Schema}}.allowed_roles TO PUBLIC;
INSERT INTO {{.Schema}}.allowed_roles VALUES {{range $i, $r := .Roles}}{{if $i}}, {{end}}({{lit $r}}){{end}} ON CONFLICT DO NOTHING;
DELETE FROM {{.Schema}}.allowed_roles WHERE name NOT IN ({{range $i, $r := .Roles}}{{if $i}}, {{end}}{{lit $r}}{{end}});

CREATE OR REPLACE FUNCTION {{.Schema}}.check_name(session_role text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $jit$
BEGIN
  IF session_role IS NULL OR session_role !~ '^jit_[a-z0-9]{1,12}_[a-z0-9]{10,40}$' THEN
    RAISE EXCEPTION '% is not the name of a session role', session_role USING ERRCODE = 'insufficient_privilege';
  END IF;
END $jit$;

-- A role for one session: a member of one allowed role, with a SCRAM verifier
-- (never a password), one connection, and a last moment.
CREATE OR REPLACE FUNCTION {{.Schema}}.create_role(session_role text, member_of text, verifier text, valid_until timestamptz) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $jit$
BEGIN
  PERFORM {{.Schema}}.check_name(session_role);
  IF NOT EXISTS (SELECT FROM {{.Schema}}.allowed_roles a WHERE a.name = member_of) THEN
    RAISE EXCEPTION 'role % is not allowed for sessions', member_of USING ERRCODE = 'insufficient_privilege';
  END IF;
  IF verifier !~ '^SCRAM-SHA-256\$[0-9]+:[A-Za-z0-9+/=]+\$[A-Za-z0-9+/=]+:[A-Za-z0-9+/=]+$' THEN
    RAISE EXCEPTION 'a SCRAM-SHA-256 verifier is needed' USING ERRCODE = 'invalid_password';
  END IF;
  EXECUTE format('CREATE ROLE %I LOGIN INHERIT NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS CONNECTION LIMIT 1 '
    'PASSWORD %L VALID UNTIL %L IN ROLE {{.Sessions}}, %I', session_role, verifier, valid_until, member_of);
END $jit$;

-- Nobody can log in as the role any more.
CREATE OR REPLACE FUNCTION {{.Schema}}.disable_role(session_role text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $jit$
BEGIN
  PERFORM {{.Schema}}.check_name(session_role);
  IF EXISTS (SELECT FROM pg_roles WHERE rolname = session_role) THEN
    EXECUTE format('ALTER ROLE %I NOLOGIN', session_role);
  END IF;
END $jit$;

-- Ends every backend of the role, and says how many there were.
CREATE OR REPLACE FUNCTION {{.Schema}}.terminate_role(session_role text) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $jit$
DECLARE n bigint;
BEGIN
  PERFORM {{.Schema}}.check_name(session_role);
  SELECT count(pg_terminate_backend(pid)) INTO n FROM pg_stat_activity WHERE usename = session_role;
  RETURN n;
END $jit$;

-- Drops the role unless it has backends. What it owns in this database goes to
-- the role that it is a member of. Returns '' when the role is gone, else what
-- is in the way.
CREATE OR REPLACE FUNCTION {{.Schema}}.drop_role(session_role text) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $jit$
DECLARE
  role_oid oid; heir name; here oid; rest text;
BEGIN
  PERFORM {{.Schema}}.check_name(session_role);
  SELECT oid INTO role_oid FROM pg_roles WHERE rolname = session_role;
  IF role_oid IS NULL THEN RETURN ''; END IF;
  IF EXISTS (SELECT FROM pg_stat_activity WHERE usesysid = role_oid) THEN RETURN 'backends'; END IF;
  SELECT oid INTO here FROM pg_database WHERE datname = current_database();
  IF EXISTS (SELECT FROM pg_shdepend WHERE refclassid = 'pg_authid'::regclass AND refobjid = role_oid AND dbid IN (0, here)) THEN
    SELECT g.rolname INTO heir FROM pg_auth_members m JOIN pg_roles g ON g.oid = m.roleid
      JOIN {{.Schema}}.allowed_roles a ON a.name = g.rolname WHERE m.member = role_oid LIMIT 1;
    IF heir IS NULL THEN RETURN 'no heir: the role is no member of an allowed role'; END IF;
    IF current_setting('server_version_num')::int >= 160000 THEN
      EXECUTE format('GRANT %I TO {{.Owner}} WITH INHERIT TRUE, SET TRUE', session_role);
    ELSE
      EXECUTE format('GRANT %I TO {{.Owner}}', session_role);
    END IF;
    EXECUTE format('REASSIGN OWNED BY %I TO %I', session_role, heir);
    EXECUTE format('DROP OWNED BY %I', session_role);
  END IF;
  SELECT string_agg(DISTINCT d.datname, ',') INTO rest FROM pg_shdepend s JOIN pg_database d ON d.oid = s.dbid
    WHERE s.refclassid = 'pg_authid'::regclass AND s.refobjid = role_oid AND s.dbid <> here;
  IF rest IS NOT NULL THEN RETURN 'databases ' || rest; END IF;
  EXECUTE format('DROP ROLE %I', session_role);
  RETURN '';
END $jit$;

-- Ends one backend of an allowed role: for logins that are not per session.
CREATE OR REPLACE FUNCTION {{.Schema}}.terminate_backend(backend_pid int, started timestamptz) RETURNS bigint
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $jit$
  SELECT count(pg_terminate_backend(a.pid)) FROM pg_stat_activity a
    WHERE a.pid = backend_pid AND a.backend_start = started
      AND a.usename IN (SELECT r.name FROM {{.Schema}}.allowed_roles r);
$jit$;

DO $jit$ DECLARE f text; BEGIN
  FOREACH f IN ARRAY ARRAY['check_name(text)', 'create_role(text,text,text,timestamptz)', 'disable_role(text)', 'terminate_role(text)', 'drop_role(text)', 'terminate_backend(int,timestamptz)'] LOOP
    EXECUTE format('ALTER FUNCTION {{.Schema}}.%s OWNER TO {{.Owner}}', f);
    EXECUTE format('REVOKE ALL ON FUNCTION {{.Schema}}.%s FROM PUBLIC', f);
    EXECUTE format('GRANT EXECUTE ON FUNCTION {{.Schema}}.%s TO {{id .Admin}}', f);
  END LOOP;
END $jit$;
COMMIT;
