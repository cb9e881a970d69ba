package dialogue_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"jit-gateway/approval"
	"jit-gateway/approval/mfa"
	"jit-gateway/approval/policy"
	"jit-gateway/internal/audit"
	"jit-gateway/internal/dialogue"
	"jit-gateway/internal/identity"
	"jit-gateway/internal/inventory"
	"jit-gateway/internal/seal"
	"jit-gateway/internal/store/sqlite"
	"jit-gateway/internal/testenv"
)

// world is a gateway without wires, inside a synctest bubble: the real store
// and the real approval service, with the bubble's clock.
type world struct {
	*testing.T
	db      *sqlite.DB
	svc     *approval.Service
	mfa     *mfa.Verifier
	d       *dialogue.Dialogue
	secrets map[string]string
	stop    func()
}

const home = "192.0.2.10"

func newWorld(t *testing.T, rules ...policy.Rule) *world {
	t.Helper()
	w := &world{T: t, secrets: map[string]string{}}
	ctx := t.Context()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	var err error
	w.db, err = sqlite.Open(ctx, filepath.Join(t.TempDir(), "store.db"), sqlite.Options{})
	must(err)
	inv, err := inventory.NewLive([]inventory.Target{host("web01"), host("web02")})
	must(err)
	box, err := seal.New(seal.GenerateKey())
	must(err)
	w.mfa, err = mfa.NewVerifier(mfa.Options{Store: w.db, Box: box, Now: time.Now})
	must(err)
	if len(rules) == 0 {
		rules = []policy.Rule{{Name: "web", Groups: []string{"sre"}, Targets: []string{"web*"}, MaxDuration: policy.Duration(time.Hour),
			Approve: []policy.Quorum{{Groups: []string{"sre-leads"}}}}}
	}
	set, err := policy.NewSet(rules)
	must(err)
	w.svc, err = approval.New(approval.Options{Users: w.db, Inventory: inv, Rules: func() *policy.Set { return set }, Requests: w.db, Grants: w.db, Log: w.db,
		Now: time.Now, Clock: func(context.Context) error { return nil }, Feed: w.db, Logger: slog.New(slog.DiscardHandler)})
	must(err)
	w.d, err = dialogue.New(dialogue.Options{Approvals: w.svc, MFA: w.mfa, Users: w.db, Feed: w.db})
	must(err)
	for name, groups := range map[string][]string{"alice": {"sre"}, "bob": {"sre-leads"}} {
		must(w.db.CreateUser(ctx, identity.User{ID: "U" + name, Name: name, Kind: identity.Human, State: identity.Active, Groups: groups, CreatedAt: time.Now()},
			audit.Event{Type: audit.UserAdded, Outcome: audit.Success}))
		must(w.db.AddKey(ctx, identity.Key{Fingerprint: "SHA256:" + name, UserID: "U" + name, Authorized: "ssh-ed25519 " + name, CreatedAt: time.Now()},
			audit.Event{Type: audit.KeyAdded, Outcome: audit.Success}))
		e := w.mfa.BeginTOTP(name)
		w.secrets[name] = e.Secret
		_, _, err := w.mfa.ConfirmTOTP(ctx, "U"+name, e, w.code(name), audit.Actor{})
		must(err)
	}
	time.Sleep(time.Minute) // the codes of the enrolment are spent
	run, cancel := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- w.svc.Run(run) }()
	w.stop = func() {
		cancel()
		if err := <-ended; err != nil && !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		must(w.db.Close())
	}
	return w
}

func host(name string) inventory.Target {
	return inventory.Target{Name: name, Kind: inventory.SSH, SSH: &inventory.SSHTarget{Address: "192.0.2.1:22", Logins: []string{"deploy", "admin"},
		HostKeys: []string{"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJmf9AYJHqKGNLIXvB/QmBOFQLM4PmgNCjrNXHHPaQVE"}}}
}

func (w *world) code(user string) string {
	w.Helper()
	c, err := testenv.TOTP(w.secrets[user], time.Now())
	if err != nil {
		w.Fatal(err)
	}
	return c
}

func caller(user string) approval.Caller {
	return approval.Caller{UserID: "U" + user, KeyFingerprint: "SHA256:" + user, Source: home, Via: "ssh"}
}

func ask(target, login string) approval.AdmitInput {
	return approval.AdmitInput{Caller: caller("alice"), Target: target, Login: login}
}

// pending waits for the one open request.
func (w *world) pending() approval.Request {
	w.Helper()
	for range 1000 {
		list, err := w.svc.Requests(w.Context(), caller("alice"), approval.RequestFilter{UserID: "Ualice", State: approval.Pending})
		if err != nil {
			w.Fatal(err)
		}
		if len(list) == 1 {
			return list[0]
		}
		time.Sleep(time.Second)
	}
	w.Fatal("no request was filed")
	return approval.Request{}
}

// approve lets bob approve the open request after a while.
func (w *world) approve(after, shorter time.Duration) {
	r := w.pending()
	time.Sleep(after)
	p, err := w.mfa.VerifyCode(w.Context(), "Ubob", w.code("bob"), audit.Actor{})
	if err != nil {
		w.Error(err)
		return
	}
	if _, err := w.svc.Approve(w.Context(), caller("bob"), r.ID, approval.ApproveOptions{Digest: r.Digest(), Duration: shorter}, p); err != nil {
		w.Error(err)
	}
}

// person is a Terminal with somebody at it who answers as told.
type person struct {
	w       *world
	answers map[string][]any // by prompt: strings, errors, functions; in order
	gone    func() bool

	mu    sync.Mutex
	lines []string
	alive int
}

func (p *person) Say(_ context.Context, text string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.lines = append(p.lines, text)
	return nil
}

func (p *person) Ask(ctx context.Context, prompt string, echo bool) (string, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	list := p.answers[prompt]
	if len(list) == 0 {
		p.lines = append(p.lines, prompt+"<EOF>")
		return "", io.EOF
	}
	p.answers[prompt] = list[1:]
	switch a := list[0].(type) {
	case string:
		shown := a
		if !echo {
			shown = "******"
		}
		p.lines = append(p.lines, prompt+shown)
		return a, nil
	case func() string:
		p.lines = append(p.lines, prompt+"******")
		return a(), nil
	case error:
		return "", a
	}
	return "", fmt.Errorf("no answer to %q", prompt)
}

func (p *person) Alive(ctx context.Context) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.alive++
	if p.gone != nil && p.gone() {
		return errors.New("connection reset by peer")
	}
	return ctx.Err()
}

func (p *person) transcript() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return strings.Join(p.lines, "\n")
}

func (w *world) alice(answers map[string][]any) *person {
	if answers["Code: "] == nil {
		answers["Code: "] = []any{func() string { return w.code("alice") }}
	}
	return &person{w: w, answers: answers}
}

func (w *world) proof(user string) mfa.Proof {
	w.Helper()
	p, err := w.mfa.VerifyCode(w.Context(), "U"+user, w.code(user), audit.Actor{})
	if err != nil {
		w.Error(err)
	}
	return p
}
