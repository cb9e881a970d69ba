package postgres

import (
	"context"
	"fmt"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"jit-gateway/approval"
	"jit-gateway/approval/mfa"
	"jit-gateway/internal/audit"
	"jit-gateway/internal/identity"
	"jit-gateway/internal/inventory"
	"jit-gateway/internal/store"
	"jit-gateway/internal/store/sqlite"
	"jit-gateway/internal/store/storetest"
	"jit-gateway/session"
)

// fill gives a store something of most kinds, with what is hard to carry.
func fill(t *testing.T, db storetest.Store) {
	t.Helper()
	ctx, now := t.Context(), time.Date(2026, 3, 4, 5, 6, 7, 123456789, time.UTC)
	ok := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	for i := range 30 {
		u := identity.User{ID: fmt.Sprint("U", i), Name: fmt.Sprint("user", i), Groups: []string{"sre", "Ünïcode \u0000 \xff"}, CreatedAt: now}
		ok(db.CreateUser(ctx, u, audit.Event{Type: audit.UserAdded, User: u.ID, Time: now, Reason: "<b>&\x00\"\n\xfe"}))
		ok(db.AddFactor(ctx, mfa.Factor{ID: fmt.Sprint("F", i), UserID: u.ID, Kind: mfa.TOTP, Sealed: []byte{0, 255, byte(i)}, LastStep: 9, CreatedAt: now}, audit.Event{Type: audit.FactorAdded, User: u.ID}))
		r := approval.Request{ID: fmt.Sprint("R", i), UserID: u.ID, User: u.Name, Targets: []string{"web01", "web02"}, Reason: "x", FiledAt: now, ExpiresAt: now.Add(time.Hour), State: approval.Pending}
		ok(db.CreateRequest(ctx, r, audit.Event{Type: audit.RequestFiled, Request: r.ID}))
		ok(db.BeginSession(ctx, session.Row{ID: fmt.Sprint("S", i), UserID: u.ID, User: u.Name, Target: "web01", Gateway: "I1", StartedAt: now, State: session.Open}, audit.Event{Type: audit.SessionStarted}))
	}
	ok(db.PutTarget(ctx, inventory.Target{Name: "web01", Kind: inventory.SSH}, audit.Event{Type: audit.TargetAdded}))
	ok(db.SaveCursor(ctx, "sink/file", 17))
	ok(db.Beat(ctx, "I1", now))
	_, err := db.HighWater(ctx, now)
	ok(err)
	_, err = db.Agree(ctx, "key/host", "SHA256:x", audit.Event{Type: audit.KeysRecorded})
	ok(err)
	_, err = db.RecordFailure(ctx, "U1", now, audit.Event{Type: audit.FactorFailed})
	ok(err)
}

// TestG7CopyLosesNothing: a SQLite store that is copied is the same store: every
// answer, every row, and the log to its last hash.
func TestG7CopyLosesNothing(t *testing.T) {
	ctx := t.Context()
	path := filepath.Join(t.TempDir(), "gateway.db")
	old, err := sqlite.Open(ctx, path, sqlite.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer old.Close()
	fill(t, old)
	skey, vkey, err := audit.GenerateKey("gw")
	if err != nil {
		t.Fatal(err)
	}
	signer, err := audit.NewSigner(skey)
	if err != nil {
		t.Fatal(err)
	}
	cp, err := (&audit.Checkpointer{Log: old, Source: old, Signer: signer, Now: time.Now}).Sign(ctx)
	if err != nil {
		t.Fatal(err)
	}
	dsn := newDatabase(t)
	got, err := CopyFrom(ctx, dsn, old)
	if err != nil {
		t.Fatal(err)
	}
	if got.Already || got.Tree.N != cp.Size || got.Tree.Hash != cp.Root || got.Rows["users"] != 30 || got.Rows["events"] != cp.Size || got.Rows["request_targets"] != 60 {
		t.Errorf("copied %+v, want the tree of %d events", got, cp.Size)
	}
	again, err := CopyFrom(ctx, dsn, old)
	if err != nil || !again.Already || again.Tree != got.Tree {
		t.Errorf("the same again: %+v, %v", again, err)
	}

	db := openAt(t, dsn, Options{})
	if r, err := audit.Verify(ctx, db, vkey, audit.VerifyOptions{Against: []string{cp.Note}}); err != nil || !r.Intact() || r.Signed != cp.Size {
		t.Errorf("the copied log: %s, %v", r, err)
	}
	if last, err := db.LastCheckpoint(ctx); err != nil || last.Note != cp.Note {
		t.Errorf("the newest checkpoint: %+v, %v", last, err)
	}
	for name, ask := range map[string]func(storetest.Store) (any, error){
		"users":    func(s storetest.Store) (any, error) { return s.Users(ctx) },
		"factors":  func(s storetest.Store) (any, error) { return s.Factors(ctx, "U7") },
		"attempts": func(s storetest.Store) (any, error) { return s.FactorAttempts(ctx, "U1") },
		"requests": func(s storetest.Store) (any, error) {
			return s.ListRequests(ctx, approval.RequestFilter{Target: "web02"})
		},
		"sessions": func(s storetest.Store) (any, error) { return s.ListSessions(ctx, session.Filter{State: session.Open}) },
		"targets":  func(s storetest.Store) (any, error) { return s.StoredTargets(ctx) },
		"cursor":   func(s storetest.Store) (any, error) { return s.Cursor(ctx, "sink/file") },
		"events":   func(s storetest.Store) (any, error) { return s.Events(ctx, -1, 1000) },
		"gateways": func(s storetest.Store) (any, error) { return s.Gateways(ctx, time.Time{}) },
	} {
		want, err := ask(old)
		if err != nil {
			t.Fatal(err)
		}
		if have, err := ask(db); err != nil || !reflect.DeepEqual(have, want) {
			t.Errorf("%s: %v\n%+v\nwant\n%+v", name, err, have, want)
		}
	}
	// The log goes on where it was.
	if e, err := db.Append(ctx, audit.Event{Type: audit.StoreMigrated}); err != nil || e.Seq != cp.Size {
		t.Errorf("the next event is %d, %v; want %d", e.Seq, err, cp.Size)
	}
	if _, err := CopyFrom(ctx, dsn, old); err == nil || !strings.Contains(err.Error(), "is not empty") {
		t.Errorf("over a store that went on: %v", err)
	}
}

// TestG7CopyRefusesDamage: a log that is not what its hashes say is not
// carried over, and the new database stays empty.
func TestG7CopyRefusesDamage(t *testing.T) {
	ctx := t.Context()
	path := filepath.Join(t.TempDir(), "gateway.db")
	old, err := sqlite.Open(ctx, path, sqlite.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer old.Close()
	fill(t, old)
	dsn := newDatabase(t)
	if _, err := CopyFrom(ctx, dsn, damaged{old}); err == nil || !strings.Contains(err.Error(), "root") {
		t.Errorf("a damaged log: %v", err)
	}
	if _, err := CopyFrom(ctx, dsn, wider{old}); err == nil || !strings.Contains(err.Error(), "a table extra") {
		t.Errorf("a table too many: %v", err)
	}
	db := openAt(t, dsn, Options{})
	if users, err := db.Users(ctx); err != nil || len(users) != 0 {
		t.Errorf("%d users came over, %v", len(users), err)
	}
	if err := db.RaiseFinding(ctx, store.Finding{ID: "N1"}, audit.Event{Type: audit.FindingRaised}); err != nil {
		t.Error(err)
	}
	if _, err := CopyFrom(ctx, dsn, old); err == nil || !strings.Contains(err.Error(), "is not empty") {
		t.Errorf("into a store in use: %v", err)
	}
}

// damaged is a store whose tree is not that of its leaves.
type damaged struct{ *sqlite.DB }

func (d damaged) Tree(ctx context.Context) (tlog.Tree, error) {
	tree, err := d.DB.Tree(ctx)
	tree.Hash[0] ^= 1
	return tree, err
}

// wider has a table that this store has not.
type wider struct{ *sqlite.DB }

func (w wider) Tables(ctx context.Context) ([]string, error) {
	names, err := w.DB.Tables(ctx)
	return append(names, "extra"), err
}
