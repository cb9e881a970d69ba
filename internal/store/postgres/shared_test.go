package postgres

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"jit-gateway/approval/mfa"
	"jit-gateway/internal/audit"
	"jit-gateway/internal/identity"
	"jit-gateway/internal/store"
	"jit-gateway/session"
)

// three opens one database three times, as three gateways do.
func three(t *testing.T, o Options) [3]*DB {
	t.Helper()
	dsn := newDatabase(t)
	return [3]*DB{openAt(t, dsn, o), openAt(t, dsn, o), openAt(t, dsn, o)}
}

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

// TestG7OneTreeOfSeveralGateways: three gateways append at once, and each
// follows the log; every event is in one tree and reaches everyone, in order.
func TestG7OneTreeOfSeveralGateways(t *testing.T) {
	dbs := three(t, Options{})
	const each = 60
	var wg sync.WaitGroup
	for n, db := range dbs {
		for w := range 4 {
			wg.Go(func() {
				for i := range each {
					id := fmt.Sprintf("U-%d-%d-%d", n, w, i)
					if err := db.CreateUser(context.Background(), identity.User{ID: id, Name: id}, audit.Event{Type: audit.UserAdded, User: id}); err != nil {
						t.Error(err)
						return
					}
				}
			})
		}
		wg.Go(func() {
			next := int64(0)
			for e, err := range audit.Tail(t.Context(), db, -1) {
				if err != nil || e.Seq != next {
					t.Errorf("gateway %d was given event %d, want %d: %v", n, e.Seq, next, err)
					return
				}
				if next++; next == 3*4*each {
					return
				}
			}
		})
	}
	wg.Wait()
	if r := verifyIntact(t, dbs[1]); r.Events != 3*4*each {
		t.Errorf("the log has %d events, want %d", r.Events, 3*4*each)
	}
}

// TestG3OtherGatewaysAreWoken: an event is on the other gateways within the
// time of G3, by NOTIFY; and where that is cut, by the next look.
func TestG3OtherGatewaysAreWoken(t *testing.T) {
	dbs := three(t, Options{Poll: 300 * time.Millisecond})
	lag := func() time.Duration {
		last, err := dbs[1].LastSeq(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		woken := make(chan time.Time, 1)
		go func() {
			if err := dbs[1].WaitEvents(t.Context(), last); err != nil {
				t.Error(err)
			}
			woken <- time.Now()
		}()
		if _, err := dbs[0].Append(t.Context(), audit.Event{Type: audit.GrantRevoked}); err != nil {
			t.Fatal(err)
		}
		done := time.Now()
		return (<-woken).Sub(done)
	}
	lag() // prepares statements
	var all []time.Duration
	for range 15 {
		all = append(all, lag())
	}
	slices.Sort(all)
	t.Logf("NOTIFY: median %s, slowest %s", all[7], all[14])
	if all[7] > 100*time.Millisecond {
		t.Errorf("with NOTIFY half of the events took longer than %s", all[7])
	}
	// A trigger-happy firewall: the listening connections are gone, and cannot come back.
	for _, db := range dbs {
		db.deaf()
	}
	if d := lag(); d > 2*time.Second {
		t.Errorf("without NOTIFY it took %s", d)
	} else {
		t.Logf("polling: %s", d)
	}
}

// TestG6OneWinnerAcrossGateways: what must happen once happens once, whichever
// gateway is asked.
func TestG6OneWinnerAcrossGateways(t *testing.T) {
	dbs := three(t, Options{})
	ctx, now := t.Context(), time.Now().UTC().Round(0)
	db := dbs[0]
	ok := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	ok(db.CreateUser(ctx, identity.User{ID: "U1", Name: "alice"}, audit.Event{Type: audit.UserAdded}))
	for i := range 10 {
		f := mfa.Factor{ID: fmt.Sprint("F", i), UserID: "U1", Kind: mfa.TOTP, CreatedAt: now}
		inv := identity.Invite{ID: fmt.Sprint("V", i), UserID: "U1", CodeHash: []byte{byte(i)}, CreatedAt: now, ExpiresAt: now.Add(time.Hour)}
		ok(db.AddFactor(ctx, f, audit.Event{Type: audit.FactorAdded}))
		ok(db.CreateInvite(ctx, inv, audit.Event{Type: audit.UserInvited}))
		for what, try := range map[string]func(*DB) error{
			"a code": func(db *DB) error { return db.UseStep(ctx, f.ID, 7, audit.Event{Type: audit.FactorPassed}) },
			"an invite": func(db *DB) error {
				return db.UseInvite(ctx, inv.ID, now, audit.Event{Type: audit.UserUpdated})
			},
			"the last place of a session": func(db *DB) error {
				return db.BeginSession(ctx, session.Row{ID: fmt.Sprintf("S%d-%p", i, db), UserID: "U1", State: session.Open, StartedAt: now, Rule: fmt.Sprint("rule", i), Most: 1}, audit.Event{Type: audit.SessionStarted})
			},
		} {
			var wg sync.WaitGroup
			errs := make([]error, len(dbs))
			for n, db := range dbs {
				wg.Go(func() { errs[n] = try(db) })
			}
			wg.Wait()
			won := 0
			for _, err := range errs {
				if err == nil {
					won++
				} else if !errors.Is(err, store.ErrConflict) {
					t.Errorf("%s: a loser got %v", what, err)
				}
			}
			if won != 1 {
				t.Errorf("%s: %d gateways won", what, won)
			}
		}
	}
	// Failures are counted together.
	var wg sync.WaitGroup
	for _, db := range dbs {
		wg.Go(func() {
			for range 5 {
				if _, err := db.RecordFailure(ctx, "U1", time.Time{}, audit.Event{Type: audit.FactorFailed}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if a, err := db.FactorAttempts(ctx, "U1"); err != nil || a.Failures != 15 {
		t.Errorf("15 failures on three gateways count as %d, %v", a.Failures, err)
	}
}

// TestG9OneGatewayRecovers: the lock under which orphans are cleaned is held
// by one, and is free again when its holder is done or dead.
func TestG9OneGatewayRecovers(t *testing.T) {
	dbs := three(t, Options{})
	ran, err := dbs[0].Alone(t.Context(), "recover I1", func(ctx context.Context) error {
		for _, db := range dbs[1:] {
			if ran, err := db.Alone(ctx, "recover I1", func(context.Context) error { return errors.New("two at once") }); ran || err != nil {
				t.Errorf("while another has the lock: %v, %v", ran, err)
			}
			if ran, err := db.Alone(ctx, "recover I2", func(context.Context) error { return nil }); !ran || err != nil {
				t.Errorf("another lock: %v, %v", ran, err)
			}
		}
		return errors.New("boom")
	})
	if !ran || err == nil || err.Error() != "boom" {
		t.Errorf("the holder: %v, %v", ran, err)
	}
	if ran, err := dbs[1].Alone(t.Context(), "recover I1", func(context.Context) error { return nil }); !ran || err != nil {
		t.Errorf("afterwards: %v, %v", ran, err)
	}
	release, err := dbs[0].Lock(t.Context(), "factor U1")
	if err != nil {
		t.Fatal(err)
	}
	waiting := make(chan struct{})
	go func() {
		defer close(waiting)
		if other, err := dbs[1].Lock(t.Context(), "factor U1"); err != nil {
			t.Error(err)
		} else {
			other()
		}
	}()
	select {
	case <-waiting:
		t.Error("two gateways hold one lock")
	case <-time.After(100 * time.Millisecond):
	}
	release()
	<-waiting
	// Its connection is cut while it works: the next one can go on.
	ran, err = dbs[0].Alone(t.Context(), "x", func(ctx context.Context) error {
		cut(t, dbs[0])
		for began := time.Now(); time.Since(began) < 5*time.Second; time.Sleep(5 * time.Millisecond) {
			if ran, _ := dbs[1].Alone(ctx, "x", func(context.Context) error { return nil }); ran {
				return nil
			}
		}
		t.Error("the lock outlived its connection")
		return nil
	})
	if !ran || err == nil {
		t.Errorf("whose lock was lost was told %v, %v", ran, err)
	}
}

// cut ends every connection to the store's database.
func cut(t *testing.T, db *DB) {
	t.Helper()
	server.MustExec(t, "postgres", "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '"+db.conf.Database+"'")
}

// TestBus: messages reach every gateway that listens, and nobody else's break it.
func TestBus(t *testing.T) {
	dbs := three(t, Options{})
	got := make(chan string, 9)
	for n, db := range dbs {
		db.Subscribe("cancel", func(text string) { got <- fmt.Sprint(n, " ", text) })
	}
	waitListening(t, dbs[:])
	server.MustExec(t, dbs[0].conf.Database, "SELECT pg_notify('"+busChannel+"', 'not ours'), pg_notify('"+busChannel+"', '{\"t\":\"other\"}')")
	if err := dbs[0].Publish(t.Context(), "cancel", "abc"); err != nil {
		t.Fatal(err)
	}
	var all []string
	for range 3 {
		all = append(all, <-got)
	}
	slices.Sort(all)
	if strings.Join(all, ",") != "0 abc,1 abc,2 abc" {
		t.Errorf("heard: %q", all)
	}
	if err := dbs[0].Publish(t.Context(), "cancel", strings.Repeat("x", 9000)); err == nil {
		t.Error("a message of 9000 bytes was sent")
	}
}

// waitListening waits until every gateway has said LISTEN.
func waitListening(t *testing.T, dbs []*DB) {
	t.Helper()
	for {
		n, err := server.Value(t.Context(), "postgres", "SELECT count(*) FROM pg_stat_activity WHERE datname = $1 AND query = 'LISTEN "+busChannel+"'", dbs[0].conf.Database)
		if err != nil {
			t.Fatal(err)
		}
		if n == fmt.Sprint(len(dbs)) {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
}
