package postgres

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"jit-gateway/internal/audit"
	"jit-gateway/internal/identity"
	"jit-gateway/internal/store/sqlstore"
	"jit-gateway/internal/testenv"
)

// through is the store's address by way of the wire, in clear so that the wire
// can see what passes.
func through(t *testing.T, w *testenv.Wire) string {
	t.Helper()
	direct := newDatabase(t)
	_, path, _ := strings.Cut(direct, server.Addr)
	path, _, _ = strings.Cut(path, "?")
	return fmt.Sprintf("postgres://%s:%s@%s%s?sslmode=disable", server.User, server.Password, w.Addr, path)
}

// TestG5LostAnswerOfCommit: the connection breaks after the COMMIT was sent,
// and the server may have it or has even answered. The change is made once and
// is known to be made.
func TestG5LostAnswerOfCommit(t *testing.T) {
	w := testenv.NewWire(t, server.Addr)
	db := openAt(t, through(t, w), Options{Poll: time.Hour})
	for i := range 20 {
		// A new connection prepares COMMIT, which is seen by its text, and then
		// runs it, which is the next that it sends.
		prepared, dropped := false, false
		w.Cut()
		w.Spy(i%2 == 0, func(b []byte) bool {
			if dropped || !prepared {
				prepared = prepared || strings.Contains(string(b), "COMMIT")
				return false
			}
			dropped = true
			return true
		})
		id := fmt.Sprint("U", i)
		if err := db.CreateUser(t.Context(), identity.User{ID: id, Name: id}, audit.Event{Type: audit.UserAdded, User: id}); err != nil {
			t.Fatalf("change %d: %v", i, err)
		}
		w.Spy(false, nil)
		if !dropped {
			t.Fatalf("no COMMIT was seen in change %d (prepared %v)", i, prepared)
		}
		if last, err := db.LastSeq(t.Context()); err != nil || last != int64(i) {
			t.Fatalf("after change %d the newest event is %d, %v", i, last, err)
		}
	}
	if r := verifyIntact(t, db); r.Events != 20 {
		t.Errorf("%d events, want 20", r.Events)
	}
}

// TestG5LostConnections: a server that restarts, and one that ends sessions,
// costs at most a refusal; nothing that was acknowledged is lost, and nothing
// that was refused is there.
func TestG5LostConnections(t *testing.T) {
	dsn := newDatabase(t)
	db := openAt(t, dsn, Options{Poll: 50 * time.Millisecond})
	ctx, stop := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	var mu sync.Mutex
	acked, refused := map[string]bool{}, 0
	for n := range 4 {
		wg.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				id := fmt.Sprintf("U-%d-%d", n, i)
				err := db.CreateUser(context.Background(), identity.User{ID: id, Name: id}, audit.Event{Type: audit.UserAdded, User: id})
				mu.Lock()
				if err == nil {
					acked[id] = true
				} else {
					refused++
				}
				mu.Unlock()
			}
		})
	}
	const cuts = 15
	for i := range cuts { // each of them in the middle of the work
		for deadline := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
			mu.Lock()
			done := len(acked)
			mu.Unlock()
			if done >= 2*(i+1) {
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("%d changes were acknowledged before cut %d", done, i)
			}
		}
		time.Sleep(30 * time.Millisecond)
		cut(t, db)
	}
	stop()
	wg.Wait()
	r := verifyIntact(t, db)
	users, err := db.Users(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if int64(len(users)) != r.Events || len(users) != len(acked) {
		t.Errorf("%d users, %d events, %d acknowledged, %d refused", len(users), r.Events, len(acked), refused)
	}
	for _, u := range users {
		if !acked[u.ID] {
			t.Errorf("%s was refused, and is there", u.ID)
		}
	}
	t.Logf("%d changes acknowledged, %d refused, over 15 cuts", len(acked), refused)
}

// TestG5Partition: while nothing passes, changes and questions are refused
// within their time; afterwards all goes on.
func TestG5Partition(t *testing.T) {
	w := testenv.NewWire(t, server.Addr)
	db := openAt(t, through(t, w), Options{Poll: 50 * time.Millisecond, Timeout: 400 * time.Millisecond})
	if _, err := db.Append(t.Context(), audit.Event{Type: audit.Heartbeat}); err != nil {
		t.Fatal(err)
	}
	w.Silence()
	began := time.Now()
	if err := db.Beat(t.Context(), "I1", time.Now()); err == nil {
		t.Error("a gateway that is cut off said that it is alive")
	}
	if _, err := db.HighWater(t.Context(), time.Now()); err == nil {
		t.Error("a gateway that is cut off read the clock")
	}
	if _, err := db.Users(t.Context()); err == nil {
		t.Error("a gateway that is cut off listed users")
	}
	if took := time.Since(began); took > 8*time.Second {
		t.Errorf("the refusals took %s", took)
	}
	w.Heal()
	w.Cut()
	if _, err := db.Append(t.Context(), audit.Event{Type: audit.Heartbeat}); err != nil {
		t.Errorf("after the partition: %v", err)
	}
	verifyIntact(t, db)
}

// TestG5SlowStatement: a store that is too slow refuses, and holds nobody's lock.
func TestG5SlowStatement(t *testing.T) {
	dsn := newDatabase(t)
	db, other := openAt(t, dsn, Options{Timeout: 300 * time.Millisecond}), openAt(t, dsn, Options{})
	began := time.Now()
	ran, err := blocked(t, db)
	if err == nil || !ran {
		t.Errorf("behind a lock that is held: %v", err)
	}
	if took := time.Since(began); took > 3*time.Second {
		t.Errorf("it took %s", took)
	}
	for _, d := range []*DB{db, other} {
		if _, err := d.Append(t.Context(), audit.Event{Type: audit.Heartbeat}); err != nil {
			t.Errorf("afterwards: %v", err)
		}
	}
	verifyIntact(t, db)
}

// blocked appends while somebody else holds the log's lock.
func blocked(t *testing.T, db *DB) (ran bool, err error) {
	t.Helper()
	tx, err := db.work.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback()
	if _, err := tx.ExecContext(t.Context(), beginChange); err != nil {
		t.Fatal(err)
	}
	_, err = db.Append(t.Context(), audit.Event{Type: audit.Heartbeat})
	return true, err
}

// TestG7ForgetfulServer: a server that lost what it had acknowledged (a
// failover to a standby that was behind, an old backup) is not written to, and
// who follows the log is told.
func TestG7ForgetfulServer(t *testing.T) {
	for name, forget := range map[string]string{
		"shorter":   "DELETE FROM events WHERE seq >= 3",
		"different": "UPDATE events SET hashes = decode(repeat('00', length(hashes)), 'hex') WHERE seq >= 2",
	} {
		t.Run(name, func(t *testing.T) {
			db := openAt(t, newDatabase(t), Options{Poll: 20 * time.Millisecond})
			for range 5 {
				if _, err := db.Append(t.Context(), audit.Event{Type: audit.Heartbeat}); err != nil {
					t.Fatal(err)
				}
			}
			server.MustExec(t, db.conf.Database, "ALTER TABLE events DISABLE TRIGGER events_only_grow; "+forget)
			cut(t, db) // a failover ends connections
			if _, err := db.Append(t.Context(), audit.Event{Type: audit.Heartbeat}); !errors.Is(err, sqlstore.ErrLost) {
				t.Errorf("an append says %v", err)
			}
			if err := db.WaitEvents(t.Context(), 1); !errors.Is(err, sqlstore.ErrLost) {
				t.Errorf("who follows is told %v", err)
			}
			n, err := server.Value(t.Context(), db.conf.Database, "SELECT count(*) FROM events WHERE seq > 4")
			if err != nil || n != "0" {
				t.Errorf("%s events were written after the loss, %v", n, err)
			}
		})
	}
}

// TestG5ClockOfOneGateway: a gateway whose clock is wrong admits nobody and
// does not bar the others.
func TestG5ClockOfOneGateway(t *testing.T) {
	dsn := newDatabase(t)
	good := openAt(t, dsn, Options{ClockTolerance: 2 * time.Second})
	for _, wrong := range []time.Duration{time.Hour, -time.Hour, 3 * time.Second} {
		var off atomic.Int64
		off.Store(int64(wrong))
		shifted := func() time.Time { return time.Now().Add(time.Duration(off.Load())) }
		bad := openAt(t, dsn, Options{Now: shifted, ClockTolerance: 2 * time.Second})
		if _, err := bad.HighWater(t.Context(), shifted()); err == nil || !strings.Contains(err.Error(), "nobody is admitted") {
			t.Errorf("%s: the mark was raised: %v", wrong, err)
		}
		if err := bad.ClockOK(t.Context()); err == nil {
			t.Errorf("%s: the clock passes", wrong)
		}
		if _, err := bad.Append(t.Context(), audit.Event{Type: audit.Heartbeat}); err != nil { // what it refuses is audited all the same
			t.Error(err)
		}
		off.Store(0) // mended: what it wrote meanwhile bars nobody
		if mark, err := bad.HighWater(t.Context(), shifted()); err != nil || mark.After(time.Now().Add(time.Minute)) {
			t.Errorf("%s, mended: the mark is %s, %v", wrong, mark, err)
		}
	}
	mark, err := good.HighWater(t.Context(), time.Now())
	if err != nil || mark.After(time.Now().Add(time.Minute)) {
		t.Errorf("the mark is %s, %v", mark, err)
	}
	if err := good.ClockOK(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestG8ConnectionStringIsVerified(t *testing.T) {
	for dsn, want := range map[string]string{
		"postgres://gw:hunter2@db.example/jit":                     "not verified",
		"postgres://gw:hunter2@db.example/jit?sslmode=disable":     "not verified",
		"postgres://gw:hunter2@db.example/jit?sslmode=require":     "not verified",
		"postgres://gw:hunter2@db.example/jit?sslmode=prefer":      "not verified",
		"host=127.0.0.1,db.example dbname=jit sslmode=disable":     "not verified",
		"postgres://gw:hunter2@db.example/?sslmode=verify-full":    "names no database",
		"postgres://gw:hunter2@db.example:x/jit":                   "cannot be read",
		"postgres://gw:hunter2@db.example/jit?sslmode=verify-full": "",
		"host=a.example,b.example dbname=jit sslmode=verify-full":  "",
		"postgres://gw:hunter2@127.0.0.1/jit?sslmode=disable":      "",
		"host=/run/postgresql dbname=jit":                          "",
		"postgres://gw:hunter2@[::1]/jit?sslmode=disable":          "",
	} {
		_, err := parse(dsn)
		switch {
		case want == "" && err != nil:
			t.Errorf("%s: %v", dsn, err)
		case want != "" && (err == nil || !strings.Contains(err.Error(), want)):
			t.Errorf("%s: %v, want …%s…", dsn, err, want)
		case err != nil && strings.Contains(err.Error(), "hunter2"):
			t.Errorf("the password is in the error: %v", err)
		}
	}
}
