// Package world is a whole gateway below its protocols, for tests: the SQLite
// store, users with second factors, targets, rules, approvals, keys, tokens,
// recordings and a session manager, all in a directory of the test's own and
// all real. Admissions come the only way there is: through a request, an
// approval by rule, and a code.
//
// It also runs inside a testing/synctest bubble: make it there, and Close it
// there.
package world

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/pquerna/otp/totp"

	"jit-gateway/approval"
	"jit-gateway/approval/mfa"
	"jit-gateway/approval/policy"
	"jit-gateway/ca"
	"jit-gateway/internal/audit"
	"jit-gateway/internal/clock"
	"jit-gateway/internal/identity"
	"jit-gateway/internal/inventory"
	"jit-gateway/internal/seal"
	"jit-gateway/internal/store/sqlite"
	"jit-gateway/recording"
	"jit-gateway/session"
)

// Options of a World; the zero value is alice, web01 and orders, and a rule
// that lets her in.
type Options struct {
	Dir     string                 // t.TempDir if empty: another World may go on where this one was
	Clock   clock.Clock            // clock.System if zero; in a bubble, clock.Simulated
	Rule    func(*policy.Rule)     // changes the rule
	Session func(*session.Options) // changes the session manager's options
	Logger  *slog.Logger
}

// World is the gateway.
type World struct {
	T          testing.TB
	Dir        string
	Clock      clock.Clock
	DB         *sqlite.DB
	Inventory  *inventory.Live
	Approvals  *approval.Service
	MFA        *mfa.Verifier
	Authority  *ca.Authority
	Tokens     *ca.Tokens
	Recordings *recording.Dir
	Sessions   *session.Manager
	Alice      identity.User
	Caller     approval.Caller // alice, from 192.0.2.7 with her key
	Proof      mfa.Proof       // a fresh second factor of hers

	stop   context.CancelFunc
	ran    chan error
	closed bool
}

// Key is the fingerprint of alice's key.
const Key = "SHA256:worldworldworldworldworldworldworldworldwor"

// New makes a World. Sessions can begin after Run.
func New(t testing.TB, o Options) *World {
	t.Helper()
	w := &World{T: t, Dir: o.Dir, Clock: o.Clock}
	if w.Dir == "" {
		w.Dir = t.TempDir()
	}
	if w.Clock.Now == nil {
		w.Clock = clock.System()
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	ctx, now := context.Background(), w.Clock.Now
	var err error
	w.DB, err = sqlite.Open(ctx, filepath.Join(w.Dir, "jit.db"), sqlite.Options{Now: now})
	w.ok(err)
	keys := filepath.Join(w.Dir, "keys")
	if _, err := os.Stat(keys); err != nil {
		w.ok(ca.Init(keys))
	}
	w.Authority, err = ca.Load(keys, ca.Options{Now: now})
	w.ok(err)
	w.Tokens = ca.NewTokens(w.Authority, w.DB, now)
	w.Recordings, err = recording.OpenDir(filepath.Join(w.Dir, "recordings"), recording.DirOptions{Reserve: -1, Now: now})
	w.ok(err)
	w.Inventory, err = inventory.NewLive(targets())
	w.ok(err)

	so := session.Options{
		Instance: fmt.Sprintf("I%d", now().UnixNano()), Store: w.DB, Credentials: w.DB, Instances: w.DB, Grants: w.DB, Log: w.DB, Feed: w.DB,
		Recordings: w.Recordings, Tokens: w.Tokens, Clock: w.Clock, Logger: o.Logger, Exclusive: true,
	}
	if o.Session != nil {
		o.Session(&so)
	}
	w.Sessions, err = session.NewManager(so)
	w.ok(err)

	rule := policy.Rule{Name: "all", Users: []string{"*"}, MaxDuration: policy.Duration(8 * time.Hour), Auto: true}
	if o.Rule != nil {
		o.Rule(&rule)
	}
	set, err := policy.NewSet([]policy.Rule{rule})
	w.ok(err)
	w.Approvals, err = approval.New(approval.Options{
		Users: w.DB, Inventory: w.Inventory, Rules: func() *policy.Set { return set }, Requests: w.DB, Grants: w.DB, Log: w.DB, Now: now,
		Clock: w.Sessions.ClockOK, Feed: w.DB, OpenSessions: w.Sessions.OpenSessions, Logger: o.Logger,
	})
	w.ok(err)
	w.people(ctx)
	return w
}

func targets() []inventory.Target {
	const hostKey = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ1uXrVfW3yTnk4sVv9Yc6oGNYH3W0bP0Q9d8b6S8l3B"
	return []inventory.Target{
		{Name: "web01", Kind: inventory.SSH, Aliases: []string{"www"}, SSH: &inventory.SSHTarget{Address: "127.0.0.1:22", Logins: []string{"deploy", "admin"}, HostKeys: []string{hostKey}}},
		{Name: "orders", Kind: inventory.Postgres, Postgres: &inventory.PostgresTarget{Address: "127.0.0.1:5432", Database: "orders", Roles: []string{"orders_ro"}, TLS: "disable", AdminUser: "jit"}},
	}
}

// people registers alice with a key and a factor, and gives a code of it.
func (w *World) people(ctx context.Context) {
	w.T.Helper()
	now := w.Clock.Now()
	// The verifier's clock is half a minute further at each code, so that no
	// test waits for the next one.
	step := now.Add(-4 * time.Minute)
	box, err := seal.New(make([]byte, 32))
	w.ok(err)
	w.MFA, err = mfa.NewVerifier(mfa.Options{Store: w.DB, Box: box, Now: func() time.Time { return step }, Issuer: "world"})
	w.ok(err)
	w.Alice, err = w.DB.UserByName(ctx, "alice")
	w.Caller = approval.Caller{UserID: "Ualice", KeyFingerprint: Key, Source: "192.0.2.7", Via: "ssh"}
	if err == nil {
		return // an older World made her
	}
	w.Alice = identity.User{ID: "Ualice", Name: "alice", Kind: identity.Human, State: identity.Active, CreatedAt: now}
	ev := func(t audit.Type) audit.Event {
		return audit.Event{Type: t, Outcome: audit.Success, Actor: audit.Gateway, User: "Ualice"}
	}
	w.ok(w.DB.CreateUser(ctx, w.Alice, ev(audit.UserAdded)))
	w.ok(w.DB.AddKey(ctx, identity.Key{Fingerprint: Key, UserID: "Ualice", Authorized: "ssh-ed25519 AAAA", CreatedAt: now}, ev(audit.KeyAdded)))
	w.Alice, err = w.DB.User(ctx, "Ualice")
	w.ok(err)
	secret := w.MFA.BeginTOTP("alice")
	code := func() string {
		step = step.Add(30 * time.Second)
		c, err := totp.GenerateCode(secret.Secret, step)
		w.ok(err)
		return c
	}
	_, _, err = w.MFA.ConfirmTOTP(ctx, "Ualice", secret, code(), audit.Gateway)
	w.ok(err)
	w.Proof, err = w.MFA.VerifyTOTP(ctx, "Ualice", code(), audit.Gateway)
	w.ok(err)
}

// Run starts the session manager, and with approvals their timers too.
func (w *World) Run(approvals bool) {
	ctx, stop := context.WithCancel(context.Background())
	n := 1
	w.stop, w.ran = stop, make(chan error, 2)
	go func() { w.ran <- w.Sessions.Run(ctx) }()
	if approvals {
		n++
		go func() { w.ran <- w.Approvals.Run(ctx) }()
	}
	w.T.Cleanup(w.Close)
	ran := w.ran
	w.stop = func() {
		stop()
		for range n {
			if err := <-ran; err != nil && ctx.Err() == nil {
				w.T.Errorf("run: %v", err)
			}
		}
	}
}

// Close stops everything and closes the store.
func (w *World) Close() {
	if w.closed {
		return
	}
	w.closed = true
	if w.stop != nil {
		w.stop()
	}
	if err := w.DB.Close(); err != nil {
		w.T.Errorf("close the store: %v", err)
	}
}

// Grant asks for a target as alice, and activates what the rule approved.
func (w *World) Grant(target, login string, d time.Duration) approval.Grant {
	w.T.Helper()
	ctx := context.Background()
	r, err := w.Approvals.File(ctx, w.Caller, approval.Ask{Targets: []string{target}, Login: login, Reason: "testing", Duration: d})
	w.ok(err)
	g, err := w.Approvals.Activate(ctx, w.Caller, r.GrantID, w.Proof)
	w.ok(err)
	return g
}

// Admit admits alice under the grant.
func (w *World) Admit(g approval.Grant) approval.Admission {
	w.T.Helper()
	adm, err := w.Approvals.Admit(context.Background(), approval.AdmitInput{Caller: w.Caller, Target: g.Targets[0], Login: g.Login, GrantID: g.ID})
	w.ok(err)
	return adm
}

// Begin begins a session under the grant.
func (w *World) Begin(g approval.Grant) *session.Session {
	w.T.Helper()
	s, err := w.Sessions.Begin(context.Background(), w.Admit(g), session.Meta{Protocol: "ssh", Source: w.Caller.Source, Client: "SSH-2.0-test"})
	w.ok(err)
	return s
}

// Events returns the events of the types, of everything if none is given.
func (w *World) Events(types ...audit.Type) []audit.Event {
	w.T.Helper()
	var out []audit.Event
	for after := int64(-1); ; {
		batch, err := w.DB.Events(context.Background(), after, 1000)
		w.ok(err)
		if len(batch) == 0 {
			return out
		}
		for _, e := range batch {
			after = e.Seq
			for _, t := range types {
				if e.Type == t {
					out = append(out, e)
				}
			}
			if len(types) == 0 {
				out = append(out, e)
			}
		}
	}
}

func (w *World) ok(err error) {
	w.T.Helper()
	if err != nil {
		w.T.Fatal(err)
	}
}
