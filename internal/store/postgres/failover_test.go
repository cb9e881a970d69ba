package postgres

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"jit-gateway/internal/audit"
	"jit-gateway/internal/identity"
	"jit-gateway/internal/testenv"
)

// TestG5Failover: the server's machine is lost under load and its synchronous
// standby takes over. What was acknowledged is there, what was refused is not,
// the log is one tree, and the store goes on by itself.
func TestG5Failover(t *testing.T) {
	primary := testenv.NewPostgres(t, testenv.PostgresOptions{})
	dir := filepath.Join(testenv.Dir(t), "standby")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	standby, err := primary.Standby(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { standby.Stop() })
	primary.MustExec(t, "postgres", "CREATE DATABASE store")
	dsn := fmt.Sprintf("host=127.0.0.1,127.0.0.1 port=%d,%d user=%s password=%s dbname=store sslmode=verify-full sslrootcert=%s",
		primary.Port, standby.Port, primary.User, primary.Password, primary.CAFile)
	db := openAt(t, dsn, Options{Poll: 50 * time.Millisecond, Timeout: 2 * time.Second})

	ctx, stop := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	var mu sync.Mutex
	acked := map[string]bool{}
	count := func() int { mu.Lock(); defer mu.Unlock(); return len(acked) }
	for n := range 4 {
		wg.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				id := fmt.Sprintf("U-%d-%d", n, i)
				if db.CreateUser(context.Background(), identity.User{ID: id, Name: id}, audit.Event{Type: audit.UserAdded, User: id}) == nil {
					mu.Lock()
					acked[id] = true
					mu.Unlock()
				}
			}
		})
	}
	wait := func(what string, more int) {
		t.Helper()
		want := count() + more
		for began := time.Now(); count() < want; time.Sleep(5 * time.Millisecond) {
			if time.Since(began) > 30*time.Second {
				t.Fatalf("%s: no change is acknowledged any more", what)
			}
		}
	}
	wait("before", 40)
	if err := primary.Kill(); err != nil {
		t.Fatal(err)
	}
	lost := time.Now()
	if err := standby.Promote(t.Context()); err != nil {
		t.Fatal(err)
	}
	wait("after the failover", 40)
	t.Logf("40 changes were acknowledged by the standby %s after the server was lost", time.Since(lost).Round(time.Millisecond))
	stop()
	wg.Wait()
	r := verifyIntact(t, db)
	users, err := db.Users(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	there := map[string]bool{}
	for _, u := range users {
		there[u.ID] = true
	}
	for id := range acked {
		if !there[id] {
			t.Errorf("%s was acknowledged, and is lost", id)
		}
	}
	// A COMMIT whose answer was lost with the server may be there though its
	// caller was told that nobody knows; nothing else may.
	if int64(len(users)) != r.Events || len(users) > len(acked)+4 {
		t.Errorf("%d users, %d events, %d acknowledged", len(users), r.Events, len(acked))
	}
}
