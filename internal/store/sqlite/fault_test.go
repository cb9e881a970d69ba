package sqlite

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"jit-gateway/internal/audit"
	"jit-gateway/internal/identity"
	"jit-gateway/internal/store"
	"jit-gateway/internal/store/sqlstore"
)

// verifyIntact signs the log with a new key and verifies it.
func verifyIntact(t *testing.T, db *DB) audit.Report {
	t.Helper()
	skey, vkey, err := audit.GenerateKey("test")
	if err != nil {
		t.Fatal(err)
	}
	signer, err := audit.NewSigner(skey)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := (&audit.Checkpointer{Log: db, Source: db, Signer: signer, Now: time.Now}).Sign(t.Context()); err != nil {
		t.Fatal(err)
	}
	r, err := audit.Verify(t.Context(), db, vkey, audit.VerifyOptions{})
	if err != nil || !r.Intact() {
		t.Fatalf("%s, %v", r, err)
	}
	return r
}

// TestG5FullDisk: a store that cannot grow refuses, in words, and goes on when
// there is room again. Changes that share the commit all fail.
func TestG5FullDisk(t *testing.T) {
	db := openAt(t, filepath.Join(t.TempDir(), "gateway.db"))
	pragma := func(q string) {
		t.Helper()
		if _, err := db.conn.ExecContext(t.Context(), q); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := db.Append(t.Context(), audit.Event{Type: audit.Heartbeat}); err != nil {
		t.Fatal(err)
	}
	pragma("PRAGMA max_page_count = 1") // no more than there are: the disk is full
	big := audit.Event{Type: audit.Heartbeat, Reason: strings.Repeat("x", 64<<10)}
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			if _, err := db.Append(context.Background(), big); err == nil || !strings.Contains(err.Error(), "full") {
				t.Errorf("on a full disk: %v", err)
			}
		})
	}
	wg.Wait()
	pragma("PRAGMA max_page_count = 1000000")
	e, err := db.Append(t.Context(), big)
	if err != nil || e.Seq != 1 {
		t.Errorf("with room again: event %d, %v", e.Seq, err)
	}
	verifyIntact(t, db)
}

// TestG9AcknowledgedEventsSurviveKill: what was acknowledged before kill -9 is
// there afterwards, row and event, and the log is intact.
func TestG9AcknowledgedEventsSurviveKill(t *testing.T) {
	if path := os.Getenv("JIT_TEST_KILLED_STORE"); path != "" {
		writeUntilKilled(path)
		return
	}
	path := filepath.Join(t.TempDir(), "gateway.db")
	total := 0
	for round := range 3 {
		cmd := exec.Command(os.Args[0], "-test.run", "^"+t.Name()+"$")
		cmd.Env = append(os.Environ(), "JIT_TEST_KILLED_STORE="+path, fmt.Sprint("JIT_TEST_ROUND=", round))
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		acked := map[string]bool{}
		s := bufio.NewScanner(out)
		for s.Scan() {
			if id, ok := strings.CutPrefix(s.Text(), "acked "); ok {
				acked[id] = true
			} else {
				t.Log(s.Text())
			}
			if len(acked) == 300 {
				if err := cmd.Process.Kill(); err != nil {
					t.Fatal(err)
				}
			}
		}
		if err := cmd.Wait(); err == nil {
			t.Fatal("the writer was not killed")
		}
		total += len(acked)

		db := openAt(t, path)
		r := verifyIntact(t, db)
		users, err := db.Users(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if int64(len(users)) != r.Events || len(users) < total {
			t.Errorf("%d users, %d events, %d acknowledged", len(users), r.Events, total)
		}
		for id := range acked {
			if _, err := db.User(t.Context(), id); err != nil {
				t.Errorf("acknowledged, and lost: %v", err)
			}
		}
		tamper(t, path, "DELETE FROM checkpoints") // each verifyIntact has a key of its own
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
		restoreTriggers(t, path)
	}
}

func restoreTriggers(t *testing.T, path string) {
	t.Helper()
	db, err := connect(context.Background(), path, "FULL", 1, false)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	for _, s := range []string{
		"CREATE TRIGGER events_only_grow_update BEFORE UPDATE ON events BEGIN SELECT RAISE(ABORT, 'x'); END",
		"CREATE TRIGGER events_only_grow_delete BEFORE DELETE ON events BEGIN SELECT RAISE(ABORT, 'x'); END",
	} {
		if _, err := db.Exec(s); err != nil {
			t.Fatal(err)
		}
	}
}

func writeUntilKilled(path string) {
	db, err := Open(context.Background(), path, Options{})
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	for w := range 4 {
		go func() {
			for i := 0; ; i++ {
				id := fmt.Sprintf("U-%s-%d-%d", os.Getenv("JIT_TEST_ROUND"), w, i)
				if err := db.CreateUser(context.Background(), identity.User{ID: id, Name: id}, audit.Event{Type: audit.UserAdded, User: id}); err != nil {
					fmt.Println(err)
					os.Exit(1)
				}
				fmt.Println("acked", id)
			}
		}()
	}
	select {}
}

func TestOneWriter(t *testing.T) {
	path := filepath.Join(t.TempDir(), "gateway.db")
	db := openAt(t, path)
	_, err := Open(t.Context(), path, Options{})
	if err == nil || !strings.Contains(err.Error(), fmt.Sprintf("another gateway has it open (process %d); a store has one writer", os.Getpid())) {
		t.Errorf("a second Open: %v", err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	openAt(t, path)
}

// TestG8StoreFilesArePrivate: nobody but their owner reads them.
func TestG8StoreFilesArePrivate(t *testing.T) {
	dir := t.TempDir()
	db := openAt(t, filepath.Join(dir, "gateway.db"))
	if _, err := db.Append(t.Context(), audit.Event{Type: audit.Heartbeat}); err != nil {
		t.Fatal(err)
	}
	files, err := os.ReadDir(dir)
	if err != nil || len(files) < 5 {
		t.Fatalf("%v, %v", files, err)
	}
	for _, f := range files {
		info, err := f.Info()
		if err != nil || info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has mode %v, %v", f.Name(), info.Mode(), err)
		}
	}
}

func TestSettings(t *testing.T) {
	db := openAt(t, filepath.Join(t.TempDir(), "gate way?#%.db")) // a name that is no URL
	for q, want := range map[string]string{"PRAGMA journal_mode": "wal", "PRAGMA synchronous": "2", "PRAGMA foreign_keys": "1"} {
		var got string
		if err := db.conn.QueryRowContext(t.Context(), q).Scan(&got); err != nil || got != want {
			t.Errorf("%s = %s, %v; want %s", q, got, err, want)
		}
	}
	var all string
	err := db.read.QueryRowContext(t.Context(), "SELECT group_concat(name || ' ' || sql, ';;') FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'goose_%' AND name NOT LIKE 'sqlite_%'").Scan(&all)
	tables := strings.Split(all, ";;")
	if err != nil || len(tables) < 15 {
		t.Fatalf("%d tables, %v", len(tables), err)
	}
	for _, s := range tables {
		if !strings.Contains(s, "STRICT") {
			t.Errorf("not STRICT: %s", s)
		}
	}
	if _, err := db.read.ExecContext(t.Context(), "DELETE FROM users"); err == nil {
		t.Error("a reader could write")
	}
}

func TestNewerStoreIsRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "gateway.db")
	db := openAt(t, path)
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	tamper(t, path, "INSERT INTO goose_db_version (version_id, is_applied) VALUES (999, 1); PRAGMA user_version = 998")
	if _, err := Open(t.Context(), path, Options{}); err == nil || !strings.Contains(err.Error(), "a newer version wrote it") {
		t.Errorf("Open: %v", err)
	}
}

func TestClosedStore(t *testing.T) {
	db := openAt(t, filepath.Join(t.TempDir(), "gateway.db"))
	waiting := make(chan error, 1)
	go func() { waiting <- db.WaitEvents(context.Background(), 99) }()
	time.Sleep(10 * time.Millisecond) // either way it must return
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-waiting; !errors.Is(err, sqlstore.ErrClosed) {
		t.Errorf("who waited got %v", err)
	}
	if _, err := db.Append(t.Context(), audit.Event{Type: audit.Heartbeat}); !errors.Is(err, sqlstore.ErrClosed) {
		t.Errorf("Append: %v", err)
	}
}

// TestCallerThatGaveUp: a change whose caller has gone before it began is not made.
func TestCallerThatGaveUp(t *testing.T) {
	db := openAt(t, filepath.Join(t.TempDir(), "gateway.db"))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	err := db.CreateUser(ctx, identity.User{ID: "U1", Name: "alice"}, audit.Event{Type: audit.UserAdded})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("CreateUser: %v", err)
	}
	if _, err := db.User(t.Context(), "U1"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("User: %v", err)
	}
}

// TestHighWaterSurvives: the newest time is known after a restart.
func TestG5HighWaterSurvives(t *testing.T) {
	path := filepath.Join(t.TempDir(), "gateway.db")
	db := openAt(t, path)
	ahead := time.Now().Add(time.Hour).UTC().Round(0)
	if _, err := db.HighWater(t.Context(), ahead); err != nil {
		t.Fatal(err)
	}
	if _, err := db.Append(t.Context(), audit.Event{Type: audit.Heartbeat, Time: ahead.Add(time.Millisecond)}); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	db = openAt(t, path)
	if got, err := db.HighWater(t.Context(), time.Now()); err != nil || !got.Equal(ahead.Add(time.Millisecond)) {
		t.Errorf("after a restart: %v, %v; want %v", got, err, ahead)
	}
	now := time.Now()
	if err := db.ResetHighWater(t.Context(), now, audit.Event{Type: audit.ClockReset}); err != nil {
		t.Fatal(err)
	}
	if got, err := db.HighWater(t.Context(), now); err != nil || got.After(now.Add(time.Minute)) {
		t.Errorf("after a reset: %v, %v", got, err)
	}
}
