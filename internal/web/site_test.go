package web_test

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pquerna/otp/totp"

	"jit-gateway/approval"
	"jit-gateway/approval/mfa"
	"jit-gateway/approval/policy"
	"jit-gateway/internal/audit"
	"jit-gateway/internal/clock"
	"jit-gateway/internal/identity"
	"jit-gateway/internal/inventory"
	"jit-gateway/internal/seal"
	"jit-gateway/internal/store"
	"jit-gateway/internal/testenv/world"
	"jit-gateway/internal/web"
	"jit-gateway/session"
)

// site is a whole gateway below its protocols, with the page on TLS in front.
// Store, approvals, factors, sessions and recordings are real. alice asks, bob
// and dave approve, carol audits, dana administrates.
type site struct {
	*world.World
	URL       string
	approvals *approval.Service
	mfa       *mfa.Verifier
	web       *web.Server
	passkeys  *mfa.Passkeys

	skew atomic.Int64 // how far the clock is ahead: see code
	mu   sync.Mutex
	keys map[string]string // TOTP secrets
	last map[string]int64  // last step spent
}

// newSite is a site with the rules of every day, or with others.
func newSite(t *testing.T, others ...policy.Rule) *site {
	t.Helper()
	s := &site{keys: map[string]string{}, last: map[string]int64{}}
	s.World = world.New(t, world.Options{Clock: clock.Skewed(func() time.Duration { return time.Duration(s.skew.Load()) })})
	now, ctx := s.Clock.Now, t.Context()
	if err := s.Inventory.Swap(targets()); err != nil {
		t.Fatal(err)
	}
	box, err := seal.New(make([]byte, 32))
	check(t, err)
	s.mfa, err = mfa.NewVerifier(mfa.Options{Store: s.DB, Box: box, Now: now, Issuer: "jit-gateway"})
	check(t, err)
	if len(others) == 0 {
		others = rules()
	}
	set, err := policy.NewSet(others)
	check(t, err)
	s.approvals, err = approval.New(approval.Options{
		Users: s.DB, Inventory: s.Inventory, Rules: func() *policy.Set { return set }, Requests: s.DB, Grants: s.DB, Log: s.DB, Now: now,
		Roles: approval.Roles{Admins: []string{"admins"}, Auditors: []string{"auditors"}}, Clock: s.Sessions.ClockOK, Feed: s.DB,
		OpenSessions: s.Sessions.OpenSessions, History: s.DB, Findings: s.DB,
	})
	check(t, err)
	s.Run(false)
	s.people(ctx, t)

	srv := httptest.NewUnstartedServer(nil)
	// Passkeys are for host names, not for addresses.
	s.URL = strings.Replace("https://"+srv.Listener.Addr().String(), "127.0.0.1", "localhost", 1)
	o := web.Options{Name: "jit-gateway", Enroll: func(code string) string { return "ssh -t -p 2222 enroll@gw.example enroll " + code }, Approvals: s.approvals, MFA: s.mfa, Users: s.DB, Inventory: s.Inventory, Pages: s.DB,
		Sessions: s.Sessions, Rows: s.DB, Recordings: s.Recordings, Feed: s.DB, Log: s.DB, Now: now, URL: s.URL, People: s.account(t)}
	s.web, err = web.New(s.options(o))
	check(t, err)
	srv.Config.Handler = s.web
	srv.EnableHTTP2 = true
	srv.StartTLS()
	t.Cleanup(func() { srv.CloseClientConnections(); srv.Close() })
	return s
}

func targets() []inventory.Target {
	const hostKey = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ1uXrVfW3yTnk4sVv9Yc6oGNYH3W0bP0Q9d8b6S8l3B"
	host := func(name string) inventory.Target {
		return inventory.Target{Name: name, Kind: inventory.SSH, Labels: map[string]string{"role": "web"},
			SSH: &inventory.SSHTarget{Address: "127.0.0.1:22", Logins: []string{"deploy", "admin"}, HostKeys: []string{hostKey}}}
	}
	return []inventory.Target{host("web01"), host("web02"),
		{Name: "orders", Kind: inventory.Postgres, Postgres: &inventory.PostgresTarget{Address: "127.0.0.1:5432", Database: "orders",
			Roles: []string{"orders_ro", "orders_rw"}, TLS: "disable", AdminUser: "jit"}}}
}

func rules() []policy.Rule {
	return []policy.Rule{{Name: "everyday", Groups: []string{"engineers"}, MaxDuration: policy.Duration(8 * time.Hour),
		Approve: []policy.Quorum{{Groups: []string{"approvers"}}}}}
}

// people enrols everybody; alice is of the world's own making.
func (s *site) people(ctx context.Context, t *testing.T) {
	t.Helper()
	for name, group := range map[string]string{"alice": "engineers", "bob": "approvers", "dave": "approvers", "carol": "auditors", "dana": "admins"} {
		id := "U" + name
		ev := func(t audit.Type) audit.Event {
			return audit.Event{Type: t, Outcome: audit.Success, Actor: audit.Gateway, User: id}
		}
		if name == "alice" {
			u, err := s.DB.User(ctx, id)
			check(t, err)
			u.Groups = []string{group}
			check(t, s.DB.UpdateUser(ctx, u, ev(audit.UserUpdated)))
		} else {
			check(t, s.DB.CreateUser(ctx, identity.User{ID: id, Name: name, Kind: identity.Human, State: identity.Active,
				Groups: []string{group}, CreatedAt: s.Clock.Now()}, ev(audit.UserAdded)))
		}
		e := s.mfa.BeginTOTP(name)
		s.keys[name] = e.Secret
		_, _, err := s.mfa.ResetTOTP(ctx, id, "Itest", e, s.code(name), audit.Gateway)
		check(t, err)
	}
}

// code is a good code of the user's that was not given yet. When the present
// step is spent the whole gateway's clock goes on by one.
func (s *site) code(user string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.Clock.Now()
	step := max(now.Unix()/30, s.last[user]+1)
	if ahead := step - now.Unix()/30; ahead > 1 {
		s.skew.Add(int64(time.Duration(ahead-1) * 30 * time.Second))
	}
	s.last[user] = step
	c, err := totp.GenerateCode(s.keys[user], time.Unix(step*30, 0))
	if err != nil {
		panic(err)
	}
	return c
}

// link is what `ssh jit-gateway web` prints.
func (s *site) link(t *testing.T, user string) string {
	t.Helper()
	return s.keyLink(t, user, "")
}

// keyLink is link, asked for with the user's key from an address.
func (s *site) keyLink(t *testing.T, user, source string) string {
	t.Helper()
	raw := make([]byte, 32)
	rand.Read(raw)
	token := base64.RawURLEncoding.EncodeToString(raw)
	hash := sha256.Sum256([]byte(token))
	key := ""
	if source != "" {
		key = caller(user).KeyFingerprint
	}
	check(t, s.DB.CreateLink(t.Context(), store.Link{Hash: hash[:], UserID: "U" + user, KeyFingerprint: key, Source: source, ExpiresAt: s.Clock.Now().Add(5 * time.Minute)},
		audit.Event{Type: audit.PageLinkMade, Outcome: audit.Success, User: "U" + user}))
	return s.URL + "/sign-in?t=" + token
}

func caller(user string) approval.Caller {
	c := approval.Caller{UserID: "U" + user, Source: "192.0.2.7", Via: "ssh"}
	if user == "alice" {
		c.KeyFingerprint = world.Key
	}
	return c
}

// ask files a request as alice.
func (s *site) ask(t *testing.T, target, login, reason string, d time.Duration) approval.Request {
	t.Helper()
	r, err := s.approvals.File(t.Context(), caller("alice"), approval.Ask{Targets: []string{target}, Login: login, Reason: reason, Duration: d})
	check(t, err)
	return r
}

func (s *site) proof(t *testing.T, user string) mfa.Proof {
	t.Helper()
	p, err := s.mfa.VerifyCode(t.Context(), "U"+user, s.code(user), audit.Gateway)
	check(t, err)
	return p
}

// approve approves as bob.
func (s *site) approve(t *testing.T, r approval.Request) approval.Request {
	t.Helper()
	r, err := s.approvals.Approve(t.Context(), caller("bob"), r.ID, approval.ApproveOptions{Digest: r.Digest()}, s.proof(t, "bob"))
	check(t, err)
	return r
}

// begin opens a session of alice's, all the way from the request.
func (s *site) begin(t *testing.T, target, login, reason, protocol string) *session.Session {
	t.Helper()
	r := s.approve(t, s.ask(t, target, login, reason, time.Hour))
	g, err := s.approvals.Activate(t.Context(), caller("alice"), r.GrantID, s.proof(t, "alice"))
	check(t, err)
	adm, err := s.approvals.Admit(t.Context(), approval.AdmitInput{Caller: caller("alice"), Target: target, Login: login, GrantID: g.ID})
	check(t, err)
	live, err := s.Sessions.Begin(t.Context(), adm, session.Meta{Protocol: protocol, Source: "192.0.2.7", Client: "OpenSSH_9.2p1"})
	check(t, err)
	t.Cleanup(func() { live.Finish(context.Background(), session.Outcome{}) })
	return live
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
