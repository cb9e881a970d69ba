package approval_test

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"jit-gateway/approval"
	"jit-gateway/approval/mfa"
	"jit-gateway/approval/policy"
	"jit-gateway/internal/audit"
	"jit-gateway/internal/identity"
	"jit-gateway/internal/inventory"
)

func TestG1NoAdmissionWithoutApprovalAndFactor(t *testing.T) {
	w := newWorld(t)
	var none approval.Admission
	if none.Check(w.Now()) == nil {
		t.Error("the zero admission admits")
	}
	if _, err := w.svc.Recheck(w.ctx, none); err == nil {
		t.Error("the zero admission passes a recheck")
	}
	r := w.ask("alice", approval.Ask{})
	_, err := w.admit("alice")
	w.is(err, approval.ErrNoGrant)
	_, err = w.svc.Activate(w.ctx, w.as("alice"), r.ID, w.proof("alice"))
	if err == nil {
		t.Error("a request was activated like a grant")
	}
	r, err = w.approve("bob", r)
	w.is(err, nil)
	for what, p := range map[string]mfa.Proof{"no proof": {}, "bob's proof": w.proof("bob")} {
		if _, err := w.svc.Activate(w.ctx, w.as("alice"), r.GrantID, p); !errors.Is(err, approval.ErrProofNeeded) {
			t.Errorf("activated with %s: %v", what, err)
		}
	}
	old := w.proof("alice")
	w.pass(approval.ProofAge + time.Second)
	_, err = w.svc.Activate(w.ctx, w.as("alice"), r.GrantID, old)
	w.is(err, approval.ErrProofNeeded)
	_, err = w.svc.Activate(w.ctx, w.as("frank"), r.GrantID, w.proof("frank"))
	if err == nil || errors.Is(err, approval.ErrProofNeeded) {
		t.Errorf("frank and alice's grant: %v", err)
	}
	_, err = w.admit("alice")
	w.is(err, approval.ErrNotActivated)
	w.activate("alice", r.GrantID)
	_, err = w.admit("frank")
	w.is(err, approval.ErrNoGrant)
	_, err = w.admit("frank", func(in *approval.AdmitInput) { in.GrantID = r.GrantID })
	w.is(err, approval.ErrNoGrant)
	_, err = w.admit("alice", func(in *approval.AdmitInput) { in.Login = "admin" })
	w.is(err, approval.ErrNoGrant)
	_, err = w.admit("alice", func(in *approval.AdmitInput) { in.Target = "web02" })
	w.is(err, approval.ErrNoGrant)
	_, err = w.admit("alice", func(in *approval.AdmitInput) { in.Token = true })
	if err == nil {
		t.Error("a token without its grant was admitted")
	}
}

func TestG1UnknownAndForbiddenGetOneAnswer(t *testing.T) {
	secret := policy.Rule{Name: "never", Effect: policy.Deny, Users: []string{"*"}, Targets: []string{"vault"}}
	all := plain()
	all.Labels = nil
	for name, rules := range map[string][]policy.Rule{"no rule": {plain()}, "denied": {secret, all}} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, rules...)
			for what, try := range map[string]func(target, login string) error{
				"file": func(target, login string) error {
					_, err := w.svc.File(w.ctx, w.as("alice"), approval.Ask{Targets: []string{target}, Login: login, Reason: "x"})
					return err
				},
				"preview": func(target, login string) error {
					_, err := w.svc.Preview(w.ctx, w.as("alice"), approval.Ask{Targets: []string{target}, Login: login})
					return err
				},
				"admit": func(target, login string) error {
					_, err := w.admit("alice", func(in *approval.AdmitInput) { in.Target, in.Login = target, login })
					return err
				},
			} {
				for _, login := range []string{"", "deploy", "nobody"} {
					a, b := try("vault", login), try("vxult", login)
					if !errors.Is(a, approval.ErrForbidden) || !errors.Is(b, approval.ErrForbidden) || strings.ReplaceAll(b.Error(), "vxult", "vault") != a.Error() {
						t.Errorf("%s %q: %q for a forbidden target, %q for an unknown one", what, login, a, b)
					}
				}
			}
			if vs, err := w.svc.Targets(w.ctx, w.as("alice")); err != nil || len(vs) != 2 {
				t.Errorf("lists %d targets, %v", len(vs), err)
			}
		})
	}
}

// meddler is a store whose rows somebody changed behind the gateway's back.
type meddler struct {
	approval.Requests
	approval.Grants
	r func(*approval.Request)
	g func(*approval.Grant)
}

func (m meddler) Request(ctx context.Context, id string) (approval.Request, error) {
	r, err := m.Requests.Request(ctx, id)
	m.r(&r)
	return r, err
}

func (m meddler) ListGrants(ctx context.Context, f approval.GrantFilter) ([]approval.Grant, error) {
	gs, err := m.Grants.ListGrants(ctx, f)
	for i := range gs {
		m.g(&gs[i])
	}
	return gs, err
}

func (m meddler) Grant(ctx context.Context, id string) (approval.Grant, error) {
	g, err := m.Grants.Grant(ctx, id)
	m.g(&g)
	return g, err
}

func TestG1ApprovedHashIsRecomputed(t *testing.T) {
	w := newWorld(t)
	w.activate("alice", w.granted(approval.Ask{Duration: time.Hour}).ID)
	noR, noG := func(*approval.Request) {}, func(*approval.Grant) {}
	for what, m := range map[string]meddler{
		"login":          {r: noR, g: func(g *approval.Grant) { g.Login = "admin" }},
		"targets":        {r: noR, g: func(g *approval.Grant) { g.Targets = []string{"web01", "web02"} }},
		"target hash":    {r: noR, g: func(g *approval.Grant) { g.TargetHashes = map[string]string{"web01": "0"} }},
		"duration":       {r: noR, g: func(g *approval.Grant) { g.Duration = 9 * time.Hour }},
		"rule":           {r: noR, g: func(g *approval.Grant) { g.Rule.Channels = &policy.Channels{Agent: true} }},
		"rule and hash":  {r: noR, g: func(g *approval.Grant) { g.Rule.Tunnel = true; g.RuleHash = g.Rule.Hash() }},
		"votes":          {r: noR, g: func(g *approval.Grant) { g.Votes = nil }},
		"request reason": {r: func(r *approval.Request) { r.Reason = "another" }, g: noG},
		"request state":  {r: func(r *approval.Request) { r.State = approval.Pending }, g: noG},
		"wider, with a hash to match": {r: noR, g: func(g *approval.Grant) {
			g.Login = "admin"
			g.Hash = g.Digest()
		}},
		"nothing": {r: noR, g: noG},
	} {
		m.Requests, m.Grants = w.db, w.db
		svc, err := approval.New(approval.Options{Users: w.db, Inventory: w.inv, Rules: w.rules.Load, Requests: m, Grants: m, Log: w.db, Now: w.Now,
			Clock: func(context.Context) error { return nil }})
		if err != nil {
			t.Fatal(err)
		}
		_, err = svc.Admit(w.ctx, approval.AdmitInput{Caller: w.as("alice"), Target: "web01"})
		if (err == nil) != (what == "nothing") {
			t.Errorf("changed %s: %v", what, err)
		}
	}
}

func TestG5UntrustedClockAdmitsNobody(t *testing.T) {
	w := newWorld(t)
	g := w.activate("alice", w.granted(approval.Ask{Duration: time.Hour}).ID)
	adm, err := w.admit("alice")
	w.is(err, nil)
	waiting, r := w.granted(approval.Ask{}), w.ask("alice", approval.Ask{})
	pa, pb := w.proof("alice"), w.proof("bob")
	w.pass(-10 * time.Minute) // somebody turns the clock back to make the hour longer
	_, err = w.admit("alice")
	w.is(err, approval.ErrClock)
	_, err = w.svc.Recheck(w.ctx, adm)
	w.is(err, approval.ErrClock)
	_, err = w.svc.Activate(w.ctx, w.as("alice"), waiting.ID, pa)
	w.is(err, approval.ErrClock)
	_, err = w.svc.Confirm(w.ctx, w.as("alice"), g.ID, pa)
	w.is(err, approval.ErrClock)
	_, err = w.svc.Approve(w.ctx, w.as("bob"), r.ID, approval.ApproveOptions{Digest: r.Digest()}, pb)
	w.is(err, approval.ErrClock)
	_, err = w.svc.File(w.ctx, w.as("alice"), approval.Ask{Targets: []string{"web01"}, Reason: "x"})
	w.is(err, approval.ErrClock)
	w.pass(10 * time.Minute)
	_, err = w.admit("alice")
	w.is(err, nil)
	w.clockOK = func(context.Context) error { return errors.New("the store does not answer") }
	_, err = w.admit("alice")
	w.is(err, approval.ErrClock)
	_, err = w.svc.Release(w.ctx, w.as("alice"), g.ID) // less access is always possible
	w.is(err, nil)
}

func TestApprovalIsBoundToWhatWasShown(t *testing.T) {
	w := newWorld(t)
	r, other := w.ask("alice", approval.Ask{}), w.ask("alice", approval.Ask{Login: "admin"})
	for what, digest := range map[string]string{"none": "", "part of it": r.Digest()[:16], "another's": other.Digest()} {
		_, err := w.svc.Approve(w.ctx, w.as("bob"), r.ID, approval.ApproveOptions{Digest: digest}, w.proof("bob"))
		if !errors.Is(err, approval.ErrDigest) {
			t.Errorf("digest: %s: %v", what, err)
		}
	}
	for what, d := range map[string]time.Duration{"longer": r.Duration + time.Second, "negative": -time.Minute, "too short": time.Millisecond} {
		_, err := w.svc.Approve(w.ctx, w.as("bob"), r.ID, approval.ApproveOptions{Digest: r.Digest(), Duration: d}, w.proof("bob"))
		if !errors.Is(err, approval.ErrInvalid) {
			t.Errorf("duration: %s: %v", what, err)
		}
	}
	for what, change := range map[string]func(*inventory.Target){
		"address": func(t *inventory.Target) { t.SSH.Address = "198.51.100.66:22" },
		"keys":    func(t *inventory.Target) { t.SSH.HostKeys = nil; t.SSH.HostCAs = []string{"x"} },
		"labels":  func(t *inventory.Target) { t.Labels = map[string]string{"role": "web", "more": "x"} },
	} {
		ts := targets()
		change(&ts[0])
		inv := fixed(ts)
		svc, err := approval.New(approval.Options{Users: w.db, Inventory: inv, Rules: w.rules.Load, Requests: w.db, Grants: w.db, Log: w.db, Now: w.Now,
			Clock: func(context.Context) error { return nil }})
		if err != nil {
			t.Fatal(err)
		}
		if _, err = svc.Approve(w.ctx, w.as("bob"), r.ID, approval.ApproveOptions{Digest: r.Digest()}, w.proof("bob")); !errors.Is(err, approval.ErrForbidden) {
			t.Errorf("the target's %s changed before approval: %v", what, err)
		}
	}
	r, err := w.approve("bob", r)
	w.is(err, nil)
	w.activate("alice", r.GrantID)
	ts := targets()
	ts[0].SSH.Address = "198.51.100.66:22"
	if err := w.inv.Swap(ts); err != nil {
		t.Fatal(err)
	}
	_, err = w.admit("alice")
	w.is(err, approval.ErrNoGrant)
	if err := w.inv.Swap(ts[1:]); err != nil {
		t.Fatal(err)
	}
	_, err = w.admit("alice")
	w.is(err, approval.ErrForbidden)
}

// fixed is an inventory that checks nothing.
type fixed []inventory.Target

func (f fixed) Targets() []inventory.Target { return f }
func (f fixed) Target(name string) (inventory.Target, bool) {
	for _, t := range f {
		if t.Name == name {
			return t, true
		}
	}
	return inventory.Target{}, false
}

func TestSilentPassNeedsKeyAndAddress(t *testing.T) {
	nat := plain()
	nat.Factor.SourcesShared = []netip.Prefix{netip.MustParsePrefix("203.0.113.0/24")}
	nat.Factor.MaxAge = policy.Duration(time.Hour)
	w := newWorld(t, nat)
	k := identity.Key{Fingerprint: "SHA256:laptop", UserID: "Ualice", Authorized: "ssh-ed25519 laptop", CreatedAt: w.Now()}
	w.is(w.db.AddKey(w.ctx, k, ev(audit.KeyAdded)), nil)
	g := w.activate("alice", w.granted(approval.Ask{Duration: 4 * time.Hour}).ID)
	from := func(key, source string) func(*approval.AdmitInput) {
		return func(in *approval.AdmitInput) { in.KeyFingerprint, in.Source = key, source }
	}
	_, err := w.admit("alice", from("SHA256:alice", "::ffff:"+home)) // the same address, mapped
	w.is(err, nil)
	_, err = w.admit("alice", from("SHA256:alice", "198.51.100.7"))
	w.is(err, approval.ErrCodeNeeded)
	_, err = w.admit("alice", from("SHA256:laptop", home))
	w.is(err, approval.ErrCodeNeeded)
	_, err = w.admit("alice", from("SHA256:stranger", home)) // not registered
	w.is(err, approval.ErrUserDisabled)
	_, err = w.admit("alice", from("", home))
	w.is(err, approval.ErrCodeNeeded)

	c := w.as("alice")
	c.Source = "203.0.113.9"
	_, err = w.svc.Confirm(w.ctx, c, g.ID, w.proof("alice"))
	w.is(err, nil)
	adm, err := w.admit("alice", from("SHA256:alice", "203.0.113.77")) // behind the same NAT
	w.is(err, nil)
	_, err = w.admit("alice", from("SHA256:alice", home)) // the first place still passes
	w.is(err, nil)
	if n := len(w.events(audit.GrantSourceOK)); n != 1 {
		t.Errorf("%d events of a confirmed source", n)
	}
	w.pass(time.Hour + time.Second) // the factor is too old now
	_, err = w.admit("alice", from("SHA256:alice", home))
	w.is(err, approval.ErrCodeNeeded)
	_, err = w.svc.Recheck(w.ctx, adm)
	w.is(err, approval.ErrCodeNeeded)
	w.is(w.db.RemoveKey(w.ctx, "Ualice", "SHA256:alice", ev(audit.KeyRemoved)), nil)
	_, err = w.svc.Recheck(w.ctx, adm)
	w.is(err, approval.ErrUserDisabled)
}

func TestFactorPerSessionIsSpentOnce(t *testing.T) {
	rule := plain()
	rule.Factor.Per = "session"
	w := newWorld(t, rule)
	g := w.activate("alice", w.granted(approval.Ask{}).ID)
	var wg sync.WaitGroup
	var mu sync.Mutex
	ok := 0
	for range 8 {
		wg.Go(func() {
			if _, err := w.admit("alice"); err == nil {
				mu.Lock()
				ok++
				mu.Unlock()
			} else if !errors.Is(err, approval.ErrCodeNeeded) {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if ok != 1 {
		t.Errorf("one code opened %d sessions", ok)
	}
	_, err := w.svc.Confirm(w.ctx, w.as("alice"), g.ID, w.proof("alice"))
	w.is(err, nil)
	w.pass(6 * time.Minute)
	_, err = w.admit("alice") // too long ago for a session that begins now
	w.is(err, approval.ErrCodeNeeded)
	_, err = w.svc.Confirm(w.ctx, w.as("alice"), g.ID, w.proof("alice"))
	w.is(err, nil)
	adm, err := w.admit("alice")
	w.is(err, nil)
	_, err = w.svc.Recheck(w.ctx, adm)
	w.is(err, nil)
}

// A thousand sessions look again at every channel: where nothing changed, they
// go on with the admission that they have.
func TestRecheckReturnsTheSameIfNothingChanged(t *testing.T) {
	w := newWorld(t)
	w.activate("alice", w.granted(approval.Ask{}).ID)
	adm, err := w.admit("alice")
	w.is(err, nil)
	again, err := w.svc.Recheck(w.ctx, adm)
	w.is(err, nil)
	if again != adm {
		t.Error("nothing changed, and there is another admission")
	}
	w.change("alice", func(u *identity.User) { u.Email = "alice@new.example" })
	other, err := w.svc.Recheck(w.ctx, adm)
	w.is(err, nil)
	if other == adm || other.User().Email != "alice@new.example" {
		t.Error("the user changed, and the admission did not")
	}
}

func TestDisabledUserCanDoNothing(t *testing.T) {
	w := newWorld(t)
	g := w.activate("alice", w.granted(approval.Ask{}).ID)
	adm, err := w.admit("alice")
	w.is(err, nil)
	r := w.ask("alice", approval.Ask{})
	p := w.proof("alice")
	w.change("alice", func(u *identity.User) { u.State = identity.Disabled })
	_, err = w.admit("alice")
	w.is(err, approval.ErrUserDisabled)
	_, err = w.svc.Recheck(w.ctx, adm)
	w.is(err, approval.ErrUserDisabled)
	_, err = w.svc.Confirm(w.ctx, w.as("alice"), g.ID, p)
	w.is(err, approval.ErrUserDisabled)
	_, err = w.svc.File(w.ctx, w.as("alice"), approval.Ask{Targets: []string{"web01"}, Reason: "x"})
	w.is(err, approval.ErrUserDisabled)
	_, err = w.svc.Targets(w.ctx, w.as("alice"))
	w.is(err, approval.ErrUserDisabled)
	_, err = w.approve("bob", r) // nor does anyone get it for them
	w.is(err, approval.ErrUserDisabled)
}
