package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"jit-gateway/internal/audit"
	"jit-gateway/internal/config"
	"jit-gateway/internal/store/postgres"
	"jit-gateway/internal/store/sqlite"
)

// storeCmd is what is done to a store that no gateway has open.
type storeCmd struct {
	Migrate storeMigrateCmd `cmd:"" help:"Copy the SQLite store into an empty PostgreSQL database, for several gateways. Stop the gateway first."`
}

type storeMigrateCmd struct {
	To   string `required:"" help:"Where the connection string is kept: file:/path, env:NAME or credential:NAME."`
	From string `help:"SQLite file; that of the configuration by default." type:"path"`
}

// moved is on record in a SQLite store that was copied: no gateway starts on
// it any more, for its log goes on elsewhere.
const moved = "moved to PostgreSQL"

// Run copies in one transaction, compares the copied log with the old one by
// its leaves, verifies its signatures, and marks the old store. Run again
// after a failure it does what is still to do.
func (m storeMigrateCmd) Run(ctx context.Context, cli *local, s *io3) (err error) {
	c, err := config.Load(cli.Config)
	if err != nil {
		return err
	}
	path := cmp.Or(m.From, c.Store.Path)
	if path == "" {
		path = filepath.Join(c.DataDir, "jit-gateway.db") // the configuration names the new store already
	}
	if _, err := os.Stat(path); err != nil {
		return fmt.Errorf("find the store to copy: %w; name it with --from", err)
	}
	dsn, err := config.Secret(m.To)
	if err != nil {
		return err
	}
	vkey, err := os.ReadFile(filepath.Join(c.DataDir, "keys", "audit.pub"))
	if err != nil {
		return fmt.Errorf("read the audit log's public key: %w", err)
	}
	old, err := sqlite.Open(ctx, path, sqlite.Options{Now: now})
	if err != nil {
		return err // also: a gateway has it open
	}
	defer func() { err = errors.Join(err, old.Close()) }()
	got, err := postgres.CopyFrom(ctx, dsn, old)
	if err != nil {
		return fmt.Errorf("copy the store: %w", err)
	}
	if err := m.settle(ctx, s, old, dsn, strings.TrimSpace(string(vkey)), got); err != nil {
		return err
	}
	fmt.Fprintf(s.out, "\nPut this into %s, and start the gateway; %s is not used any more:\n\n  store:\n    postgres:\n      dsn: %s\n", cli.Config, path, m.To)
	return nil
}

// settle verifies the copy, tells both stores, and prints what was done.
func (m storeMigrateCmd) settle(ctx context.Context, s *io3, old *sqlite.DB, dsn, vkey string, got postgres.Copied) (err error) {
	db, err := postgres.Open(ctx, dsn, postgres.Options{Now: now, ClockTolerance: -1})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	report, err := audit.Verify(ctx, db, vkey, audit.VerifyOptions{})
	if err != nil {
		return fmt.Errorf("verify the copied audit log: %w", err)
	}
	if !report.Intact() {
		return fmt.Errorf("the copied audit log does not verify, as the old one did not: %s", report)
	}
	before, err := old.LastCheckpoint(ctx)
	if err != nil {
		return err
	}
	rows := int64(0)
	for _, table := range slices.Sorted(maps.Keys(got.Rows)) {
		fmt.Fprintf(s.out, "%-20s %10d rows\n", table, got.Rows[table])
		rows += got.Rows[table]
	}
	if got.Already {
		fmt.Fprintln(s.out, "The database holds this store already: an earlier run copied it.")
	}
	fmt.Fprintf(s.out, "\nAudit log           %d events, root %s, the same before and after\nNewest checkpoint   of %d events, came along\nVerified            %s\n",
		got.Tree.N, got.Tree.Hash, before.Size, report)
	ev := audit.Event{Type: audit.StoreMigrated, Outcome: audit.Success, Actor: audit.Actor{Name: "local-admin", Via: "store migrate"},
		Detail: map[string]string{"events": fmt.Sprint(got.Tree.N), "root": got.Tree.Hash.String(), "tables": fmt.Sprint(len(got.Rows)), "rows": fmt.Sprint(rows)}}
	if _, err := db.Append(ctx, ev); err != nil {
		return err
	}
	return old.Retire(ctx, moved, now().Format(time.RFC3339))
}
