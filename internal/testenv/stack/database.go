package stack

import (
	"context"
	"fmt"
	"os"

	"jit-gateway/internal/inventory"
	"jit-gateway/proxy/pgproxy"
)

// adminPassword is of the gateway's own login, on this one database.
const adminPassword = "demo-only-password"

// ordersTarget is the definition of orders, as it goes into the configuration.
func (s *Stack) ordersTarget() inventory.Target {
	t := &inventory.PostgresTarget{
		Address: s.db.Addr, Database: "orders", Roles: []string{"orders_ro", "orders_rw"},
		Identity: "dynamic_role", CAFile: s.db.CAFile, AdminUser: "jit_gateway",
	}
	if s.opts.PlainDatabase {
		t.TLS, t.CAFile = "disable", ""
	}
	return inventory.Target{Name: "orders", Kind: inventory.Postgres, Postgres: t}
}

// prepareDatabase fills the database and runs what `target check` tells a
// superuser to run, once.
func (s *Stack) prepareDatabase(ctx context.Context) error {
	if err := s.db.CreateOrders(ctx, "orders"); err != nil {
		return fmt.Errorf("create the database orders: %w", err)
	}
	setup, err := pgproxy.SetupSQL(s.ordersTarget())
	if err != nil {
		return err
	}
	if err := s.db.Exec(ctx, "orders", setup); err != nil {
		return fmt.Errorf("set up orders for session roles: %w", err)
	}
	if err := s.db.Exec(ctx, "orders", "ALTER ROLE jit_gateway PASSWORD '"+adminPassword+"'"); err != nil {
		return err
	}
	// So that `target check` can tell whether pg_hba.conf is right.
	if err := s.db.Exec(ctx, "orders", "GRANT SELECT ON pg_hba_file_rules TO jit_gateway; GRANT EXECUTE ON FUNCTION pg_hba_file_rules() TO jit_gateway"); err != nil {
		return err
	}
	if err := s.db.SetHBA(ctx, pgproxy.SetupHBA(s.ordersTarget(), "127.0.0.1/32")); err != nil {
		return fmt.Errorf("write pg_hba.conf: %w", err)
	}
	return os.WriteFile(s.path("orders.password"), []byte(adminPassword+"\n"), 0o600)
}
