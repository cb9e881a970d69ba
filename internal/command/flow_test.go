package command

import (
	"context"
	"encoding/json"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"jit-gateway/approval"
	"jit-gateway/internal/dialogue"
)

func TestAskApproveActivateRelease(t *testing.T) {
	story(t, func(w *world) {
		if out := w.ok("alice", "", "targets"); !strings.Contains(out, "web01   ssh       deploy,admin") || !strings.Contains(out, "may ask") {
			w.Error(out)
		}
		g := w.grant("deploy@web01")
		if out := w.ok("alice", "", "targets"); !strings.Contains(out, "deploy open for ") {
			w.Error(out)
		}
		if out := w.ok("alice", "", "grants"); !strings.Contains(out, g) || !strings.Contains(out, "open") {
			w.Error(out)
		}
		if out := w.ok("alice", "", "grants", g); !strings.Contains(out, "approved by  bob") {
			w.Error(out)
		}
		// Somebody else sees nothing of it, in the words for what is not there.
		w.fails(Failed, "carol", "", []string{"release", g}, "There is no "+g)
		if out := w.ok("alice", "", "release", g); !strings.Contains(out, g+" released") {
			w.Error(out)
		}
		if out := w.ok("alice", "", "grants", "--all"); !strings.Contains(out, "ended") || !strings.Contains(out, "released") {
			w.Error(out)
		}
	})
}

func TestRequestWaitsOnATerminalAndTakesTheCode(t *testing.T) {
	story(t, func(w *world) {
		p := w.tty(w.Context(), "alice", "request", "deploy@web01", "--for", "30m")
		p.see("Reason: ")
		p.types("nginx 502s\r")
		p.see("sent to leads. Waiting; Ctrl-C stops waiting, the request stays open.")
		id := w.openRequest()
		time.Sleep(time.Minute)
		q := w.tty(w.Context(), "bob", "approve", id, "--for", "10m")
		q.see("nginx 502s")
		q.see("Code: ")
		q.types(w.code("bob") + "\r")
		if s := q.leaves(); s != OK {
			w.Errorf("approve: %d\n%s", s, q.out)
		}
		p.see("Approved by bob for 10 min (you asked for 30 min), starting with your code.")
		p.see("Code: ")
		p.types(w.code("alice") + "\r")
		p.see("deploy on web01 is open until ")
		if s := p.leaves(); s != OK {
			w.Errorf("status %d", s)
		}
		if strings.Contains(p.out.String(), w.codeNow("alice")) {
			w.Error("the code was echoed")
		}
	})
}

// A program that waits reads one JSON value, however far the command went.
func TestRequestThatWaitsHasOneResult(t *testing.T) {
	story(t, func(w *world) {
		done := make(chan result, 1)
		go func() {
			done <- w.run("alice", w.codeNow("alice")+"\n", "request", "deploy@web01", "-r", "x", "--wait", "--json")
		}()
		synctest.Wait()
		var shown []requestJSON
		w.json(&shown, "bob", "", "requests", w.openRequest())
		w.ok("bob", w.codeNow("bob")+"\n", "approve", shown[0].ID, "--digest", shown[0].Digest)
		r := <-done
		var q requestJSON
		if err := json.Unmarshal([]byte(r.out), &q); err != nil || r.status != OK || q.ID != shown[0].ID || q.GrantID == "" {
			w.Errorf("status %d, %v\n%s%s", r.status, err, r.out, r.err)
		}
		if out := w.ok("alice", "", "grants"); !strings.Contains(out, "open") {
			w.Error(out)
		}
	})
}

func (w *world) openRequest() string {
	w.Helper()
	var list []requestJSON
	w.json(&list, "alice", "", "requests")
	if len(list) != 1 {
		w.Fatalf("%d open requests", len(list))
	}
	return list[0].ID
}

func TestApproveSeveralWithOneCode(t *testing.T) {
	story(t, func(w *world) {
		var ids []string
		for _, target := range []string{"deploy@web01", "admin@web01", "deploy@web02"} {
			ids = append(ids, strings.TrimSpace(w.ok("alice", "", "request", target, "--reason", "patching")))
		}
		p := w.tty(w.Context(), "bob", append([]string{"approve"}, ids...)...)
		for _, id := range ids {
			p.see(id)
		}
		p.see("Code: ")
		p.types(w.code("bob") + "\r")
		for _, id := range ids {
			p.see(id + " approved: alice as ")
		}
		if s := p.leaves(); s != OK {
			w.Errorf("status %d", s)
		}
		if out := w.ok("alice", "", "grants"); strings.Count(out, "activate within") != 3 {
			w.Error(out)
		}
	})
}

func TestApproveWithoutATerminalWantsTheDigest(t *testing.T) {
	story(t, func(w *world) {
		id := strings.TrimSpace(w.ok("alice", "", "request", "deploy@web01", "--reason", "x"))
		w.fails(Usage, "bob", w.code("bob")+"\n", []string{"approve", id}, "--digest", "ssh -t jit-gateway approve "+id)
		w.fails(Failed, "bob", w.code("bob")+"\n", []string{"approve", id, "--digest", strings.Repeat("0", 64)}, "not the request that this digest names")
		w.fails(Usage, "bob", "", []string{"approve", id, "R123", "--digest", "00"}, "one --digest for each")
		var q []requestJSON
		w.json(&q, "bob", "", "requests", id)
		w.fails(Failed, "bob", "", []string{"approve", id, "--digest", q[0].Digest}, "No answer came. Nothing was changed.")
		w.fails(Failed, "bob", "000000\n000000\n000000\n", []string{"approve", id, "--digest", q[0].Digest}, "last of 3 tries")
		if w.openRequest() != id {
			w.Error("it is not open any more")
		}
		w.ok("bob", w.code("bob")+"\n", "approve", strings.ToLower(id), "--digest", q[0].Digest)
		// Nobody approves their own (G6), and who may not answer sees nothing.
		own := strings.TrimSpace(w.ok("alice", "", "request", "admin@web01", "--reason", "x"))
		w.json(&q, "alice", "", "requests", own)
		w.fails(Failed, "alice", w.code("alice")+"\n", []string{"approve", own, "--digest", q[0].Digest}, "your own request")
		w.fails(Failed, "carol", "", []string{"deny", own, "--reason", "x"})
	})
}

func TestDenyAndWithdraw(t *testing.T) {
	story(t, func(w *world) {
		id := strings.TrimSpace(w.ok("alice", "", "request", "deploy@web01", "--reason", "x"))
		w.fails(Usage, "bob", "", []string{"deny", id}, "--reason")
		w.ok("bob", "the freeze\n", "deny", id)
		if out := w.ok("alice", "", "requests", id); !strings.Contains(out, "bob: the freeze") || !strings.Contains(out, "(denied)") {
			w.Error(out)
		}
		w.fails(Failed, "alice", "", []string{"activate", id}, "it is denied")
		id = strings.TrimSpace(w.ok("alice", "", "request", "deploy@web01", "--reason", "x"))
		w.fails(Failed, "bob", "", []string{"withdraw", id})
		w.ok("alice", "", "withdraw", id)
		if out := w.ok("alice", "", "requests"); out != "" {
			w.Error(out)
		}
	})
}

func TestRequestByLabelAndWrongUse(t *testing.T) {
	story(t, func(w *world) {
		id := strings.TrimSpace(w.ok("alice", "", "request", "label:role=web", "-l", "deploy", "-r", "patching"))
		var q []requestJSON
		w.json(&q, "alice", "", "requests", id)
		if strings.Join(q[0].Targets, ",") != "web01,web02" {
			w.Errorf("%v", q[0].Targets)
		}
		w.fails(Usage, "alice", "", []string{"request", "label:role"}, "label:key=value")
		w.fails(Usage, "alice", "", []string{"request", "label:a=b", "web01"}, "not both")
		w.fails(Usage, "alice", "", []string{"request", "a@web01", "b@web02"}, "one login")
		w.fails(Usage, "alice", "", []string{"request"}, "<target>")
		w.fails(Usage, "alice", "", []string{"request", "web01", "--for", "soon"}, "30m")
		w.fails(Usage, "alice", "", []string{"requset", "web01"}, `did you mean "request"? See: ssh jit-gateway help`)
		w.fails(Usage, "alice", "", []string{"frobnicate"}, "There is no command frobnicate. See: ssh jit-gateway help\n")
		w.fails(Usage, "alice", "", []string{"approve"}, "See: ssh jit-gateway help approve\n")
		w.fails(Usage, "alice", "", []string{"recording", "play"}, "See: ssh jit-gateway help recording\n")
		w.fails(Usage, "alice", "", []string{"sessions", "--limit", "many"}, `--limit needs a whole number, not "many".`)
		w.fails(Usage, "alice", "", []string{"requests", "--state", "odd"}, `--state must be one of "pending",`)
		w.fails(Usage, "alice", "", []string{"sessions", "--user"}, "--user needs a value. See: ssh jit-gateway help sessions\n")
		w.fails(Failed, "alice", "", []string{"request", "deploy@nosuch", "-r", "x"}, "no such target")
		w.fails(Failed, "alice", "", []string{"request", "web01", "-r", "x"}, "deploy")
		w.fails(Failed, "alice", "", []string{"request", "deploy@web01"}, "No answer came")
		w.fails(Failed, "alice", "\n\n\n", []string{"request", "deploy@web01"}, "A reason is needed")
	})
}

func TestCtrlCStopsWaiting(t *testing.T) {
	story(t, func(w *world) {
		p := w.tty(w.Context(), "alice", "request", "deploy@web01", "-r", "x")
		p.see("Waiting;")
		time.Sleep(20 * time.Second)
		p.types("\x03")
		p.see("Stopped. Request R")
		if s := p.leaves(); s != Failed {
			w.Errorf("status %d", s)
		}
		w.openRequest()
	})
}

func TestExtendMovesTheEnd(t *testing.T) {
	story(t, func(w *world) {
		g := w.grant("deploy@web01")
		var before, after []approval.Grant
		w.json(&before, "alice", "", "grants", g)
		id := strings.TrimSpace(w.ok("alice", "", "extend", g, "--for", "30m", "--reason", "nearly there"))
		var q []requestJSON
		w.json(&q, "bob", "", "requests", id)
		w.ok("bob", w.code("bob")+"\n", "approve", id, "--digest", q[0].Digest)
		w.json(&after, "alice", "", "grants", g)
		if !after[0].End.After(before[0].End) {
			w.Errorf("end %s, before %s", after[0].End, before[0].End)
		}
	})
}

func TestRevoke(t *testing.T) {
	story(t, func(w *world) {
		g := w.grant("deploy@web01")
		w.fails(Failed, "carol", "x\n", []string{"revoke", g, "--reason", "x"})
		w.ok("bob", w.code("bob")+"\n", "revoke", g, "--reason", "incident over")
		if out := w.ok("alice", "", "grants", g); !strings.Contains(out, "incident over") {
			w.Error(out)
		}
		g = w.grant("deploy@web01")
		w.ok("local", "", "revoke", g, "--reason", "laptop stolen")
	})
}

func TestToken(t *testing.T) {
	story(t, func(w *world) {
		// No grant, nobody at stdin: the next step, nothing on stdout.
		r := w.fails(Failed, "alice", "", []string{"token", "orders_ro@orders"}, "No answer came. Nothing was asked for. With a terminal: ssh -t jit-gateway request orders --login orders_ro")
		if r.out != "" {
			w.Errorf("stdout %q", r.out)
		}
		w.grant("orders_ro@orders")
		tok := strings.TrimSuffix(w.ok("alice", "", "token", "orders"), "\n")
		if !strings.HasPrefix(tok, "jit_pg_") || strings.ContainsAny(tok, " \n") {
			w.Errorf("token %q", tok)
		}
		for form, want := range map[string]string{
			"--pgpass":  "gw.example:6432:orders:alice:jit_pg_",
			"--service": "[orders]\nhost=gw.example\nport=6432\ndbname=orders\nuser=alice\npassword=jit_pg_",
			"--url":     "postgresql://alice:jit_pg_",
		} {
			if out := w.ok("alice", "", "token", "orders", form); !strings.HasPrefix(out, want) {
				w.Errorf("%s: %q", form, out)
			}
		}
		w.fails(Usage, "alice", "", []string{"token", "orders", "--url", "--pgpass"})
		w.fails(Failed, "alice", "", []string{"token", "web01"}, "not a database")
		var j tokenJSON
		w.json(&j, "alice", "", "token", "orders")
		if j.Role != "orders_ro" || j.Host != "gw.example" || !strings.HasPrefix(j.Token, "jit_pg_") {
			w.Errorf("%+v", j)
		}
		// G8: the log has the minting, never the token.
		if out := w.ok("carol", "", "audit", "tail", "-n", "1000", "--json"); strings.Contains(out, tok) || !strings.Contains(out, "token.minted") {
			w.Error("the token is in the audit log, or its minting is not")
		}
	})
}

// Without a pty questions go to stderr, answers come from stdin, and stdout
// is the token alone.
func TestTokenAsksOnStderr(t *testing.T) {
	story(t, func(w *world) {
		go func() {
			var id string
			for id == "" {
				time.Sleep(time.Second)
				if list, _ := w.svc.Requests(w.Context(), w.as("alice").Caller, approval.RequestFilter{State: approval.Pending}); len(list) == 1 {
					id = list[0].ID
				}
			}
			var q []requestJSON
			w.json(&q, "bob", "", "requests", id)
			w.ok("bob", w.code("bob")+"\n", "approve", id, "--digest", q[0].Digest)
		}()
		inv := w.as("alice", "token", "orders_ro@orders")
		var out screenBuf
		errs := &screenBuf{}
		inv.Out, inv.Err = &out, errs
		inv.In = &answers{w: w, errs: errs}
		if s := w.r.Run(w.Context(), inv); s != OK {
			w.Fatalf("status %d: %s", s, errs)
		}
		if s := out.String(); !strings.HasPrefix(s, "jit_pg_") || strings.Count(s, "\n") != 1 {
			w.Errorf("stdout %q", s)
		}
		for _, q := range []string{"Reason: ", "For how long [30m, at most 1h]: ", "Approved by bob", "Code: "} {
			if !strings.Contains(errs.String(), q) {
				w.Errorf("no %q on stderr:\n%s", q, errs)
			}
		}
	})
}

// answers is a stdin that answers the question on stderr.
type answers struct {
	w    *world
	errs *screenBuf
	buf  []byte
}

func (a *answers) Read(p []byte) (int, error) {
	if len(a.buf) == 0 {
		switch s := a.errs.String(); {
		case strings.HasSuffix(s, "Reason: "):
			a.buf = []byte("nightly report\n")
		case strings.HasSuffix(s, "Code: "):
			a.buf = []byte(a.w.code("alice") + "\n")
		default:
			a.buf = []byte("\n")
		}
	}
	n := copy(p, a.buf)
	a.buf = a.buf[n:]
	return n, nil
}

func TestPromptStaysUntilExit(t *testing.T) {
	story(t, func(w *world) {
		var attached, detached atomic.Int32
		w.attach = func(dialogue.Terminal) func() { attached.Add(1); return func() { detached.Add(1) } }
		p := w.tty(w.Context(), "alice")
		p.see("hello, alice")
		p.see("jit-gateway> ")
		p.types("whoami\r")
		p.see("sre")
		p.see("jit-gateway> ")
		p.types("nonsense\r")
		p.see("`help` lists the commands")
		p.see("jit-gateway> ")
		p.types("request deploy@web01 -r 'two words'\r")
		p.see("Waiting;")
		p.types("\x03")
		p.see("Stopped. Request R")
		p.see("jit-gateway> ")
		p.types("exit\r")
		if s := p.leaves(); s != OK {
			w.Errorf("status %d", s)
		}
		if attached.Load() != 1 || detached.Load() != 1 {
			w.Errorf("attached %d times, detached %d", attached.Load(), detached.Load())
		}
	})
}

func TestDisabledUserCanDoNothing(t *testing.T) {
	story(t, func(w *world) {
		p := w.tty(w.Context(), "alice")
		p.see("jit-gateway> ")
		w.ok("local", "", "user", "disable", "alice", "--reason", "left")
		p.types("targets\r")
		p.see("Your user is disabled")
		if s := p.leaves(); s != Failed {
			w.Errorf("status %d", s)
		}
		w.fails(Failed, "alice", "", []string{"targets"}, "disabled")
		w.ok("local", "", "user", "enable", "alice")
		w.must(w.db.RemoveKey(w.Context(), "Ualice", w.as("alice").Caller.KeyFingerprint, ev()))
		w.fails(Failed, "alice", "", []string{"targets"}, "not registered any more")
	})
}

func TestConnectionEndsWhileWaiting(t *testing.T) {
	story(t, func(w *world) {
		ctx, cancel := context.WithCancel(w.Context())
		p := w.tty(ctx, "alice", "request", "deploy@web01", "-r", "x")
		p.see("Waiting;")
		cancel()
		if s := <-p.done; s != Failed {
			w.Errorf("status %d", s)
		}
		p.in.Close()
		w.openRequest()
	})
}
