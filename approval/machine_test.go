package approval_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"jit-gateway/approval"
	"jit-gateway/approval/mfa"
	"jit-gateway/approval/policy"
	"jit-gateway/internal/audit"
	"jit-gateway/internal/identity"
)

var anywhere = []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}

// jobs is a world with the machine deployer of bob's, whose job tokens are
// taken at their word.
type jobs struct {
	*world
	m *mfa.Machines
	n int
}

func newJobs(t *testing.T, change func(*policy.Rule)) *jobs {
	t.Helper()
	rule := plain()
	rule.Machines, rule.Groups, rule.MaxDuration, rule.Auto, rule.Approve = true, []string{"ci"}, policy.Duration(time.Hour), true, nil
	if change != nil {
		change(&rule)
	}
	j := &jobs{world: newWorld(t, rule, plain2())}
	j.user(identity.User{ID: "Uci", Name: "deployer", Kind: identity.Machine, Owner: "Ubob", Groups: []string{"ci"}, Sources: anywhere})
	var err error
	j.m, err = mfa.NewMachines(j.mfa, mfa.MachineOptions{Once: j.db, VerifyToken: func(_ context.Context, issuer, raw string) (mfa.Job, error) {
		return mfa.Job{Issuer: issuer, ID: raw, IssuedAt: j.Now(), Expires: j.Now().Add(time.Minute), Claims: map[string]any{"repository_id": "1"}}, nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	j.enrol("deployer")
	for _, id := range []string{"Uci", "Ualice"} {
		if _, err := j.m.Add(j.ctx, id, mfa.NewBinding{Issuer: "https://ci", Claims: map[string]string{"repository_id": "1"}}, audit.Gateway); err != nil {
			t.Fatal(err)
		}
	}
	return j
}

// plain2 is a rule for people beside it.
func plain2() policy.Rule {
	r := plain()
	r.Name = "people"
	return r
}

func (j *jobs) token(user string) mfa.Proof {
	j.Helper()
	j.n++
	p, err := j.m.VerifyJobToken(j.ctx, j.users[user].ID, fmt.Sprint("jti", j.n), audit.Actor{Name: user})
	if err != nil {
		j.Fatal(err)
	}
	return p
}

// TestG1MachineNeedsItsOwnSecondFactor: a job's token opens the window, a code
// computed from a seed beside the key does not; and no person uses a job's token.
func TestG1MachineNeedsItsOwnSecondFactor(t *testing.T) {
	j := newJobs(t, nil)
	r := j.ask("deployer", approval.Ask{})
	_, err := j.svc.Activate(j.ctx, j.as("deployer"), r.GrantID, j.proof("deployer"))
	j.is(err, approval.ErrProofNeeded)
	_, err = j.svc.Activate(j.ctx, j.as("deployer"), r.GrantID, mfa.Proof{})
	j.is(err, approval.ErrProofNeeded)
	g, err := j.svc.Activate(j.ctx, j.as("deployer"), r.GrantID, j.token("deployer"))
	j.is(err, nil)
	if g.Factor.Kind != mfa.JobToken || !strings.Contains(g.Factor.Evidence, `"jti":"jti1"`) || g.End.Sub(g.Start) > time.Hour {
		t.Errorf("%+v", g)
	}
	elsewhere := j.as("deployer")
	elsewhere.Source = "192.0.2.99" // within its network: still a fresh proof, and of its own
	_, err = j.svc.Admit(j.ctx, approval.AdmitInput{Caller: elsewhere, Target: "web01", Login: "deploy"})
	j.is(err, approval.ErrCodeNeeded)
	_, err = j.svc.Confirm(j.ctx, elsewhere, g.ID, j.proof("deployer"))
	j.is(err, approval.ErrProofNeeded)
	_, err = j.svc.Confirm(j.ctx, elsewhere, g.ID, j.token("deployer"))
	j.is(err, nil)

	q := j.ask("alice", approval.Ask{})
	q, err = j.approve("bob", q)
	j.is(err, nil)
	_, err = j.svc.Activate(j.ctx, j.as("alice"), q.GrantID, j.token("alice"))
	j.is(err, approval.ErrProofNeeded)
}

// TestMachinesComeFromTheirAddressesAlone: for every act, also with a live grant.
func TestMachinesComeFromTheirAddressesAlone(t *testing.T) {
	j := newJobs(t, nil)
	r := j.ask("deployer", approval.Ask{})
	g, err := j.svc.Activate(j.ctx, j.as("deployer"), r.GrantID, j.token("deployer"))
	j.is(err, nil)
	adm, err := j.svc.Admit(j.ctx, approval.AdmitInput{Caller: j.as("deployer"), Target: "web01", Login: "deploy"})
	j.is(err, nil)
	for _, source := range []string{"198.51.100.1", "", "here", "2001:db8::1", "::ffff:198.51.100.1"} {
		c := j.as("deployer")
		c.Source = source
		_, err := j.svc.File(j.ctx, c, approval.Ask{Targets: []string{"web02"}, Login: "deploy", Reason: "x"})
		j.is(err, approval.ErrForbidden)
		_, err = j.svc.Activate(j.ctx, c, g.ID, j.token("deployer"))
		j.is(err, approval.ErrForbidden)
		_, err = j.svc.Admit(j.ctx, approval.AdmitInput{Caller: c, Target: "web01", Login: "deploy"})
		j.is(err, approval.ErrForbidden)
		_, err = j.svc.Admit(j.ctx, approval.AdmitInput{Caller: c, Target: "web01", Login: "deploy", Token: true})
		j.is(err, approval.ErrForbidden)
	}
	mapped := j.as("deployer")
	mapped.Source = "::ffff:" + home
	_, err = j.svc.Admit(j.ctx, approval.AdmitInput{Caller: mapped, Target: "web01", Login: "deploy"})
	j.is(err, nil)
	j.change("deployer", func(u *identity.User) { u.Sources = nil })
	_, err = j.svc.Recheck(j.ctx, adm)
	j.is(err, approval.ErrForbidden)
}

// TestMachineWithoutAnOwnerDoesNothing: when who answers for it has gone,
// nothing new begins until somebody else does.
func TestMachineWithoutAnOwnerDoesNothing(t *testing.T) {
	j := newJobs(t, nil)
	try := func() error {
		_, err := j.svc.File(j.ctx, j.as("deployer"), approval.Ask{Targets: []string{"web01"}, Login: "deploy", Reason: "x"})
		return err
	}
	j.is(try(), nil)
	for _, owner := range []string{"", "Ugone", "Uci"} {
		j.change("deployer", func(u *identity.User) { u.Owner = owner })
		if err := try(); err == nil || !errors.Is(err, approval.ErrForbidden) || !strings.Contains(err.Error(), "--owner") {
			t.Errorf("owner %q: %v", owner, err)
		}
	}
	j.change("deployer", func(u *identity.User) { u.Owner = "Udave" })
	j.is(try(), nil)
	j.change("dave", func(u *identity.User) { u.State = identity.Disabled })
	j.is(try(), approval.ErrForbidden)
}
