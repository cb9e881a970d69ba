package command

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/crypto/ssh"

	"jit-gateway/approval"
	"jit-gateway/approval/mfa"
	"jit-gateway/approval/policy"
	"jit-gateway/ca"
	"jit-gateway/internal/archive"
	"jit-gateway/internal/audit"
	"jit-gateway/internal/clock"
	"jit-gateway/internal/dialogue"
	"jit-gateway/internal/identity"
	"jit-gateway/internal/inventory"
	"jit-gateway/internal/seal"
	"jit-gateway/internal/store/sqlite"
	"jit-gateway/internal/testenv"
	"jit-gateway/recording"
	"jit-gateway/session"
)

// world is a whole gateway without its listeners: the real store, approval
// service, session manager and recordings, on the clock of a synctest bubble.
type world struct {
	*testing.T
	db       *sqlite.DB
	svc      *approval.Service
	mfa      *mfa.Verifier
	inv      *inventory.Live
	sessions *session.Manager
	rec      *recording.Dir
	o        Options
	r        *Runner
	secrets  map[string]string
	keys     map[string]ssh.PublicKey
	attach   func(dialogue.Terminal) func()
	rules    func(dry bool) (Reloaded, error)
}

const home = "192.0.2.10"

// story runs f in a bubble, with a world that is taken down afterwards.
func story(t *testing.T, f func(w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w, stop := newWorld(t, map[string][]string{"alice": {"sre"}, "bob": {"leads"}, "carol": {"auditors"}, "erin": {"admins"}})
		defer stop()
		time.Sleep(time.Minute) // the codes of the enrolment are spent
		f(w)
	})
}

func (w *world) must(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

func newWorld(t *testing.T, people map[string][]string) (*world, func()) {
	t.Helper()
	w := &world{T: t, secrets: map[string]string{}, keys: map[string]ssh.PublicKey{}}
	ctx, dir := t.Context(), t.TempDir()
	quiet := slog.New(slog.DiscardHandler)
	var err error
	w.db, err = sqlite.Open(ctx, filepath.Join(dir, "store.db"), sqlite.Options{})
	w.must(err)
	w.inv, err = inventory.NewLive(configured())
	w.must(err)
	box, err := seal.New(seal.GenerateKey())
	w.must(err)
	w.mfa, err = mfa.NewVerifier(mfa.Options{Store: w.db, Box: box, Now: time.Now, Issuer: "test"})
	w.must(err)
	set, err := policy.NewSet([]policy.Rule{
		{Name: "web", Groups: []string{"sre"}, Targets: []string{"web*"}, MaxDuration: policy.Duration(4 * time.Hour), Approve: []policy.Quorum{{Groups: []string{"leads"}}}},
		{Name: "orders", Groups: []string{"sre"}, Targets: []string{"orders"}, MaxDuration: policy.Duration(time.Hour), Approve: []policy.Quorum{{Groups: []string{"leads"}}}},
		{Name: "deploy", Groups: []string{"ci"}, Targets: []string{"web*"}, Logins: []string{"deploy"}, Machines: true, Auto: true},
	})
	w.must(err)
	w.svc, err = approval.New(approval.Options{Users: w.db, Inventory: w.inv, Rules: func() *policy.Set { return set }, Requests: w.db, Grants: w.db, Log: w.db,
		Now: time.Now, Clock: func(context.Context) error { return nil }, Feed: w.db, Logger: quiet, Findings: w.db,
		Roles: approval.Roles{Admins: []string{"admins"}, Auditors: []string{"auditors"}}})
	w.must(err)
	talk, err := dialogue.New(dialogue.Options{Approvals: w.svc, MFA: w.mfa, Users: w.db, Feed: w.db})
	w.must(err)
	w.must(ca.Init(filepath.Join(dir, "keys")))
	authority, err := ca.Load(filepath.Join(dir, "keys"), ca.Options{})
	w.must(err)
	tokens := ca.NewTokens(authority, w.db, time.Now)
	w.rec, err = recording.OpenDir(filepath.Join(dir, "recordings"), recording.DirOptions{})
	w.must(err)
	w.sessions, err = session.NewManager(session.Options{Instance: "gw1", Store: w.db, Credentials: w.db, Instances: w.db, Grants: w.db, Log: w.db, Feed: w.db,
		Recordings: w.rec, Tokens: tokens, Clock: clock.Simulated(), Logger: quiet, Exclusive: true})
	w.must(err)
	_, vkey, err := audit.GenerateKey("test.example")
	w.must(err)
	w.o = Options{Approvals: w.svc, Dialogue: talk, MFA: w.mfa, Users: w.db, Inventory: w.inv, Targets: w.db, Reload: w.reload,
		Sessions: w.sessions, Rows: w.db, Recordings: w.rec, Authority: authority, Tokens: tokens, Feed: w.db, Log: w.db, AuditLog: w.db, AuditKey: vkey,
		Public: Public{Name: "jit-gateway", Host: "gw.example", SSHPort: 2222, PostgresPort: 6432, URL: "https://gw.example:8443"}, Logger: quiet,
		Search: w.db.SearchLines, Acts: w.db, Findings: w.db.Findings, Machines: w.machines(),
		PageLink: func(context.Context, approval.Caller) (string, time.Time, error) {
			return "https://gw.example:8443/sign-in?t=abc", time.Now().Add(5 * time.Minute), nil
		},
		Check: func(_ context.Context, tg inventory.Target, standing bool) ([]CheckResult, error) {
			return []CheckResult{{What: "host key", OK: tg.Name == "web01", Detail: "as pinned", Fix: "pin the new key"}}, nil
		},
		Evidence: func(_ context.Context, _ approval.Caller, id string, out io.Writer) error {
			_, err := io.WriteString(out, "PK "+id)
			return err
		},
		Rules: func(_ context.Context, _ audit.Actor, dry bool) (Reloaded, error) { return w.rules(dry) },
		Report: func(_ context.Context, from, to time.Time, format string, out io.Writer) error {
			_, err := fmt.Fprintf(out, "%s from %s to %s", format, from.Format(time.RFC3339), to.Format(time.RFC3339))
			return err
		},
		UserCert: func(_ context.Context, adm approval.Admission, key ssh.PublicKey) (*ssh.Certificate, error) {
			return nil, errors.New("not in this test")
		},
	}
	w.o.Backup = func(_ context.Context, out io.Writer, o BackupOptions) error {
		_, err := fmt.Fprintf(out, "a backup, %v", o)
		return err
	}
	w.o.Keeper, err = archive.New(archive.Options{Store: w.db, Recordings: w.rec, Rules: func() *policy.Set { return nil }, Now: time.Now, Logger: quiet})
	w.must(err)
	w.r, err = New(w.o)
	w.must(err)
	for name, groups := range people {
		w.user(name, groups...)
	}
	run, cancel := context.WithCancel(ctx)
	ended := make(chan error, 2)
	go func() { ended <- w.svc.Run(run) }()
	go func() { ended <- w.sessions.Run(run) }()
	return w, func() {
		cancel()
		for range 2 {
			if err := <-ended; err != nil && !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
		}
		w.must(w.db.Close())
	}
}

func configured() []inventory.Target {
	host := func(name string) inventory.Target {
		return inventory.Target{Name: name, Kind: inventory.SSH, Labels: map[string]string{"role": "web"}, Source: "config",
			SSH: &inventory.SSHTarget{Address: "192.0.2.1:22", Logins: []string{"deploy", "admin"}, HostKeys: []string{hostKey}}}
	}
	return []inventory.Target{host("web01"), host("web02"), {Name: "orders", Kind: inventory.Postgres, Source: "config",
		Postgres: &inventory.PostgresTarget{Address: "127.0.0.1:5432", Database: "orders", Roles: []string{"orders_ro", "orders_rw"}, TLS: "disable", AdminUser: "gw"}}}
}

const hostKey = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJmf9AYJHqKGNLIXvB/QmBOFQLM4PmgNCjrNXHHPaQVE"

func (w *world) reload(ctx context.Context) error {
	stored, err := w.db.StoredTargets(ctx)
	if err != nil {
		return err
	}
	return w.inv.Swap(append(configured(), stored...))
}

func newKey(t *testing.T) ssh.PublicKey {
	t.Helper()
	pub, _, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	key, err := ssh.NewPublicKey(pub)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func (w *world) user(name string, groups ...string) {
	w.Helper()
	ctx, ev := w.Context(), audit.Event{Type: audit.UserAdded, Outcome: audit.Success}
	w.must(w.db.CreateUser(ctx, identity.User{ID: "U" + name, Name: name, Kind: identity.Human, State: identity.Active, Groups: groups, CreatedAt: time.Now()}, ev))
	key := newKey(w.T)
	w.keys[name] = key
	w.must(w.db.AddKey(ctx, identity.Key{Fingerprint: ssh.FingerprintSHA256(key), UserID: "U" + name, Authorized: keyLine(key), CreatedAt: time.Now()}, ev))
	e := w.mfa.BeginTOTP(name)
	w.secrets[name] = e.Secret
	_, _, err := w.mfa.ConfirmTOTP(ctx, "U"+name, e, w.codeNow(name), audit.Actor{})
	w.must(err)
}

func (w *world) codeNow(user string) string {
	w.Helper()
	c, err := testenv.TOTP(w.secrets[user], time.Now())
	w.must(err)
	return c
}

// code is a code that was not used before.
func (w *world) code(user string) string {
	time.Sleep(31 * time.Second)
	return w.codeNow(user)
}

// as is an invocation by somebody: a user, "local" or "stranger".
func (w *world) as(who string, args ...string) dialogue.Invocation {
	w.Helper()
	inv := dialogue.Invocation{Args: args, In: strings.NewReader("")}
	switch who {
	case "local":
		inv.LocalAdmin, inv.Caller = true, approval.Caller{Via: "admin.sock", LocalAdmin: true}
	case "stranger":
		if w.keys[who] == nil {
			w.keys[who] = newKey(w.T)
		}
		inv.Offered = w.keys[who]
		inv.Caller = approval.Caller{KeyFingerprint: ssh.FingerprintSHA256(inv.Offered), Source: home, Via: "ssh"}
	default:
		u, err := w.db.UserByName(w.Context(), who)
		w.must(err)
		inv.User, inv.Offered = u, w.keys[who]
		inv.Caller = approval.Caller{UserID: u.ID, KeyFingerprint: ssh.FingerprintSHA256(w.keys[who]), Source: home, Via: "ssh"}
	}
	return inv
}

type result struct {
	status   int
	out, err string
}

// run runs a command without a terminal.
func (w *world) run(who, stdin string, args ...string) result {
	w.Helper()
	inv := w.as(who, args...)
	var out, errs bytes.Buffer
	inv.In, inv.Out, inv.Err = strings.NewReader(stdin), &out, &errs
	status := w.r.Run(w.Context(), inv)
	return result{status, out.String(), errs.String()}
}

// ok is run for a command that must succeed; it returns stdout.
func (w *world) ok(who, stdin string, args ...string) string {
	w.Helper()
	r := w.run(who, stdin, args...)
	if r.status != OK {
		w.Fatalf("%s: %v: status %d\n%s%s", who, args, r.status, r.out, r.err)
	}
	return r.out
}

// fails is run for a command that must fail with the status, saying all of
// the texts on stderr.
func (w *world) fails(status int, who, stdin string, args []string, texts ...string) result {
	w.Helper()
	r := w.run(who, stdin, args...)
	if r.status != status {
		w.Errorf("%s: %v: status %d, want %d\n%s%s", who, args, r.status, status, r.out, r.err)
	}
	for _, s := range texts {
		if !strings.Contains(r.err, s) {
			w.Errorf("%s: %v: no %q in %q", who, args, s, r.err)
		}
	}
	return r
}

func (w *world) json(v any, who, stdin string, args ...string) {
	w.Helper()
	out := w.ok(who, stdin, append(args, "--json")...)
	if err := json.Unmarshal([]byte(out), v); err != nil {
		w.Fatalf("%v: %v\n%s", args, err, out)
	}
}

// session on a terminal: somebody who types.
type typist struct {
	w    *world
	in   *io.PipeWriter
	out  *screenBuf
	done chan int
	seen int
}

// tty runs a command, or the prompt, on a terminal.
func (w *world) tty(ctx context.Context, who string, args ...string) *typist {
	inv := w.as(who, args...)
	r, in := io.Pipe()
	p := &typist{w: w, in: in, out: &screenBuf{}, done: make(chan int, 1)}
	inv.In, inv.Out, inv.Err, inv.TTY, inv.Term, inv.Cols, inv.Rows = r, p.out, p.out, true, "xterm", 200, 50
	inv.Attach = w.attach
	go func() { p.done <- w.r.Run(ctx, inv) }()
	return p
}

// see waits until the text is on the screen after what was seen before.
func (p *typist) see(text string) {
	p.w.Helper()
	for range 200 {
		synctest.Wait()
		if i := strings.Index(p.out.String()[p.seen:], text); i >= 0 {
			p.seen += i + len(text)
			return
		}
		time.Sleep(10 * time.Second)
	}
	p.w.Fatalf("no %q on the screen:\n%s", text, p.out.String()[p.seen:])
}

func (p *typist) types(s string) {
	p.w.Helper()
	keys(p.w.T, p.in, s)
}

// leaves hangs up and returns the exit status.
func (p *typist) leaves() int {
	p.in.Close()
	return <-p.done
}

// grant brings alice a live grant, by the commands themselves.
func (w *world) grant(target string) string {
	w.Helper()
	id := strings.TrimSpace(w.ok("alice", "", "request", target, "--for", "1h", "--reason", "INC-1"))
	var q []requestJSON
	w.json(&q, "bob", "", "requests", id)
	w.ok("bob", w.code("bob")+"\n", "approve", id, "--digest", q[0].Digest)
	var g approval.Grant
	w.json(&g, "alice", w.code("alice")+"\n", "activate", id)
	return g.ID
}
