package sshproxy

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"slices"
	"time"

	"golang.org/x/crypto/ssh"

	"jit-gateway/approval"
	"jit-gateway/internal/audit"
	"jit-gateway/internal/display"
	"jit-gateway/internal/inventory"
	"jit-gateway/proxy"
	"jit-gateway/session"
)

// A peer is who opens an inner connection, and how it came.
type peer struct {
	outer     *outer // nil where another handler calls
	id        proxy.Identity
	key       ssh.PublicKey // of the outer connection
	target    inventory.Target
	requested string // the name as the client wrote it: what the host certificate has to say
	stdio     bool   // a `-J` channel: see direct.stdio
	depth     int    // nested hops before this one
}

// socket is what the user's bytes come and go by; nil: another handler has it.
func (p *peer) socket() corker {
	if p.outer == nil {
		return nil
	}
	return p.outer.raw
}

// maxDepth bounds `-J a,b,c`.
const maxDepth = 8

// Serve implements proxy.Handler for SSH targets that another handler reached.
func (s *Server) Serve(ctx context.Context, id proxy.Identity, t inventory.Target, _ string, conn net.Conn) error {
	s.inner(ctx, &peer{id: id, target: t, requested: t.Name}, conn)
	return nil
}

// inner is one connection to a target, from its handshake to its end. It
// closes conn.
func (s *Server) inner(ctx context.Context, p *peer, conn net.Conn) {
	defer conn.Close()
	ctx, gone := context.WithCancelCause(ctx)
	defer gone(nil)
	stop := context.AfterFunc(ctx, func() { conn.Close() }) // the outer connection ends, or the gateway does
	defer stop()
	l := &link{s: s, p: p, answered: make(chan *side, 2), live: map[*sessionChannel]struct{}{}, remote: map[string]struct{}{}}
	defer l.finish(ctx)
	if s.aside("ssh connection", func() error { return l.establish(ctx, gone, conn) }) == nil {
		l.run()
	}
}

// aside runs fn in a goroutine of its own and waits for it: what key exchanges
// and logins take of stack is not kept for as long as a session lasts.
func (s *Server) aside(name string, fn func() error) error {
	done := make(chan error, 1)
	go func() { done <- proxy.Contain(s.o.Log, nil, name, fn) }()
	return <-done
}

// establish is everything before the relay. Its error has been told; what it
// has begun is finish's to end.
func (l *link) establish(ctx context.Context, gone context.CancelCauseFunc, conn net.Conn) error {
	s, p := l.s, l.p
	adm, err := l.handshake(ctx, gone, conn)
	if err != nil {
		s.o.Metrics.innerResult("refused")
		s.o.Log.Debug("inner handshake", "user", p.id.User.Name, "target", p.target.Name, "error", display.Line(err.Error(), 300))
		return err
	}

	// Step 6: Begin.
	sess, err := s.o.Sessions.Begin(ctx, adm, session.Meta{Protocol: "ssh", Source: p.id.Caller.Source, Client: display.Line(string(l.down.ClientVersion()), 100)})
	if err != nil {
		s.o.Metrics.innerResult("not_begun")
		l.turnAway(ctx, err.Error())
		return err
	}
	l.sess, l.rec, l.ctx, l.outcome = sess, sess.Recorder(), sess.Context(), session.Outcome{Cause: "logout"}
	l.detach = append(l.detach, sess.AttachClient(conn))

	// Steps 7 and 8: Dial, verify, mint.
	began := time.Now()
	up, err := s.dial(sess.Context(), sess, adm)
	s.o.Metrics.upstream(time.Since(began).Seconds())
	if err != nil {
		s.o.Metrics.innerResult("upstream_failed")
		text := fmt.Sprintf("%s: %s", display.Line(p.target.Name, 64), display.Line(err.Error(), 0))
		l.outcome = session.Outcome{Cause: "upstream_failed", Reason: text}
		if cause := context.Cause(sess.Context()); cause != nil {
			text = cause.Error()
		}
		l.turnAway(ctx, text)
		return err
	}
	l.up = up
	l.detach = append(l.detach, sess.Attach(up.raw))

	// Steps 9 to 11: Relay, until either side leaves or the session ends.
	s.o.Metrics.innerResult("relayed")
	l.adm, l.may = adm, adm.Rule().SSH()
	l.client.serve, l.client.answer, l.client.pace = l.fromClient, l.clientGlobal, newPace()
	l.target.chans, l.target.reqs = up.chans, up.reqs
	l.target.serve, l.target.answer, l.target.pace = l.fromTarget, refuseGlobal, newPace()
	return nil
}

// finish ends what establish has begun, and is step 12.
func (l *link) finish(ctx context.Context) {
	for _, back := range slices.Backward(l.detach) {
		back()
	}
	if l.up != nil {
		l.up.Close()
	}
	if l.sess != nil {
		if err := l.sess.Finish(context.WithoutCancel(ctx), l.outcome); err != nil {
			l.s.o.Log.Error("finish session", "session", l.sess.ID(), "error", err)
		}
	}
	if l.down != nil {
		l.down.Close()
	}
}

// handshake ends in the gateway: steps 4 and 5 happen inside it.
func (l *link) handshake(ctx context.Context, gone context.CancelCauseFunc, conn net.Conn) (approval.Admission, error) {
	var none approval.Admission
	s, p := l.s, l.p
	limit := time.AfterFunc(s.o.LoginTime, func() { conn.Close() })
	defer limit.Stop()
	signers, err := s.o.Authority.HostSigners(p.target, p.requested)
	if err != nil {
		return none, fmt.Errorf("host keys for %q: %w", p.requested, err)
	}
	buffered := proxy.Buffered(conn)
	h, init, err := hello(&watchedConn{Conn: buffered, gone: gone})
	if err != nil {
		return none, err
	}
	auth := &innerAuth{s: s, ctx: ctx, p: p, target: p.target,
		pause:  func() { limit.Stop() },
		resume: func() { limit.Reset(s.o.LoginTime) },
	}
	config := newConfig(init)
	auth.configure(config)
	for _, k := range signers {
		config.AddHostKey(k)
	}
	sc, chans, reqs, err := ssh.NewServerConn(h, config)
	if err != nil {
		return none, err
	}
	l.down, l.client.chans, l.client.reqs = sc, chans, reqs
	promptly(buffered, sc.Conn)
	adm, ok := sc.Permissions.ExtraData[admitted{}].(approval.Admission)
	if !ok {
		return none, errors.New("authenticated without an admission")
	}
	return adm, nil
}

// turnAwayTime is how long a client that cannot be served may take to ask
// for something and be told.
const turnAwayTime = 10 * time.Second

// turnAway tells a client that was admitted why it gets nothing: text on
// stderr, exit status, close, as at every other end.
func (l *link) turnAway(ctx context.Context, text string) {
	s, sc := l.s, l.down
	limit := time.AfterFunc(turnAwayTime, func() { sc.Close() })
	defer limit.Stop()
	stop := context.AfterFunc(ctx, func() { sc.Close() })
	defer stop()
	done := make(chan struct{})
	go func() { ssh.DiscardRequests(l.client.reqs); close(done) }()
	defer func() { <-done }()
	for nc := range l.client.chans {
		if nc.ChannelType() != "session" {
			nc.Reject(ssh.ConnectionFailed, text)
			continue
		}
		ch, creqs, err := nc.Accept()
		if err != nil {
			continue
		}
		for r := range creqs {
			start := r.Type == "shell" || r.Type == "exec" || r.Type == "subsystem"
			r.Reply(start || r.Type == "pty-req", nil)
			if start {
				fmt.Fprintf(ch.Stderr(), "%s: %s\r\n", s.o.Name, text)
				exitStatus(ch, endStatus)
				ch.Close()
			}
		}
	}
}

// chanEvent is an audit event of one channel or request inside a session.
func chanEvent(outcome audit.Outcome, what, why string) audit.Event {
	return audit.Event{Type: audit.SessionChannel, Outcome: outcome, Reason: why, Detail: map[string]string{"channel": display.Line(what, 200)}}
}

func hexID(id []byte) string { return hex.EncodeToString(id[:min(len(id), 8)]) }
