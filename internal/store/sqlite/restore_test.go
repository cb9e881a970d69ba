package sqlite_test

import (
	"errors"
	"testing"
	"time"

	"github.com/pquerna/otp/totp"

	"jit-gateway/approval"
	"jit-gateway/approval/mfa"
	"jit-gateway/ca"
	"jit-gateway/internal/audit"
	"jit-gateway/internal/identity"
	"jit-gateway/internal/seal"
	"jit-gateway/internal/store"
	"jit-gateway/internal/testenv/world"
)

// After a restore nothing is open that was open in the backup, and no code is
// good that may have been used since; the next code is. Each end is an event,
// and all of it is one transaction.
func TestG4RestoreEndsWhatWasOpen(t *testing.T) {
	t.Parallel()
	w := world.New(t, world.Options{})
	w.Run(true)
	ok := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	ctx, ev := t.Context(), audit.Event{Type: "test.done", Actor: audit.Gateway}
	now := time.Now().UTC()
	g := w.Grant("web01", "deploy", time.Hour)
	ok(w.DB.AddToken(ctx, ca.Token{ID: "T1", GrantID: g.ID, UserID: "Ualice", User: "alice", Target: "web01"}, ev))
	waiting, err := w.Approvals.File(ctx, w.Caller, approval.Ask{Targets: []string{"web01"}, Login: "deploy", Reason: "later", Duration: time.Hour}) // approved, not activated
	ok(err)
	pending := approval.Request{ID: "R-pending", UserID: "Ualice", Targets: []string{"web01"}, State: approval.Pending, FiledAt: now, ExpiresAt: now.Add(time.Hour)}
	ok(w.DB.CreateRequest(ctx, pending, ev))
	ok(w.DB.CreatePageSession(ctx, store.PageSession{ID: "p", UserID: "Ualice", CreatedAt: now, ExpiresAt: now.Add(time.Hour)}, ev))
	ok(w.DB.CreateLink(ctx, store.Link{Hash: []byte{1}, UserID: "Ualice", ExpiresAt: now.Add(time.Hour)}, ev))
	code, inv := identity.NewInvite("Ualice", "bob", now, time.Hour)
	ok(w.DB.CreateInvite(ctx, inv, ev))
	ok(w.DB.CreateAdminAct(ctx, store.AdminAct{ID: "A1", Args: []byte("{}"), CreatedAt: now, ExpiresAt: now.Add(time.Hour)}, ev))
	ok(w.DB.SaveCursor(ctx, "search", 7))

	box, err := seal.New(make([]byte, 32))
	ok(err)
	clock := now.Add(-10 * time.Minute)
	v, err := mfa.NewVerifier(mfa.Options{Store: w.DB, Box: box, Now: func() time.Time { return clock }, Issuer: "x"})
	ok(err)
	ok(w.DB.CreateUser(ctx, identity.User{ID: "Ubob", Name: "bob", State: identity.Active}, ev))
	e := v.BeginTOTP("bob")
	at := func(t0 time.Time) string {
		c, err := totp.GenerateCode(e.Secret, t0)
		ok(err)
		return c
	}
	_, recovery, err := v.ConfirmTOTP(ctx, "Ubob", e, at(clock), audit.Gateway)
	ok(err)

	_, err = v.VerifyRecovery(ctx, "Ubob", recovery[0], audit.Gateway)
	ok(err)
	clock = now
	step := now.Unix()/30 + 1
	before := len(w.Events())
	done, err := w.DB.Restore(ctx, now, step, audit.Event{Type: audit.GatewayRestored, Actor: audit.Gateway})
	ok(err)
	if done.Grants != 2 || done.Tokens != 1 || done.Requests != 1 || done.Browsers != 1 || done.Links != 1 || done.Invites != 1 || done.Acts != 1 || done.Factors != 2 || done.Codes != 2*len(recovery)-1 {
		t.Errorf("ended %+v", done)
	}
	evs := w.Events()[before:]
	count := map[audit.Type]int{}
	for _, e := range evs {
		count[e.Type]++
	}
	for typ, n := range map[audit.Type]int{audit.GatewayRestored: 1, audit.TokenStopped: 1, audit.GrantRevoked: 2, audit.RequestExpired: 1, audit.PageSignedOut: 1, audit.InviteRevoked: 1, audit.AdminActConfirmed: 1, audit.FactorSpent: 2} {
		if count[typ] != n {
			t.Errorf("%d events %s, want %d", count[typ], typ, n)
		}
	}
	if evs[0].Type != audit.GatewayRestored {
		t.Errorf("the first event is %s", evs[0].Type)
	}

	if _, err := w.Approvals.Admit(ctx, approval.AdmitInput{Caller: w.Caller, Target: "web01", Login: "deploy"}); err == nil {
		t.Error("admitted under a grant of the backup")
	}
	if _, err := w.Approvals.Activate(ctx, w.Caller, waiting.GrantID, w.Proof); err == nil {
		t.Error("a grant of the backup was activated")
	}
	if ts, err := w.DB.TokensFor(ctx, "alice", "web01", now); err != nil || len(ts) != 0 {
		t.Errorf("tokens: %v %v", ts, err)
	}
	if r, err := w.DB.Request(ctx, "R-pending"); err != nil || r.State != approval.Expired {
		t.Errorf("request: %v %v", r.State, err)
	}
	if _, err := w.DB.PageSession(ctx, "p"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("browser: %v", err)
	}
	if err := w.DB.UseLink(ctx, []byte{1}, now, ev); !errors.Is(err, store.ErrConflict) {
		t.Errorf("link: %v", err)
	}
	if err := w.DB.UseInvite(ctx, inv.ID, now, ev); !errors.Is(err, store.ErrConflict) {
		t.Errorf("invite %s: %v", code, err)
	}
	if n, err := w.DB.Cursor(ctx, "search"); err != nil || n != -1 {
		t.Errorf("cursor: %d %v", n, err)
	}

	for _, t0 := range []time.Time{now.Add(-30 * time.Second), now, now.Add(30 * time.Second)} {
		if _, err := v.VerifyTOTP(ctx, "Ubob", at(t0), audit.Gateway); !errors.Is(err, mfa.ErrUsedCode) {
			t.Errorf("the code of %v: %v", t0.Sub(now), err)
		}
	}
	if _, err := v.VerifyRecovery(ctx, "Ubob", recovery[1], audit.Gateway); err == nil {
		t.Error("a recovery code of the backup was taken")
	}
	clock = now.Add(time.Minute)
	if _, err := v.VerifyTOTP(ctx, "Ubob", at(clock), audit.Gateway); err != nil {
		t.Errorf("the next code: %v", err)
	}
}
