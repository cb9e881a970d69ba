package approval_test

import (
	"context"
	"errors"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pquerna/otp/totp"

	"jit-gateway/approval"
	"jit-gateway/approval/mfa"
	"jit-gateway/approval/policy"
	"jit-gateway/internal/audit"
	"jit-gateway/internal/identity"
	"jit-gateway/internal/inventory"
	"jit-gateway/internal/seal"
	"jit-gateway/internal/store/sqlite"
)

// world is a gateway without wires: a real store, a clock that tests turn,
// people with keys and authenticator apps, and rules that can be swapped.
type world struct {
	*testing.T
	ctx     context.Context
	db      *sqlite.DB
	inv     *inventory.Live
	svc     *approval.Service
	mfa     *mfa.Verifier
	rules   atomic.Pointer[policy.Set]
	open    atomic.Int64 // sessions that OpenSessions reports
	clockOK func(context.Context) error

	bubble  bool // in testing/synctest: time is time.Now
	mu      sync.Mutex
	now     time.Time
	users   map[string]identity.User
	secrets map[string]string
}

// Sunday noon, so that hours and days are easy to think of.
var noon = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

const home = "192.0.2.10"

func (w *world) Now() time.Time {
	if w.bubble {
		return time.Now()
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.now
}

func (w *world) pass(d time.Duration) {
	if w.bubble {
		time.Sleep(d)
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.now = w.now.Add(d)
}

func ssh(name string, labels map[string]string, owners ...string) inventory.Target {
	return inventory.Target{Name: name, Kind: inventory.SSH, Labels: labels, Owners: owners,
		SSH: &inventory.SSHTarget{Address: "192.0.2.1:22", Logins: []string{"deploy", "admin"},
			HostKeys: []string{"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJmf9AYJHqKGNLIXvB/QmBOFQLM4PmgNCjrNXHHPaQVE"}}}
}

func targets() []inventory.Target {
	return []inventory.Target{
		ssh("web01", map[string]string{"role": "web"}, "web-owners"), ssh("web02", map[string]string{"role": "web"}, "web2-owners"),
		ssh("vault", map[string]string{"role": "secret"}),
	}
}

// plain is the rule of most tests: engineers ask, leads approve.
func plain() policy.Rule {
	return policy.Rule{Name: "web", Groups: []string{"sre"}, Labels: map[string]string{"role": "web"},
		MaxDuration: policy.Duration(8 * time.Hour), Approve: []policy.Quorum{{Groups: []string{"leads"}}}}
}

func newWorld(t *testing.T, rules ...policy.Rule) *world {
	t.Helper()
	return makeWorld(t, false, rules...)
}

// inBubble runs f on a world whose clock is that of testing/synctest, with Run at work.
func inBubble(t *testing.T, f func(w *world), rules ...policy.Rule) {
	synctest.Test(t, func(t *testing.T) {
		w := makeWorld(t, true, rules...)
		w.run(f)
	})
}

// run calls f while Run runs.
func (w *world) run(f func(w *world)) {
	ctx, stop := context.WithCancel(w.ctx)
	done := make(chan error, 1)
	go func() { done <- w.svc.Run(ctx) }()
	f(w)
	stop()
	if err := <-done; err != nil {
		w.Errorf("Run: %v", err)
	}
}

func makeWorld(t *testing.T, bubble bool, rules ...policy.Rule) *world {
	t.Helper()
	w := &world{T: t, bubble: bubble, ctx: t.Context(), now: noon, users: map[string]identity.User{}, secrets: map[string]string{}}
	var err error
	if w.db, err = sqlite.Open(w.ctx, filepath.Join(t.TempDir(), "store.db"), sqlite.Options{Now: w.Now}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.db.Close(); err != nil {
			t.Error(err)
		}
	})
	if w.inv, err = inventory.NewLive(targets()); err != nil {
		t.Fatal(err)
	}
	box, err := seal.New(seal.GenerateKey())
	if err != nil {
		t.Fatal(err)
	}
	if w.mfa, err = mfa.NewVerifier(mfa.Options{Store: w.db, Box: box, Now: w.Now}); err != nil {
		t.Fatal(err)
	}
	w.clockOK = func(ctx context.Context) error {
		high, err := w.db.HighWater(ctx, w.Now())
		if err == nil && high.After(w.Now()) {
			err = errors.New("the clock is behind")
		}
		return err
	}
	if len(rules) == 0 {
		rules = []policy.Rule{plain()}
	}
	w.reload(rules...)
	w.svc = w.service()
	for name, groups := range map[string][]string{
		"alice": {"sre"}, "bob": {"leads"}, "carol": {"auditors"}, "dave": {"leads"}, "erin": {"admins"}, "frank": {"sre", "leads"}, "mallory": nil,
	} {
		w.person(name, groups...)
	}
	return w
}

func (w *world) service() *approval.Service {
	w.Helper()
	svc, err := approval.New(approval.Options{Users: w.db, Inventory: w.inv, Rules: w.rules.Load, Requests: w.db, Grants: w.db, Log: w.db,
		Now: w.Now, Roles: approval.Roles{Admins: []string{"admins"}, Auditors: []string{"auditors"}},
		Clock:   func(ctx context.Context) error { return w.clockOK(ctx) },
		Feed:    w.db,
		History: w.db, Findings: w.db,
		OpenSessions: func(context.Context, string) (int, error) { return int(w.open.Load()), nil }})
	if err != nil {
		w.Fatal(err)
	}
	return svc
}

func (w *world) reload(rules ...policy.Rule) {
	w.Helper()
	set, err := policy.NewSet(rules)
	if err != nil {
		w.Fatal(err)
	}
	w.rules.Store(set)
}

func ev(t audit.Type) audit.Event { return audit.Event{Type: t, Outcome: audit.Success} }

func (w *world) person(name string, groups ...string) identity.User {
	return w.user(identity.User{ID: "U" + name, Name: name, Kind: identity.Human, Groups: groups})
}

// user creates u with a key.
func (w *world) user(u identity.User) identity.User {
	w.Helper()
	u.State, u.CreatedAt = identity.Active, w.Now()
	if err := w.db.CreateUser(w.ctx, u, ev(audit.UserAdded)); err != nil {
		w.Fatal(err)
	}
	k := identity.Key{Fingerprint: "SHA256:" + u.Name, UserID: u.ID, Authorized: "ssh-ed25519 " + u.Name, CreatedAt: w.Now()}
	if err := w.db.AddKey(w.ctx, k, ev(audit.KeyAdded)); err != nil {
		w.Fatal(err)
	}
	u, err := w.db.User(w.ctx, u.ID)
	if err != nil {
		w.Fatal(err)
	}
	w.users[u.Name] = u
	return u
}

// change updates a stored user.
func (w *world) change(name string, f func(*identity.User)) {
	w.Helper()
	u, err := w.db.User(w.ctx, w.users[name].ID)
	if err != nil {
		w.Fatal(err)
	}
	f(&u)
	t := audit.UserUpdated
	if u.State == identity.Disabled {
		t = audit.UserDisabled
	}
	e := ev(t)
	e.User = u.ID
	if err := w.db.UpdateUser(w.ctx, u, e); err != nil {
		w.Fatal(err)
	}
}

// as is the caller at their usual place.
func (w *world) as(name string) approval.Caller {
	u, ok := w.users[name]
	if !ok {
		w.Fatalf("nobody is called %s", name)
	}
	return approval.Caller{UserID: u.ID, KeyFingerprint: "SHA256:" + name, Source: home, Via: "ssh"}
}

// proof is a fresh code of the user. It takes half a minute: each code works once.
func (w *world) proof(name string) mfa.Proof {
	w.Helper()
	if w.secrets[name] == "" {
		w.enrol(name)
	}
	w.pass(30 * time.Second)
	code, err := totp.GenerateCode(w.secrets[name], w.Now())
	if err != nil {
		w.Fatal(err)
	}
	p, err := w.mfa.VerifyTOTP(w.ctx, w.users[name].ID, code, audit.Actor{ID: w.users[name].ID, Name: name})
	if err != nil {
		w.Fatalf("code of %s: %v", name, err)
	}
	return p
}

func (w *world) ask(name string, a approval.Ask) approval.Request {
	w.Helper()
	if a.Reason == "" {
		a.Reason = "nginx 502s"
	}
	if a.Targets == nil && a.Selector == nil && a.Extends == "" {
		a.Targets = []string{"web01"}
	}
	if a.Login == "" {
		a.Login = "deploy"
	}
	r, err := w.svc.File(w.ctx, w.as(name), a)
	if err != nil {
		w.Fatalf("%s asks: %v", name, err)
	}
	return r
}

func (w *world) approve(name string, r approval.Request, o ...time.Duration) (approval.Request, error) {
	w.Helper()
	opts := approval.ApproveOptions{Digest: r.Digest()}
	if len(o) > 0 {
		opts.Duration = o[0]
	}
	return w.svc.Approve(w.ctx, w.as(name), r.ID, opts, w.proof(name))
}

// granted is a request of alice that bob approved.
func (w *world) granted(a approval.Ask) approval.Grant {
	w.Helper()
	r, err := w.approve("bob", w.ask("alice", a))
	if err != nil {
		w.Fatal(err)
	}
	g, err := w.db.Grant(w.ctx, r.GrantID)
	if err != nil {
		w.Fatal(err)
	}
	return g
}

func (w *world) activate(name string, id string) approval.Grant {
	w.Helper()
	g, err := w.svc.Activate(w.ctx, w.as(name), id, w.proof(name))
	if err != nil {
		w.Fatalf("%s activates %s: %v", name, id, err)
	}
	return g
}

func (w *world) admit(name string, f ...func(*approval.AdmitInput)) (approval.Admission, error) {
	in := approval.AdmitInput{Caller: w.as(name), Target: "web01", Login: "deploy"}
	for _, f := range f {
		f(&in)
	}
	return w.svc.Admit(w.ctx, in)
}

func (w *world) is(err, want error) {
	w.Helper()
	switch {
	case want == nil && err != nil:
		w.Errorf("got error %q, want none", err)
	case !errors.Is(err, want):
		w.Errorf("got %v, want %v", err, want)
	}
}

func (w *world) grant(id string) approval.Grant {
	w.Helper()
	g, err := w.db.Grant(w.ctx, id)
	if err != nil {
		w.Fatal(err)
	}
	return g
}

// events returns the events of a type, and checks that each says who did it and how.
func (w *world) events(t audit.Type) []audit.Event {
	w.Helper()
	all, err := w.db.Events(w.ctx, -1, 100_000)
	if err != nil {
		w.Fatal(err)
	}
	var out []audit.Event
	for _, e := range all {
		if e.Type == t {
			out = append(out, e)
		}
	}
	return out
}

// enrol gives the user an authenticator.
func (w *world) enrol(name string) {
	w.Helper()
	e := w.mfa.BeginTOTP(name)
	w.secrets[name] = e.Secret
	code, err := totp.GenerateCode(e.Secret, w.Now())
	if err != nil {
		w.Fatal(err)
	}
	if _, _, err := w.mfa.ConfirmTOTP(w.ctx, w.users[name].ID, e, code, audit.Gateway); err != nil {
		w.Fatal(err)
	}
}
