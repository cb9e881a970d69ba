package postgres

import (
	"context"
	"fmt"
	"os"
	"sync/atomic"
	"testing"

	"jit-gateway/internal/store/storetest"
	"jit-gateway/internal/testenv"
)

var _ storetest.Store = (*DB)(nil)

// server is the one that these tests share; template is a database with tables.
var server *testenv.Postgres

const template = "jit_template"

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "jit-test-")
	if err == nil {
		err = os.Chmod(dir, 0o755) // the server's user walks through it
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	if server, err = testenv.StartPostgres(ctx, testenv.PostgresOptions{Dir: dir}); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer server.Stop()
	if err := server.Exec(ctx, "postgres", "CREATE DATABASE "+template); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	conf, err := parse(server.URL(template))
	if err == nil {
		err = migrate(ctx, conf)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}

var databases atomic.Int64

// newDatabase makes an empty store's database and returns its address.
func newDatabase(t testing.TB) string {
	t.Helper()
	name := fmt.Sprint("jit_", databases.Add(1))
	server.MustExec(t, "postgres", "CREATE DATABASE "+name+" TEMPLATE "+template+"")
	return server.URL(name)
}

// openAt opens a store that is closed with the test. The contract's times are
// not now, so the clock may differ.
func openAt(t testing.TB, dsn string, o Options) *DB {
	t.Helper()
	if o.ClockTolerance == 0 {
		o.ClockTolerance = -1
	}
	db, err := Open(context.Background(), dsn, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return db
}

func openStore(t *testing.T) storetest.Store { return openAt(t, newDatabase(t), Options{}) }

func TestContract(t *testing.T) { storetest.Run(t, openStore) }

// TestG6RacesHaveOneWinner: two approvers, a code, an invite or a link given
// twice at once: one succeeds.
func TestG6RacesHaveOneWinner(t *testing.T) { storetest.Races(t, openStore) }

// TestG7EveryChangeIsOneEvent: in the same transaction, or not at all.
func TestG7EveryChangeIsOneEvent(t *testing.T) { storetest.EveryChangeIsOneEvent(t, openStore) }
