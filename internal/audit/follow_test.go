package audit_test

import (
	"context"
	"errors"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"jit-gateway/internal/audit"
	"jit-gateway/internal/store/sqlite"
)

func appendTo(t *testing.T, db *sqlite.DB, types ...audit.Type) {
	t.Helper()
	for _, typ := range types {
		if _, err := db.Append(t.Context(), audit.Event{Type: typ, Outcome: audit.Success, Actor: audit.Gateway}); err != nil {
			t.Fatal(err)
		}
	}
}

// A follower begins at the end of the log, sees each event in order and at
// least once through failures and restarts, and saves where it is when it matters.
func TestFollower(t *testing.T) {
	db, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "jit.db"), sqlite.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	appendTo(t, db, audit.LoginPassed, audit.LoginPassed)
	var seen []audit.Type
	fails := 3
	told := make(chan struct{}, 100)
	var troubles atomic.Int32
	f := &audit.Follower{Name: "test", Store: db, Pause: time.Millisecond,
		OnError: func(audit.Event, error, time.Duration) { troubles.Add(1) },
		Handle: func(_ context.Context, ev audit.Event) (bool, error) {
			if ev.Type == audit.KeyAdded && fails > 0 {
				fails--
				return true, errors.New("down")
			}
			seen = append(seen, ev.Type)
			told <- struct{}{}
			return ev.Type == audit.KeyAdded, nil
		}}
	if err := f.Begin(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := f.Begin(t.Context()); err != nil { // again: it moves nothing
		t.Fatal(err)
	}
	run := func(n int) {
		t.Helper()
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- f.Run(ctx) }()
		for range n {
			select {
			case <-told:
			case <-time.After(40 * time.Second):
				t.Fatal("it does not follow")
			}
		}
		stop()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	}
	appendTo(t, db, audit.LoginFailed, audit.KeyAdded, audit.KeyRemoved)
	run(3 + 3) // before each of three failures, what went before is seen once more
	if len(seen) != 6 || seen[len(seen)-2] != audit.KeyAdded || seen[len(seen)-1] != audit.KeyRemoved || troubles.Load() != 3 {
		t.Errorf("seen %v, %d troubles", seen, troubles.Load())
	}
	seen = nil
	appendTo(t, db, audit.UserAdded)
	run(2) // what did not matter is not saved
	if len(seen) != 2 || seen[0] != audit.KeyRemoved || seen[1] != audit.UserAdded {
		t.Errorf("after a restart: %v", seen)
	}
	if err := (&audit.Follower{}).Run(t.Context()); err == nil {
		t.Error("a follower of nothing")
	}
}

func TestSignText(t *testing.T) {
	skey, vkey, err := audit.GenerateKey("gate.example.org/audit")
	if err != nil {
		t.Fatal(err)
	}
	s, err := audit.NewSigner(skey)
	if err != nil {
		t.Fatal(err)
	}
	signed, err := s.SignText("a report\nsha256 00\n")
	if err != nil {
		t.Fatal(err)
	}
	if text, err := audit.OpenText(signed, vkey); err != nil || text != "a report\nsha256 00\n" {
		t.Errorf("%q, %v", text, err)
	}
	if _, err := audit.OpenCheckpoint(signed, vkey); err == nil {
		t.Error("a text is taken for a checkpoint")
	}
	for _, bad := range []string{"gate.example.org/audit\n1\nAAAA\n", audit.FormatCheckpoint("other", tlog.Tree{N: 1}), ""} {
		if _, err := s.SignText(bad); err == nil {
			t.Errorf("%q was signed as a text", bad)
		}
	}
	if _, err := audit.OpenText(signed[:len(signed)-3]+"x\n", vkey); err == nil {
		t.Error("a broken signature")
	}
}
