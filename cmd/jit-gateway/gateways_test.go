//go:build gateways

// Three gateways on one PostgreSQL store, behind haproxy, and what may go
// wrong there: `make test-gateways`. Each fault prints what was seen; the
// table in docs/several-gateways.md is made of that.

package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"jit-gateway/internal/testenv/fleet"
	"jit-gateway/internal/testenv/stack"
)

const fleetRules = `
  - name: web
    groups: [engineers]
    targets: [web01]
    max_duration: 8h
    approve: [{groups: [approvers]}]
    channels: {shell: true, exec: true}
  - name: auto
    groups: [engineers]
    targets: [web02, orders]
    auto: true
    max_duration: 8h
    channels: {shell: true, exec: true, sftp: both}
    tunnel: true
  - name: few
    groups: [interns]
    targets: [web02]
    auto: true
    max_duration: 8h
    channels: {shell: true, exec: true}
    session: {max: 2}
`

// grace is limits.store_grace of the fleet.
const grace = 8 * time.Second

// world is the fleet and the table of what was seen.
type world struct {
	*fleet.Fleet
	t       *testing.T
	ctx     context.Context
	a, b, c *fleet.Gateway
}

func (w *world) row(fault, seen string, args ...any) {
	w.t.Helper()
	w.t.Logf("| %s | %s |", fault, fmt.Sprintf(seen, args...))
}

func (w *world) ok(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// TestGateways goes through the faults one after the other, on one fleet: what
// each leaves behind is part of the next one's world.
func TestGateways(t *testing.T) {
	program, err := exec.LookPath("jit-gateway")
	if err != nil {
		t.Fatal(err)
	}
	users := []stack.User{{Name: "alice", Group: "engineers"}, {Name: "bob", Group: "approvers"}, {Name: "erin", Group: "engineers"},
		{Name: "frank", Group: "engineers"}, {Name: "ian", Group: "interns"}}
	f := fleet.Up(t, fleet.Options{Program: program, Users: users, Rules: fleetRules, Limits: fmt.Sprintf("{drain: 2s, store_grace: %s}", grace)})
	t.Cleanup(func() {
		if t.Failed() {
			for _, g := range f.Gateways {
				log := g.Log()
				t.Logf("gateway %s says at the end:\n%s", g.Name, log[max(0, len(log)-4000):])
			}
		}
	})
	w := &world{Fleet: f, ctx: t.Context(), a: f.Gateway("a"), b: f.Gateway("b"), c: f.Gateway("c")}
	for _, part := range []struct {
		name string
		play func()
	}{
		{"AnyServes", w.anyServes}, {"Revocation", w.revocation}, {"TerminateAndWatch", w.terminateAndWatch}, {"CancelElsewhere", w.cancelElsewhere},
		{"Targets", w.targets}, {"SessionLimit", w.sessionLimit}, {"Keys", w.keys}, {"Clock", w.clock}, {"Partition", w.partition}, {"Crash", w.crash},
		{"StoreRestart", w.storeRestart}, {"RollingRestart", w.rollingRestart}, {"Upgrade", w.upgrade}, {"Disabled", w.disabled}, {"NothingLost", w.nothingLost},
	} {
		if !t.Run(part.name, func(t *testing.T) {
			w.t = t
			began := time.Now()
			part.play()
			t.Logf("took %s", time.Since(began).Round(time.Millisecond))
		}) {
			break
		}
	}
}

// anyServes: a request, its approval, its activation and the session, each on
// another gateway; and nothing without the approval, anywhere.
func (w *world) anyServes() {
	request, err := w.a.Direct().Run(w.ctx, "alice", "", "jit-gateway", "request", "deploy@web01", "--no-wait", "--for", "4h", "--reason", "work")
	w.ok(err)
	request = strings.TrimSpace(request)
	for _, g := range w.Gateways {
		if out, err := g.Direct().Run(w.ctx, "alice", "", "web01", "echo through"); err == nil || strings.Contains(out, "through") {
			w.t.Fatalf("%s let alice in before the approval", g.Name)
		}
	}
	digest := w.digest(w.b.Direct(), "bob", request)
	_, err = w.b.Direct().WithCode(w.ctx, "bob", "jit-gateway", "approve", request, "--digest", digest)
	w.ok(err)
	grant, err := w.c.Direct().Activate(w.ctx, "alice", request)
	w.ok(err)
	for _, g := range w.Gateways {
		out, err := g.Direct().Run(w.ctx, "alice", "", "web01", "echo through "+g.Name)
		w.ok(err)
		if !strings.Contains(out, "through "+g.Name) {
			w.t.Fatalf("through %s: %q", g.Name, out)
		}
	}
	_, err = w.Balanced().Run(w.ctx, "alice", "", "web01", "true")
	w.ok(err)
	w.row("none", "request on a, approved on b, activated on c (%s): sessions on a, b, c and through haproxy; none before the approval", grant)
}

var digestRE = regexp.MustCompile(`"digest": *"([0-9a-f]+)"`)

func (w *world) digest(v fleet.Via, user, request string) string {
	w.t.Helper()
	out, err := v.Run(w.ctx, user, "", "jit-gateway", "requests", request, "--json")
	w.ok(err)
	m := digestRE.FindStringSubmatch(out)
	if m == nil {
		w.t.Fatalf("no digest: %s", out)
	}
	return m[1]
}

func (w *world) liveGrant(user, target string) string {
	w.t.Helper()
	return w.Store(`SELECT g.id FROM grants g JOIN grant_targets x ON x.grant_id = g.id JOIN users u ON u.id = g.user_id
		WHERE g.state = 'active' AND u.name = '` + user + `' AND x.target = '` + target + `'`)
}

// revocation on one gateway ends sessions on the others.
func (w *world) revocation() {
	grant := w.liveGrant("alice", "web01")
	on := map[string]*fleet.Session{}
	for _, g := range w.Gateways {
		on[g.Name] = g.Direct().Shell("alice", "web01")
	}
	began := time.Now()
	_, err := w.b.Local(w.ctx, "revoke", grant, "--reason", "over")
	w.ok(err)
	answered := time.Now()
	var seen []string
	for _, g := range w.Gateways {
		took, ok := on[g.Name].EndsWithin(5*time.Second, began)
		if !ok {
			w.t.Fatalf("the session on %s outlived the revocation on b", g.Name)
		}
		if !strings.Contains(on[g.Name].Said(), "revoked") {
			w.t.Errorf("on %s the user was told %q", g.Name, on[g.Name].Said())
		}
		seen = append(seen, fmt.Sprintf("%s %d ms", g.Name, took.Milliseconds()))
	}
	for _, g := range w.Gateways {
		if _, err := g.Direct().Run(w.ctx, "alice", "", "web01", "true"); err == nil {
			w.t.Errorf("%s admits after the revocation", g.Name)
		}
	}
	w.row("revoked on b", "sessions ended %s after the command began (it took %d ms); afterwards no gateway admits", strings.Join(seen, ", "), answered.Sub(began).Milliseconds())
}

// terminateAndWatch of a session on another gateway.
func (w *world) terminateAndWatch() {
	_, err := w.Grants(w.ctx, "erin", "deploy@web02", "4h", w.a.Direct(), w.b.Direct())
	w.ok(err)
	s := w.a.Direct().Shell("erin", "web02")
	id := w.openSession("erin", "web02")
	out, err := w.b.Local(w.ctx, "watch", id)
	if err == nil || !strings.Contains(out, "is live on the gateway a.") {
		w.t.Errorf("watching on another gateway says %q, %v", out, err)
	}
	began := time.Now()
	_, err = w.c.Local(w.ctx, "terminate", id, "--reason", "lunch")
	w.ok(err)
	took, ok := s.EndsWithin(5*time.Second, began)
	if !ok || !strings.Contains(s.Said(), "lunch") {
		w.t.Fatalf("terminated on c, the session on a goes on or says nothing: %s", s.Said())
	}
	w.row("terminated on c", "the session on a ended in %d ms, its user read the reason; watching it on b answers with a's name", took.Milliseconds())
}

func (w *world) openSession(user, target string) string {
	w.t.Helper()
	return w.Store(`SELECT s.id FROM sessions s JOIN users u ON u.id = s.user_id WHERE s.state = 'open' AND u.name = '` + user + `' AND s.target = '` + target + `'`)
}

// cancelElsewhere: Ctrl-C in psql makes a connection of its own, which haproxy
// gives to another gateway.
func (w *world) cancelElsewhere() {
	_, err := w.Grants(w.ctx, "frank", "orders_ro@orders", "4h", w.b.Direct(), w.c.Direct())
	w.ok(err)
	token, err := w.a.Direct().Run(w.ctx, "frank", "", "jit-gateway", "token", "orders")
	w.ok(err)
	token = strings.TrimSpace(token)
	for range 3 { // whichever gateway is next
		cmd := w.Balanced().Psql(context.Background(), "frank", token, "SELECT pg_sleep(60)")
		var out strings.Builder
		cmd.Stdout, cmd.Stderr = &out, &out
		w.ok(cmd.Start())
		w.until("the statement runs", func() bool {
			return w.Store("SELECT count(*) FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(60)' AND state = 'active'") == "1"
		})
		began := time.Now()
		w.ok(cmd.Process.Signal(os.Interrupt))
		done := make(chan struct{})
		go func() { cmd.Wait(); close(done) }()
		select {
		case <-done:
		case <-time.After(10 * time.Second):
			cmd.Process.Kill()
			w.t.Fatal("Ctrl-C did not stop the statement")
		}
		if !strings.Contains(out.String(), "canceling statement due to user request") {
			w.t.Errorf("psql says %q", out.String())
		}
		w.row("CancelRequest to another gateway", "the statement was cancelled in %d ms", time.Since(began).Milliseconds())
	}
}

func (w *world) until(what string, cond func() bool) {
	w.t.Helper()
	for began := time.Now(); !cond(); time.Sleep(20 * time.Millisecond) {
		if time.Since(began) > 60*time.Second {
			w.t.Fatalf("%s: not within a minute", what)
		}
	}
}

// targets that are added to the store through one gateway are on all of them,
// and each can tell how the others are.
func (w *world) targets() {
	began := time.Now()
	_, err := w.a.Local(w.ctx, "target", "add", "db9", "--postgres", "127.0.0.1:1", "--login", "ro", "--admin-user", "x", "--label", "env=test")
	w.ok(err)
	on := func(g *fleet.Gateway) bool {
		out, err := g.Local(w.ctx, "target", "list")
		w.ok(err)
		return strings.Contains(out, "db9")
	}
	w.until("the target is on b and c", func() bool { return on(w.b) && on(w.c) })
	added := time.Since(began)
	_, err = w.c.Local(w.ctx, "target", "remove", "db9")
	w.ok(err)
	w.until("the target is gone from a and b", func() bool { return !on(w.a) && !on(w.b) })
	out, err := w.a.Local(w.ctx, "doctor", "--no-targets")
	w.ok(err)
	for _, g := range w.Gateways {
		if !strings.Contains(out, "ok    Gateways, "+g.Name) {
			w.t.Errorf("doctor does not tell of %s:\n%s", g.Name, out)
		}
	}
	// One gateway gets other rules.
	config, err := os.ReadFile(w.b.Config())
	w.ok(err)
	w.ok(os.WriteFile(w.b.Config(), []byte(strings.Replace(string(config), "session: {max: 2}", "session: {max: 3}", 1)), 0o644))
	_, err = w.b.Local(w.ctx, "reload")
	w.ok(err)
	out, _ = w.a.Local(w.ctx, "doctor", "--no-targets")
	if !strings.Contains(out, "warn  Gateways, b: ") || !strings.Contains(out, "other rules than this one") {
		w.t.Errorf("doctor does not tell that b has other rules:\n%s", out)
	}
	w.ok(os.WriteFile(w.b.Config(), config, 0o644))
	_, err = w.b.Local(w.ctx, "reload")
	w.ok(err)
	w.row("a target is added on a, removed on c", "b and c had it %.1f s after the command began, a and b lost it likewise; doctor names the gateways, and one whose rules differ", added.Seconds())
}

// sessionLimit: a rule that allows two sessions allows two in all.
func (w *world) sessionLimit() {
	_, err := w.Grants(w.ctx, "ian", "deploy@web02", "4h", w.a.Direct(), w.b.Direct())
	w.ok(err)
	var wg sync.WaitGroup
	var through, refused atomic.Int64
	stop, cancel := context.WithCancel(w.ctx)
	for i := range 9 {
		wg.Go(func() {
			cmd := w.Gateways[i%3].Direct().SSH(stop, "ian", "web02", "echo up; sleep 600")
			out, err := cmd.StdoutPipe()
			if err != nil || cmd.Start() != nil {
				return
			}
			if n, _ := out.Read(make([]byte, 2)); n > 0 {
				through.Add(1)
			} else {
				refused.Add(1)
			}
			cmd.Wait()
		})
	}
	w.until("all nine have tried", func() bool { return through.Load()+refused.Load() == 9 })
	open := w.Store("SELECT count(*) FROM sessions s JOIN users u ON u.id = s.user_id WHERE s.state = 'open' AND u.name = 'ian'")
	cancel()
	wg.Wait()
	if through.Load() != 2 || open != "2" {
		w.t.Errorf("%d of nine came through, %s rows are open; the rule allows 2", through.Load(), open)
	}
	w.row("nine sessions at once, three on each gateway, under a rule that allows two", "two came through")
}

// keys: a gateway with other keys does not start.
func (w *world) keys() {
	w.ok(w.c.Stop())
	ca := w.Path("gateway-c/keys/ca")
	w.ok(os.Rename(ca, ca+".right"))
	out, err := exec.Command(mustLook(w.t, "jit-gateway"), "init", "--data", w.Path("other"), "--config", w.Path("other.yaml"), "--name", "jit-gateway", "--admin", "dana").CombinedOutput()
	if err != nil {
		w.t.Fatalf("%v\n%s", err, out)
	}
	w.ok(os.Rename(w.Path("other/keys/ca"), ca))
	why := w.c.Fails()
	if !strings.Contains(why, "on record in the store") {
		w.t.Errorf("a gateway with other keys says: %s", why)
	}
	w.ok(os.RemoveAll(ca))
	w.ok(os.Rename(ca+".right", ca))
	w.c.Start()
	w.row("c has other CA keys", "it does not start, and says which key differs")
}

func mustLook(t *testing.T, name string) string {
	path, err := exec.LookPath(name)
	if err != nil {
		t.Fatal(err)
	}
	return path
}
