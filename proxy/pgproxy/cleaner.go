package pgproxy

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"jit-gateway/internal/inventory"
	"jit-gateway/session"
)

// Kinds of credential that this package mints.
const (
	KindRole    = "pg_role"    // a session role
	KindCert    = "pg_cert"    // a client certificate
	KindBackend = "pg_backend" // a backend of a login that outlives the session (static, client_cert)
)

// A RoleCleaner ends what sessions of this package leave in databases: it is
// the session.Cleaner of KindRole, KindCert and KindBackend. It needs nothing
// but the credential, so that it works after a crash and for a target that
// was changed or removed since. It drops only what the store names.
type RoleCleaner struct {
	admins *admins
}

// NewRoleCleaner returns a cleaner. It needs no Server: session.NewManager
// takes it before there is one.
func NewRoleCleaner(secrets func(ref string) (string, error)) *RoleCleaner {
	return &RoleCleaner{admins: &admins{secrets: secrets}}
}

// Cleaners is what session.Options takes.
func (r *RoleCleaner) Cleaners() map[string]session.Cleaner {
	return map[string]session.Cleaner{KindRole: r, KindCert: r, KindBackend: r}
}

// detailOf is what a credential must say of its target to be ended later. It
// holds references to secrets, never secrets.
func detailOf(t inventory.Target, database, login string) map[string]string {
	p := t.Postgres
	d := map[string]string{"address": p.Address, "database": database, "role": login}
	for k, v := range map[string]string{"admin_user": p.AdminUser, "admin_password": p.AdminPassword, "admin_database": adminDatabase(p),
		"tls": p.TLS, "ca_file": p.CAFile} {
		if v != "" {
			d[k] = v
		}
	}
	return d
}

// target is the target as the credential knew it.
func (r *RoleCleaner) target(c session.Credential) inventory.Target {
	d := c.Detail
	return inventory.Target{Name: c.Target, Kind: inventory.Postgres, Postgres: &inventory.PostgresTarget{
		Address: d["address"], Database: d["database"], Roles: []string{d["role"]}, TLS: d["tls"], CAFile: d["ca_file"],
		AdminUser: d["admin_user"], AdminPassword: d["admin_password"], AdminDatabase: d["admin_database"],
	}}
}

// Invalidate ends the credential: no login, no backend, no role.
func (r *RoleCleaner) Invalidate(ctx context.Context, c session.Credential) error {
	switch c.Kind {
	case KindRole:
		if !strings.HasPrefix(c.Name, "jit_") {
			return fmt.Errorf("%q is not the name of a session role", c.Name)
		}
		return r.endRole(ctx, r.target(c), c.Name, c.Detail["database"], c.Detail["role"])
	case KindBackend:
		return r.endBackend(ctx, c)
	case KindCert:
		return nil // its key was in memory only, for the one handshake
	}
	return fmt.Errorf("no way to end a %s", c.Kind)
}

// endRole ends a role in whatever state it is. For a session that has ended
// by itself it is one call.
func (r *RoleCleaner) endRole(ctx context.Context, t inventory.Target, role, database, heir string) error {
	var done []string
	home := adminDatabase(t.Postgres)
	for try := 0; ; try++ {
		rest, err := r.admins.dropRole(ctx, t, home, role, heir)
		if err != nil {
			return fmt.Errorf("drop role %s: %w", role, err)
		}
		switch {
		case rest == "":
			return nil
		case rest == "backends":
			if try == 0 {
				if err := r.admins.disableRole(ctx, t, role); err != nil {
					return fmt.Errorf("disable role %s: %w", role, err)
				}
			}
			if err := r.admins.terminateRole(ctx, t, role); err != nil {
				return fmt.Errorf("terminate role %s: %w", role, err)
			}
		case strings.HasPrefix(rest, "databases "):
			// It owns something elsewhere: drop_role hands that over there.
			for _, db := range strings.Split(strings.TrimPrefix(rest, "databases "), ",") {
				if slices.Contains(done, db) {
					return fmt.Errorf("drop role %s: it still owns something in database %s", role, db)
				}
				done = append(done, db)
				if _, err := r.admins.dropRole(ctx, t, db, role, heir); err != nil {
					return fmt.Errorf("clear role %s out of database %s: %w", role, db, err)
				}
			}
			continue
		default:
			return fmt.Errorf("drop role %s: %s", role, rest)
		}
		// A backend goes within a few milliseconds, but for one in
		// uninterruptible code.
		select {
		case <-time.After(min(time.Duration(try+1)*2*time.Millisecond, 100*time.Millisecond)):
		case <-ctx.Done():
			return fmt.Errorf("drop role %s: its backends would not end: %w", role, context.Cause(ctx))
		}
	}
}

// endBackend ends one backend of a login that goes on existing. A pid alone
// is not enough: the number may belong to somebody else by now.
func (r *RoleCleaner) endBackend(ctx context.Context, c session.Credential) error {
	for try := 0; ; try++ {
		n, err := r.backend(ctx, c, true)
		if err != nil {
			return err
		}
		if n == "0" {
			return nil
		}
		select {
		case <-time.After(min(time.Duration(try+1)*2*time.Millisecond, 100*time.Millisecond)):
		case <-ctx.Done():
			return fmt.Errorf("end backend %s: it would not end: %w", c.Name, context.Cause(ctx))
		}
	}
}

// backend counts the backends that c names (one or none), and ends them.
func (r *RoleCleaner) backend(ctx context.Context, c session.Credential, end bool) (n string, err error) {
	pid, start, ok := strings.Cut(c.Name, "@")
	if !ok {
		return "", fmt.Errorf("%q names no backend", c.Name)
	}
	count := "SELECT count(*) FROM pg_stat_activity WHERE pid = $1::int AND backend_start = $2::timestamptz"
	run := func(conn *adminConn) error {
		sql := count
		if end {
			sql = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE pid = $1::int AND backend_start = $2::timestamptz"
			if conn.setup {
				sql = "SELECT " + setupSchema + ".terminate_backend($1::int, $2::timestamptz)"
			}
		}
		n, err = conn.one(ctx, sql, pid, start)
		return err
	}
	t := r.target(c)
	if t.Postgres.AdminUser != "" {
		err = r.admins.with(ctx, t, adminDatabase(t.Postgres), run)
		return n, err
	}
	// Without an administrator the login itself may end its own backends.
	ref := c.Detail["static_password"]
	if ref == "" {
		return "", errors.New("the target has no admin_user to end its backends with")
	}
	t.Postgres.AdminUser, t.Postgres.AdminPassword, t.Postgres.AdminDatabase = c.Detail["role"], ref, c.Detail["database"]
	err = r.admins.with(ctx, t, c.Detail["database"], run)
	return n, err
}

// Check says whether the credential is dead, by looking.
func (r *RoleCleaner) Check(ctx context.Context, c session.Credential) error {
	switch c.Kind {
	case KindRole:
		switch yes, err := r.admins.roleExists(ctx, r.target(c), c.Name); {
		case err != nil:
			return err
		case yes:
			return fmt.Errorf("role %s is still there", c.Name)
		}
	case KindBackend:
		switch n, err := r.backend(ctx, c, false); {
		case err != nil:
			return err
		case n != "0":
			return fmt.Errorf("backend %s is still there", c.Name)
		}
	}
	return nil
}
