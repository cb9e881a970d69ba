package sshproxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"

	"golang.org/x/crypto/ssh"

	"jit-gateway/internal/audit"
	"jit-gateway/internal/display"
	"jit-gateway/internal/inventory"
	"jit-gateway/proxy"
	"jit-gateway/recording"
)

// localForward is a connection that the user opens through the target: -L,
// -D, -W, or the next hop of `-J gw,web01,db`. One that would reach another
// target ends here again, with that target's own grant and recording; the
// rest needs a rule.
func (l *link) localForward(nc ssh.NewChannel) {
	d, err := parseDirect(nc.ExtraData())
	if err != nil {
		l.reject(nc, "direct-tcpip", err.Error())
		return
	}
	if t, is := l.s.addrs.dest(l.ctx, l.sess.Admission().Target(), d.Host, d.Port); is {
		l.nested(nc, t, d)
		return
	}
	if !mayForward(l.allowed().Local, d.dest()) {
		l.reject(nc, "forward to "+d.dest(), "the rule allows no forward to "+display.Line(d.dest(), 100))
		return
	}
	l.forward(nc, l.up, recording.Forward{Type: "local", Dest: d.dest(), Origin: net.JoinHostPort(d.OriginHost, fmt.Sprint(d.OriginPort))})
}

// nested terminates a forward to another target again.
func (l *link) nested(nc ssh.NewChannel, t inventory.Target, d direct) {
	o := l.p.outer
	switch {
	case o == nil || l.p.depth >= maxDepth:
		l.reject(nc, "forward to "+t.Name, "too many hops: connect to "+display.Line(t.Name, 64)+" through the gateway directly")
		return
	case !l.countForward(nc):
		return
	}
	defer l.forwards.Add(-1)
	if err := l.passed("hop to " + t.Name); err != nil {
		l.reject(nc, "hop to "+t.Name, "the gateway cannot write its audit log")
		return
	}
	if t.Kind != inventory.SSH {
		o.tunnel(l.ctx, nc, t)
		return
	}
	l.s.accept(l.ctx, o, nc, func(ctx context.Context, conn net.Conn) {
		l.s.inner(ctx, &peer{outer: o, id: o.identity(), key: l.p.key, target: t, requested: d.Host, stdio: d.stdio(), depth: l.p.depth + 1}, conn)
	})
}

func (l *link) localSocket(nc ssh.NewChannel) {
	path, _, ok := takeString(nc.ExtraData())
	if !ok || len(path) == 0 || len(path) > maxHostName {
		l.reject(nc, "direct-streamlocal", "the forward names no usable socket")
		return
	}
	dest := "unix:" + string(path)
	if !mayForward(l.allowed().Local, dest) {
		l.reject(nc, "forward to "+l.told(dest), "the rule allows no forward to "+display.Line(l.told(dest), 100))
		return
	}
	l.forward(nc, l.up, recording.Forward{Type: "stream", Dest: dest})
}

// told is a destination as the log may have it: under a rule with encrypted
// recordings it has no paths.
func (l *link) told(dest string) string {
	if strings.HasPrefix(dest, "unix:") && len(l.recording().Recipients) > 0 {
		return "a socket"
	}
	return dest
}

// countForward refuses one forward too many.
func (l *link) countForward(nc ssh.NewChannel) bool {
	if l.forwards.Add(1) > maxForwards {
		l.forwards.Add(-1)
		nc.Reject(ssh.ResourceShortage, "too many forwards on one connection")
		return false
	}
	return true
}

// forward opens the same channel on the other side and splices the two.
func (l *link) forward(nc ssh.NewChannel, other ssh.Conn, f recording.Forward) {
	if !l.countForward(nc) {
		return
	}
	defer l.forwards.Add(-1)
	id := l.next.Add(1)
	record := func(f recording.Forward) error { return l.rec.Event(recording.Event{Channel: id, Payload: f}) }
	err := l.passed(f.Type + " forward to " + l.told(f.Dest))
	if err == nil {
		err = record(f)
	}
	if err != nil {
		nc.Reject(ssh.Prohibited, "the forward cannot be recorded")
		return
	}
	far, farReqs, err := other.OpenChannel(nc.ChannelType(), nc.ExtraData())
	if err != nil {
		f.Ended, f.Result = true, openError(err)
		record(f)
		nc.Reject(ssh.ConnectionFailed, f.Result)
		return
	}
	near, nearReqs, err := nc.Accept()
	if err != nil {
		far.Close()
		go ssh.DiscardRequests(farReqs)
		return
	}
	s := &splice{l: l, f: f, near: near, far: far}
	s.run(nearReqs, farReqs)
	f.In, f.Out, f.Ended, f.Result = s.in, s.out, true, "ok"
	if s.hidden != "" {
		f.Result, f.Denied = s.hidden, true
		l.denied(f.Type+" forward to "+l.told(f.Dest), s.hidden)
		l.raise("hidden_protocol", s.hidden, map[string]string{"dest": display.Line(l.told(f.Dest), 200)})
	}
	record(f)
}

// A splice joins the two channels of a forward. What opens it (near) sends
// towards far; half-close works both ways.
type splice struct {
	l         *link
	f         recording.Forward
	near, far ssh.Channel
	in, out   int64
	mu        sync.Mutex
	hidden    string
}

func (s *splice) run(nearReqs, farReqs <-chan *ssh.Request) {
	var wg sync.WaitGroup
	copies := func(dst, src ssh.Channel, n *int64, user bool) {
		sniff := &sniffer{}
		from, to := io.Reader(src), s.l.toTarget(dst)
		if !user {
			from, to = wholeReads{src}, s.l.toClient(dst)
		}
		_, err := proxy.Copy(busy{s.l.sess, to}, from, func(p []byte) error {
			*n += int64(len(p))
			if user {
				s.l.sess.Count(int64(len(p)), 0)
			} else {
				s.l.sess.Count(0, int64(len(p)))
			}
			if what := sniff.sees(p); what != "" {
				s.mu.Lock()
				s.hidden = what + " inside a forward is refused: it would pass unrecorded. Connect through the gateway"
				s.mu.Unlock()
				return errors.New(what)
			}
			return nil
		})
		if err == nil {
			dst.CloseWrite()
			return
		}
		s.near.Close()
		s.far.Close()
	}
	fromUser := s.f.Type != "remote"
	toFar, toNear := make(chan struct{}), make(chan struct{})
	defer s.l.input.hold()() // a user who leaves has still sent what they sent
	s.l.guardIn(&wg, "ssh forward", func() { defer close(toFar); copies(s.far, s.near, &s.in, fromUser) })
	s.l.guardIn(&wg, "ssh forward", func() { defer close(toNear); copies(s.near, s.far, &s.out, !fromUser) })
	// A side that closes its channel has said all it had to say: that is
	// passed on before the other one is closed.
	wg.Go(func() { ssh.DiscardRequests(nearReqs); <-toFar; s.far.Close() })
	wg.Go(func() { ssh.DiscardRequests(farReqs); <-toNear; s.near.Close() })
	wg.Wait()
}

// raise tells those who watch findings, and the user at a terminal.
func (l *link) raise(code, text string, detail map[string]string) {
	if detail == nil {
		detail = map[string]string{}
	}
	detail["code"] = code
	if err := l.sess.Audit(context.WithoutCancel(l.ctx), audit.Event{Type: audit.FindingRaised, Outcome: audit.Denied, Reason: text, Detail: detail}); err != nil {
		l.s.o.Log.Error("raise a finding", "session", l.sess.ID(), "error", err)
	}
	l.tell(text)
}
