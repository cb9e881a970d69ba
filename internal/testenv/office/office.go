// Package office is a small firm for tests: a real store with people, second
// factors, targets and rules, and the approval service over it. There are no
// sessions and no protocols; what they do to the log a test appends itself.
//
//	alice    sre             asks            alice@example.org
//	bob      sre-leads       approves        bob@example.org
//	carol    sre-leads       approves        (no address)
//	dave     managers        second group    dave@example.org
//	erin     auditors        audits          erin@example.org
//	ann      admins          administers     ann@example.org
package office

import (
	"context"
	"path/filepath"
	"sync"
	"testing"
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

// Office is the firm.
type Office struct {
	T         testing.TB
	DB        *sqlite.DB
	Inventory *inventory.Live
	Approvals *approval.Service
	Roles     approval.Roles

	mu      sync.Mutex
	now     time.Time
	step    time.Time
	mfa     *mfa.Verifier
	secrets map[string]string
	last    map[string]time.Time // code given, by user
	set     *policy.Set
}

// Options of an Office.
type Options struct {
	Now      time.Time     // the real time if zero; it stands still but for Pass
	Rules    []policy.Rule // Rules() if nil
	Approval func(*approval.Options)
}

// Rules are: standard (bob or carol approve, managers after 15 minutes),
// ticketed (orders, with a ticket), emergency (break-glass for web01's root).
func Rules() []policy.Rule {
	return []policy.Rule{
		{Name: "standard", Groups: []string{"sre"}, Targets: []string{"web*"}, Logins: []string{"deploy"}, MaxDuration: policy.Duration(2 * time.Hour),
			Approve: []policy.Quorum{{Groups: []string{"sre-leads"}}}, Escalate: &policy.Escalation{After: policy.Duration(15 * time.Minute), Groups: []string{"managers"}}},
		{Name: "ticketed", Groups: []string{"sre"}, Targets: []string{"orders"}, Ticket: "INC-[0-9]+", Approve: []policy.Quorum{{Groups: []string{"sre-leads"}}}},
		{Name: "emergency", Groups: []string{"sre"}, Targets: []string{"web*"}, Logins: []string{"root"},
			BreakGlass: &policy.BreakGlass{Notify: []string{"managers", "sre-leads", "erin"}, Reviews: []string{"sre-leads"}}},
	}
}

// New makes an Office.
func New(t testing.TB, o Options) *Office {
	t.Helper()
	f := &Office{T: t, now: o.Now, secrets: map[string]string{}, last: map[string]time.Time{}, Roles: approval.Roles{Admins: []string{"admins"}, Auditors: []string{"auditors"}}}
	if f.now.IsZero() {
		f.now = time.Now()
	}
	f.now = f.now.UTC().Truncate(time.Millisecond)
	if o.Rules == nil {
		o.Rules = Rules()
	}
	var err error
	f.DB, err = sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "jit.db"), sqlite.Options{Now: f.Now})
	f.ok(err)
	t.Cleanup(func() { _ = f.DB.Close() })
	const hostKey = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ1uXrVfW3yTnk4sVv9Yc6oGNYH3W0bP0Q9d8b6S8l3B"
	host := func(name string) inventory.Target {
		return inventory.Target{Name: name, Kind: inventory.SSH, Labels: map[string]string{"role": "web"},
			SSH: &inventory.SSHTarget{Address: "127.0.0.1:22", Logins: []string{"deploy", "root"}, HostKeys: []string{hostKey}}}
	}
	f.Inventory, err = inventory.NewLive([]inventory.Target{host("web01"), host("web02"),
		{Name: "orders", Kind: inventory.Postgres, Postgres: &inventory.PostgresTarget{Address: "127.0.0.1:5432", Database: "orders", Roles: []string{"orders_ro"}, TLS: "disable", AdminUser: "jit"}}})
	f.ok(err)
	f.SetRules(o.Rules)
	box, err := seal.New(make([]byte, 32))
	f.ok(err)
	f.mfa, err = mfa.NewVerifier(mfa.Options{Store: f.DB, Box: box, Now: func() time.Time { return f.step }, Issuer: "office"})
	f.ok(err)
	ao := approval.Options{Users: f.DB, Inventory: f.Inventory, Rules: f.rules, Requests: f.DB, Grants: f.DB, Log: f.DB, Now: f.Now, Roles: f.Roles,
		Clock: func(context.Context) error { return nil }, Feed: f.DB, OpenSessions: f.DB.OpenSessions, History: f.DB, Findings: f.DB}
	if o.Approval != nil {
		o.Approval(&ao)
	}
	f.Approvals, err = approval.New(ao)
	f.ok(err)
	for _, p := range [][3]string{{"alice", "sre", "alice@example.org"}, {"bob", "sre-leads", "bob@example.org"}, {"carol", "sre-leads", ""},
		{"dave", "managers", "dave@example.org"}, {"erin", "auditors", "erin@example.org"}, {"ann", "admins", "ann@example.org"}} {
		f.Hire(p[0], p[2], p[1])
	}
	return f
}

// Now is the firm's time.
func (f *Office) Now() time.Time {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.now
}

// Pass lets time pass.
func (f *Office) Pass(d time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.now = f.now.Add(d)
}

func (f *Office) rules() *policy.Set {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.set
}

// SetRules changes the rules.
func (f *Office) SetRules(rules []policy.Rule) {
	f.T.Helper()
	set, err := policy.NewSet(rules)
	f.ok(err)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.set = set
}

// RuleSet is the rules as they are now.
func (f *Office) RuleSet() *policy.Set { return f.rules() }

// Hire adds a person.
func (f *Office) Hire(name, email string, groups ...string) identity.User {
	f.T.Helper()
	u := identity.User{ID: "U" + name, Name: name, Kind: identity.Human, State: identity.Active, Email: email, Groups: groups, CreatedAt: f.Now()}
	f.ok(f.DB.CreateUser(f.T.Context(), u, audit.Event{Type: audit.UserAdded, Outcome: audit.Success, Actor: audit.Gateway, User: u.ID}))
	return u
}

// enrol gives a person their second factor, when first they need it: recovery
// codes are hashed, and that takes its time.
func (f *Office) enrol(name string) {
	f.T.Helper()
	e := f.mfa.BeginTOTP(name)
	f.secrets["U"+name] = e.Secret
	_, _, err := f.mfa.ConfirmTOTP(f.T.Context(), "U"+name, e, f.code("U"+name), audit.Gateway)
	f.ok(err)
}

// Dismiss disables a person.
func (f *Office) Dismiss(name, reason string) {
	f.T.Helper()
	u, err := f.DB.UserByName(f.T.Context(), name)
	f.ok(err)
	u.State = identity.Disabled
	f.ok(f.DB.UpdateUser(f.T.Context(), u, audit.Event{Type: audit.UserDisabled, Outcome: audit.Success, User: u.ID, Reason: reason,
		Actor: audit.Actor{ID: "Uann", Name: "ann", Via: "ssh"}}))
}

// code is a code that the user did not give before: the verifier's clock goes
// on by half a minute for each, from a little while ago.
func (f *Office) code(userID string) string {
	f.step = f.Now().Add(-2 * time.Minute)
	if next := f.last[userID].Add(30 * time.Second); next.After(f.step) {
		f.step = next
	}
	f.last[userID] = f.step
	c, err := totp.GenerateCode(f.secrets[userID], f.step)
	f.ok(err)
	return c
}

// As is the caller of that name.
func (f *Office) As(name string) approval.Caller {
	return approval.Caller{UserID: "U" + name, Source: "192.0.2.7", Via: "ssh"}
}

// Proof is a fresh second factor.
func (f *Office) Proof(name string) mfa.Proof {
	f.T.Helper()
	if f.secrets["U"+name] == "" {
		f.enrol(name)
	}
	p, err := f.mfa.VerifyTOTP(f.T.Context(), "U"+name, f.code("U"+name), audit.Gateway)
	f.ok(err)
	return p
}

// Ask files a request as alice.
func (f *Office) Ask(a approval.Ask) approval.Request {
	f.T.Helper()
	if a.Reason == "" {
		a.Reason = "nginx 502s"
	}
	r, err := f.Approvals.File(f.T.Context(), f.As("alice"), a)
	f.ok(err)
	return r
}

// Approve approves as somebody, and returns the grant.
func (f *Office) Approve(name string, r approval.Request) approval.Grant {
	f.T.Helper()
	r, err := f.Approvals.Approve(f.T.Context(), f.As(name), r.ID, approval.ApproveOptions{Digest: r.Digest()}, f.Proof(name))
	f.ok(err)
	g, err := f.DB.Grant(f.T.Context(), r.GrantID)
	f.ok(err)
	return g
}

// Activate opens alice's window.
func (f *Office) Activate(grantID string) approval.Grant {
	f.T.Helper()
	g, err := f.Approvals.Activate(f.T.Context(), f.As("alice"), grantID, f.Proof("alice"))
	f.ok(err)
	return g
}

// Run runs the approvals' timers until the test ends.
func (f *Office) Run() {
	f.Go(f.Approvals.Run)
}

// Go runs a job until the test ends, which waits for it.
func (f *Office) Go(job func(context.Context) error) (stop func()) {
	f.T.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- job(ctx) }()
	var once sync.Once
	stop = func() {
		once.Do(func() {
			cancel()
			if err := <-done; err != nil {
				f.T.Errorf("a job failed: %v", err)
			}
		})
	}
	f.T.Cleanup(stop)
	return stop
}

// Events returns the events of a type, oldest first.
func (f *Office) Events(t audit.Type) []audit.Event {
	f.T.Helper()
	var out []audit.Event
	for after := int64(-1); ; {
		batch, err := f.DB.Events(context.Background(), after, 1000)
		f.ok(err)
		if len(batch) == 0 {
			return out
		}
		for _, e := range batch {
			if after = e.Seq; e.Type == t {
				out = append(out, e)
			}
		}
	}
}

func (f *Office) ok(err error) {
	f.T.Helper()
	if err != nil {
		f.T.Fatal(err)
	}
}
