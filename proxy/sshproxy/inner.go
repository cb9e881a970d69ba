package sshproxy

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
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
	requested string        // the name as the client wrote it: what the host certificate has to say
	stdio     bool          // a `-J` channel: see direct.stdio
	depth     int           // nested hops before this one
}

// maxDepth bounds `-J a,b,c`.
const maxDepth = 8

// Serve implements proxy.Handler for SSH targets that another handler reached.
func (s *Server) Serve(ctx context.Context, id proxy.Identity, t inventory.Target, _ string, conn net.Conn) error {
	s.inner(ctx, &peer{id: id, requested: t.Name}, t, conn)
	return nil
}

// inner is one connection to a target, from its handshake to its end. It
// closes conn.
func (s *Server) inner(ctx context.Context, p *peer, t inventory.Target, conn net.Conn) {
	defer conn.Close()
	ctx, gone := context.WithCancelCause(ctx)
	defer gone(nil)
	stop := context.AfterFunc(ctx, func() { conn.Close() }) // the outer connection ends, or the gateway does
	defer stop()

	sc, chans, reqs, adm, err := s.innerHandshake(ctx, gone, p, t, conn)
	if err != nil {
		s.o.Metrics.innerResult("refused")
		s.o.Log.Debug("inner handshake", "user", p.id.User.Name, "target", t.Name, "error", display.Line(err.Error(), 300))
		return
	}
	defer sc.Close()

	// Step 6: Begin.
	sess, err := s.o.Sessions.Begin(ctx, adm, session.Meta{Protocol: "ssh", Source: p.id.Caller.Source, Client: display.Line(string(sc.ClientVersion()), 100)})
	if err != nil {
		s.o.Metrics.innerResult("not_begun")
		s.turnAway(ctx, sc, chans, reqs, err.Error())
		return
	}
	outcome := session.Outcome{Cause: "logout"}
	defer func() {
		if err := sess.Finish(context.WithoutCancel(ctx), outcome); err != nil {
			s.o.Log.Error("finish session", "session", sess.ID(), "error", err)
		}
	}()
	defer sess.AttachClient(conn)()

	// Steps 7 and 8: Dial, verify, mint.
	began := time.Now()
	up, err := s.dial(sess.Context(), sess, adm)
	s.o.Metrics.upstream(time.Since(began).Seconds())
	if err != nil {
		s.o.Metrics.innerResult("upstream_failed")
		text := fmt.Sprintf("%s: %s", display.Line(t.Name, 64), display.Line(err.Error(), 0))
		outcome = session.Outcome{Cause: "upstream_failed", Reason: text}
		if cause := context.Cause(sess.Context()); cause != nil {
			text = cause.Error()
		}
		s.turnAway(ctx, sc, chans, reqs, text)
		return
	}
	defer up.Close()
	defer sess.Attach(up.raw)()

	// Steps 9 to 11: Relay, until either side leaves or the session ends.
	s.o.Metrics.innerResult("relayed")
	l := newLink(s, p, sess, adm, sc, up)
	outcome = l.run(chans, reqs)
}

// innerHandshake ends in the gateway: steps 4 and 5 happen inside it.
func (s *Server) innerHandshake(ctx context.Context, gone context.CancelCauseFunc, p *peer, t inventory.Target, conn net.Conn) (*ssh.ServerConn, <-chan ssh.NewChannel, <-chan *ssh.Request, approval.Admission, error) {
	var none approval.Admission
	limit := time.AfterFunc(s.o.LoginTime, func() { conn.Close() })
	defer limit.Stop()
	signers, err := s.o.Authority.HostSigners(t, p.requested)
	if err != nil {
		return nil, nil, nil, none, fmt.Errorf("host keys for %q: %w", p.requested, err)
	}
	buffered := proxy.Buffered(conn)
	h, init, err := hello(&watchedConn{Conn: buffered, gone: gone})
	if err != nil {
		return nil, nil, nil, none, err
	}
	auth := &innerAuth{s: s, ctx: ctx, p: p, target: t,
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
		return nil, nil, nil, none, err
	}
	promptly(buffered, sc.Conn)
	adm, ok := sc.Permissions.ExtraData[admitted{}].(approval.Admission)
	if !ok {
		sc.Close()
		return nil, nil, nil, none, errors.New("authenticated without an admission")
	}
	return sc, chans, reqs, adm, nil
}

// turnAwayTime is how long a client that cannot be served may take to ask
// for something and be told.
const turnAwayTime = 10 * time.Second

// turnAway tells a client that was admitted why it gets nothing: text on
// stderr, exit status, close, as at every other end.
func (s *Server) turnAway(ctx context.Context, sc *ssh.ServerConn, chans <-chan ssh.NewChannel, reqs <-chan *ssh.Request, text string) {
	limit := time.AfterFunc(turnAwayTime, func() { sc.Close() })
	defer limit.Stop()
	stop := context.AfterFunc(ctx, func() { sc.Close() })
	defer stop()
	done := make(chan struct{})
	go func() { ssh.DiscardRequests(reqs); close(done) }()
	defer func() { <-done }()
	for nc := range chans {
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
