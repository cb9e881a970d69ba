package sshproxy

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
)

// started is a session that runs a command for as long as it is let, and its
// channel.
func started(t *testing.T, g *gateway) (errs *syncBuffer, status func() int, c *sessionChannel) {
	t.Helper()
	cmd := g.cmd("ssh", "web01", "exec sleep 60")
	errs = &syncBuffer{}
	cmd.Stderr = errs
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(20 * time.Second); c == nil; time.Sleep(10 * time.Millisecond) {
		g.server.mu.Lock()
		for _, l := range g.server.links {
			l.mu.Lock()
			for open := range l.live {
				if open.isStarted() {
					c = open
				}
			}
			l.mu.Unlock()
		}
		g.server.mu.Unlock()
		if time.Now().After(deadline) {
			t.Fatalf("the session did not start: %s", errs.String())
		}
	}
	return errs, func() int { return wait(t, cmd, 20*time.Second) }, c
}

// G10: what parses a stream may fail on it as badly as can be: its session
// ends, and the gateway goes on.
func TestAPanicInAStreamEndsItsSessionAlone(t *testing.T) {
	t.Parallel()
	g := newGateway(t, gatewayOptions{})
	g.grant("alice", "web01", "deploy", time.Hour)
	errs, status, c := started(t, g)
	bad := c.outward(taps{out: func([]byte) error { panic("a parser's mistake") }})
	bad.src = strings.NewReader("something")
	c.l.guardIn(&c.wg, "ssh output", bad.run)
	if st := status(); st != endStatus || !strings.Contains(errs.String(), "An internal error ended the session.") {
		t.Errorf("status %d, told %q", st, errs.String())
	}
	if row := g.closed(1)[0]; row.Cause != "internal_error" {
		t.Errorf("ended as %q", row.Cause)
	}
	if out, _, st := g.run("", "ssh", "web01", "echo again"); st != 0 || !bytes.Contains([]byte(out), []byte("again")) {
		t.Errorf("the next session: status %d, %q", st, out)
	}
}

// G3: an answer that is not finished, for whatever reason, holds up the next
// one of that side, and neither the other side nor the end.
func TestAnAnswerThatHangsHoldsUpNoEnd(t *testing.T) {
	t.Parallel()
	g := newGateway(t, gatewayOptions{})
	grant := g.grant("alice", "web01", "deploy", time.Hour)
	errs, status, c := started(t, g)
	release := make(chan struct{})
	asked := make(chan *ssh.Request, 1)
	asked <- &ssh.Request{Type: "hang"}
	// The link's own loop took its channels when it began: one of the same kind
	// stands beside it.
	l := &link{s: c.l.s, p: c.l.p, sess: c.l.sess, ctx: c.l.ctx, answered: make(chan *side, 2)}
	client := &side{reqs: asked, pace: newPace(), answer: func(*ssh.Request) { <-release }}
	target := &side{reqs: make(chan *ssh.Request), pace: newPace(), answer: refuseGlobal}
	ended := make(chan struct{})
	go func() { l.wait(client, target); close(ended) }()
	for deadline := time.Now().Add(10 * time.Second); len(asked) > 0 && time.Now().Before(deadline); time.Sleep(time.Millisecond) {
	}
	asked <- &ssh.Request{Type: "next"} // waits for its turn
	if _, err := g.svc.Release(t.Context(), g.caller("alice"), grant.ID); err != nil {
		t.Fatal(err)
	}
	select {
	case <-ended:
	case <-time.After(10 * time.Second):
		t.Error("the end waits for an answer")
	}
	if len(asked) != 1 {
		t.Error("the next was answered before its turn")
	}
	close(release)
	l.wg.Wait()
	if st := status(); st != endStatus {
		t.Errorf("status %d, told %q", st, errs.String())
	}
}
