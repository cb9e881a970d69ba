package sqlstore

import (
	"database/sql"
	"errors"
	"path/filepath"
	"strings"
	"testing"

	_ "github.com/mattn/go-sqlite3"

	"jit-gateway/internal/audit"
)

// openTables opens a database with what the writer itself needs, and targets.
func openTables(t *testing.T) *DB {
	t.Helper()
	pool, err := sql.Open("sqlite3", "file:"+filepath.Join(t.TempDir(), "x.db")+"?_journal_mode=WAL")
	if err != nil {
		t.Fatal(err)
	}
	for _, q := range []string{
		"CREATE TABLE events (seq INTEGER PRIMARY KEY, time INTEGER, type TEXT, user_id TEXT, target TEXT, request_id TEXT, grant_id TEXT, session_id TEXT, leaf TEXT, hashes BLOB)",
		"CREATE TABLE clock (id INTEGER PRIMARY KEY, high INTEGER NOT NULL)", "INSERT INTO clock VALUES (1, 0)",
		"CREATE TABLE checkpoints (size INTEGER PRIMARY KEY, root BLOB, note TEXT, time INTEGER)",
		"CREATE TABLE targets (name TEXT PRIMARY KEY, doc TEXT NOT NULL)",
	} {
		if _, err := pool.Exec(q); err != nil {
			t.Fatal(err)
		}
	}
	db, err := New(t.Context(), Options{Connect: pool.Conn, Read: pool, Dialect: Dialect{Begin: []string{"BEGIN IMMEDIATE"}}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(db.Close(), pool.Close()); err != nil {
			t.Error(err)
		}
	})
	return db
}

// TestG7FailedChangeLeavesNothing: whatever fails in a change, neither row nor
// event remains, and the next change and the log are as if it had not been.
func TestG7FailedChangeLeavesNothing(t *testing.T) {
	db := openTables(t)
	row := func(t *tx) error {
		_, err := t.exec("INSERT INTO targets (name, doc) VALUES ('x', '{}')")
		return err
	}
	boom := errors.New("boom")
	for name, fn := range map[string]func(*tx) error{
		"an error after row and event": func(t *tx) error {
			if err := row(t); err != nil {
				return err
			}
			if _, err := t.append(audit.Event{Type: audit.TargetAdded}); err != nil {
				return err
			}
			return boom
		},
		"a panic": func(t *tx) error {
			if err := row(t); err != nil {
				return err
			}
			if _, err := t.append(audit.Event{Type: audit.TargetAdded}); err != nil {
				return err
			}
			panic("boom")
		},
	} {
		before, err := db.Tree(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if err := db.write(t.Context(), fn); err == nil || !strings.Contains(err.Error(), "boom") {
			t.Errorf("%s: %v", name, err)
		}
		if after, err := db.Tree(t.Context()); err != nil || after != before {
			t.Errorf("%s: the tree became %v, %v", name, after, err)
		}
		if targets, err := db.StoredTargets(t.Context()); err != nil || len(targets) != 0 {
			t.Errorf("%s: left %v, %v", name, targets, err)
		}
		if e, err := db.Append(t.Context(), audit.Event{Type: audit.Heartbeat}); err != nil || e.Seq != before.N {
			t.Errorf("%s: the next event is %d, %v; want %d", name, e.Seq, err, before.N)
		}
	}
	intact(t, db)
}

func intact(t *testing.T, db *DB) {
	t.Helper()
	skey, vkey, err := audit.GenerateKey("test")
	if err != nil {
		t.Fatal(err)
	}
	signer, err := audit.NewSigner(skey)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := (&audit.Checkpointer{Log: db, Source: db, Signer: signer, Now: db.now}).Sign(t.Context()); err != nil {
		t.Fatal(err)
	}
	if r, err := audit.Verify(t.Context(), db, vkey, audit.VerifyOptions{}); err != nil || !r.Intact() {
		t.Fatalf("%s, %v", r, err)
	}
}
