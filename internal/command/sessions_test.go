package command

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"jit-gateway/approval"
	"jit-gateway/recording"
	"jit-gateway/session"
)

// begin opens a session of alice's on web01 that shows a screen.
func (w *world) begin() *session.Session {
	w.Helper()
	w.grant("deploy@web01")
	adm, err := w.svc.Admit(w.Context(), approval.AdmitInput{Caller: w.as("alice").Caller, Target: "web01", Login: "deploy"})
	w.must(err)
	s, err := w.sessions.Begin(w.Context(), adm, session.Meta{Protocol: "ssh", Source: home, Client: "OpenSSH_9.2\x1b[2J"})
	w.must(err)
	w.must(s.Recorder().Event(recording.Event{Channel: 1, Payload: recording.Shell{}}))
	w.must(s.Recorder().Resize(1, 80, 24))
	w.must(s.Recorder().Output(1, 1, []byte("deploy@web01:~$ uptime\r\n\x1b]52;c;cm0=\x07\x1b[6n up 3 days\r\n")))
	return s
}

func TestSessionsWatchTerminateReplay(t *testing.T) {
	story(t, func(w *world) {
		s := w.begin()
		for _, who := range []string{"alice", "bob", "carol", "local"} {
			if out := w.ok(who, "", "sessions"); !strings.Contains(out, s.ID()) || !strings.Contains(out, "deploy") {
				w.Errorf("%s: %s", who, out)
			}
		}
		if out := w.ok("bob", "", "sessions", s.ID()); strings.Contains(out, "\x1b") || !strings.Contains(out, "client") {
			w.Errorf("%q", out)
		}
		// The approver watches, from the current screen on.
		p := w.tty(w.Context(), "bob", "watch", s.ID())
		p.see("up 3 days")
		w.must(s.Recorder().Output(1, 1, []byte("$ ls\r\n\x1b[31mfile\x1b[0m\r\n")))
		w.must(s.Recorder().Event(recording.Event{Channel: 1, Payload: recording.Exec{Command: "rm\x1b[2J x"}}))
		p.see("\x1b[31mfile")
		if screen := p.out.String(); strings.Contains(screen, "\x1b]52") || strings.Contains(screen, "\x1b[6n") {
			w.Errorf("it acts on the watcher: %q", screen)
		}
		p.types("q")
		if st := p.leaves(); st != OK {
			w.Errorf("watch: %d\n%s", st, p.out)
		}
		if out := w.ok("carol", "", "audit", "tail", "-n", "100"); !strings.Contains(out, "session.watched") || !strings.Contains(out, "session.left") {
			w.Error(out)
		}
		p = w.tty(w.Context(), "bob", "watch", s.ID())
		p.see("file")
		// Who approved may end it; the user reads who and why.
		w.fails(Usage, "bob", "", []string{"terminate", s.ID()}, "--reason")
		w.ok("bob", "", "terminate", s.ID(), "--reason", "wrong host")
		synctest.Wait()
		<-s.Context().Done()
		var end *session.Termination
		if !errors.As(context.Cause(s.Context()), &end) || end.Reason != "Terminated by bob: wrong host" {
			w.Errorf("%v", context.Cause(s.Context()))
		}
		w.must(s.Finish(w.Context(), session.Outcome{}))
		p.see("Session " + s.ID() + " has ended.")
		if st := p.leaves(); st != OK {
			w.Errorf("watch to the end: %d", st)
		}
		if out := w.ok("alice", "", "sessions", "--all"); !strings.Contains(out, "terminated") {
			w.Error(out)
		}
		w.fails(Failed, "bob", "", []string{"watch", s.ID()}, "recording replay "+s.ID())
		w.fails(Failed, "bob", "", []string{"terminate", s.ID(), "-r", "x"}, "ended already")

		// The auditor replays, exports and verifies; alice's other colleagues see nothing.
		if out := w.ok("carol", "", "recording", "list"); !strings.Contains(out, s.ID()) || !strings.Contains(out, "sealed") {
			w.Error(out)
		}
		if out := w.ok("carol", "", "recording", "replay", s.ID(), "--speed", "100"); !strings.Contains(out, "up 3 days") || strings.Contains(out, "\x1b]52") {
			w.Errorf("%q", out)
		}
		if out := w.ok("carol", "", "recording", "export", s.ID(), "-f", "text"); !strings.Contains(out, "up 3 days") {
			w.Errorf("%q", out)
		}
		if out := w.ok("carol", "", "recording", "export", s.ID()); !strings.HasPrefix(out, "{") || !strings.Contains(out, `"version":2`) {
			w.Errorf("%q", out)
		}
		if out := w.ok("carol", "", "recording", "verify", s.ID()); !strings.Contains(out, "intact") || !strings.Contains(out, "the audit log has the same seal") {
			w.Error(out)
		}
		w.ok("carol", "", "recording", "verify", "--all")
		w.fails(Failed, "carol", "", []string{"recording", "verify", "S000"})
		if out := w.ok("carol", "", "audit", "tail", "-n", "100"); !strings.Contains(out, "recording.viewed") || !strings.Contains(out, "recording.exported") {
			w.Error(out)
		}
		p = w.tty(w.Context(), "carol", "recording", "replay", s.ID())
		p.see("up 3 days")
		p.types("q")
		if st := p.leaves(); st != OK {
			w.Errorf("replay: %d\n%s", st, p.out)
		}
		// A file that is gone is no recording that was never made.
		w.must(w.rec.Remove(s.ID()))
		w.fails(Failed, "carol", "", []string{"recording", "replay", s.ID()}, "The recording of "+s.ID()+" is missing. See: ssh jit-gateway audit verify")

		// A file that somebody made anew is intact in itself, and not what was recorded.
		anew, err := w.rec.Create(recording.Header{Session: s.ID(), User: "alice", Grant: s.Row().GrantID}, recording.Options{})
		w.must(err)
		w.must(anew.Output(1, 1, []byte("nothing happened\r\n")))
		_, err = anew.Seal("logout")
		w.must(err)
		if r := w.run("carol", "", "recording", "verify", s.ID()); r.status != Failed || !strings.Contains(r.out, "NOT the one that was recorded") {
			w.Errorf("a recording made anew: %+v", r)
		}
	})
}

func TestStrangersToASessionSeeNothingOfIt(t *testing.T) {
	story(t, func(w *world) {
		s := w.begin()
		w.user("zoe", "sre")
		time.Sleep(time.Minute)
		if out := w.ok("zoe", "", "sessions", "--all"); strings.Contains(out, s.ID()) {
			w.Error(out)
		}
		for _, args := range [][]string{{"sessions", s.ID()}, {"watch", s.ID()}, {"terminate", s.ID(), "-r", "x"}, {"recording", "replay", s.ID()}, {"recording", "export", s.ID()}} {
			r := w.fails(Failed, "zoe", "", args, "There is no ")
			if strings.Contains(r.out+r.err, "alice") || strings.Contains(r.out+r.err, "web01") {
				w.Errorf("%v tells: %s%s", args, r.out, r.err)
			}
		}
		if out := w.ok("zoe", "", "recording", "list"); strings.Contains(out, s.ID()) {
			w.Error(out)
		}
		// One's own session may be ended, and is seen; its recording is not one's own to replay unless a rule says so.
		w.ok("alice", "", "terminate", s.ID(), "-r", "done")
		<-s.Context().Done()
		w.must(s.Finish(w.Context(), session.Outcome{}))
	})
}
