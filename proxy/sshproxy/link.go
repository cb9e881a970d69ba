package sshproxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/crypto/ssh"

	"jit-gateway/approval"
	"jit-gateway/approval/policy"
	"jit-gateway/internal/audit"
	"jit-gateway/internal/display"
	"jit-gateway/proxy"
	"jit-gateway/recording"
	"jit-gateway/session"
)

// Limits of one inner connection.
const (
	maxSessions = 64  // session channels; sshd allows 10
	maxForwards = 512 // forwarded connections at once
)

// endStatus is the exit status of what the gateway ends: ssh's own for a
// connection that failed, which automation knows how to read.
const endStatus = 255

// A link is an inner connection: established in steps 3 to 8, and relayed in
// steps 9 to 11. What is not there yet is nil.
type link struct {
	s    *Server
	p    *peer
	sess *session.Session
	rec  *recording.Writer
	may  policy.Channels
	down *ssh.ServerConn
	up   *upstream

	client, target side
	answered       chan *side
	detach         []func()        // take back what the manager closes, the last first
	outcome        session.Outcome // how the session ended, by our account

	ctx      context.Context // the session's
	next     atomic.Uint32   // channel numbers of the recording
	sessions atomic.Int32
	forwards atomic.Int32
	noMore   atomic.Bool // the client asked for no more sessions
	ending   atomic.Bool // the gateway ends the session: channels leave the last words to it
	wg       sync.WaitGroup
	input    latch // of all channels together

	mu     sync.Mutex
	adm    approval.Admission
	live   map[*sessionChannel]struct{}
	remote map[string]struct{} // listeners asked for with -R
}

// run relays until the user leaves, the target does, or the session ends.
func (l *link) run() {
	l.s.mu.Lock()
	l.s.links[l.sess.ID()] = l
	l.s.mu.Unlock()
	letDown, letUp := l.keepAlive(l.down), l.keepAlive(l.up)
	l.wait(&l.client, &l.target)
	l.outcome = l.part(&l.client, &l.target)
	letDown()
	letUp()
	l.s.mu.Lock()
	delete(l.s.links, l.sess.ID()) // before the wait: nobody adds to it any more
	l.s.mu.Unlock()
	l.up.Close()
	l.down.Close()
	l.wg.Wait()
}

// part says farewell, and to whose account the end goes.
func (l *link) part(client, target *side) session.Outcome {
	outcome := session.Outcome{Cause: "logout"}
	left, _ := l.refuseRest(client), l.refuseRest(target)
	switch {
	case l.ctx.Err() != nil: // cut, not left
		l.end(context.Cause(l.ctx), left)
	case client.gone():
		l.passInput(&l.input, leaveWait)
	default:
		select {
		case <-left: // both went at once: the user left
			return outcome
		case <-l.ctx.Done():
			l.end(context.Cause(l.ctx), left)
		case <-time.After(20 * time.Millisecond):
			l.end(fmt.Errorf("the connection to %s was lost", display.Line(l.adm.Target().Name, 64)), left)
		}
		outcome = session.Outcome{Cause: "upstream_failed", Reason: "the connection to the target was lost"}
	}
	return outcome
}

// guard runs fn in a goroutine that run waits for; its panic ends this
// session and nothing else.
func (l *link) guard(name string, fn func()) { l.guardIn(&l.wg, name, fn) }

// guardIn does so for who waits by a group of their own.
func (l *link) guardIn(wg *sync.WaitGroup, name string, fn func()) {
	wg.Go(func() {
		if proxy.Contain(l.s.o.Log, nil, name, func() error { fn(); return nil }) != nil {
			l.panicked()
		}
	})
}

func (l *link) panicked() {
	l.sess.Terminate(session.Termination{Cause: "internal_error", Reason: "An internal error ended the session.", At: l.s.o.Now()})
}

// fromClient is a channel that the user opens.
func (l *link) fromClient(nc ssh.NewChannel) {
	typ := nc.ChannelType()
	if err := l.recheck(); err != nil {
		l.reject(nc, typ, err.Error())
		return
	}
	switch typ {
	case "session":
		l.session(nc)
	case "direct-tcpip":
		l.localForward(nc)
	case "direct-streamlocal@openssh.com":
		l.localSocket(nc)
	default:
		l.reject(nc, typ, "that kind of channel is not known here")
	}
}

// fromTarget is a channel that the target opens: what the user asked for
// with -R or -A, and nothing else.
func (l *link) fromTarget(nc ssh.NewChannel) {
	typ := nc.ChannelType()
	switch typ {
	case "forwarded-tcpip":
		l.remoteForward(nc)
	case "forwarded-streamlocal@openssh.com":
		l.remoteSocket(nc)
	case "auth-agent@openssh.com":
		l.agent(nc)
	default:
		l.reject(nc, typ, "the target asked for something that was not allowed")
	}
}

// recheck reads user, key, groups, rule and grant again.
func (l *link) recheck() error {
	l.mu.Lock()
	adm := l.adm
	l.mu.Unlock()
	fresh, err := l.s.o.Approvals.Recheck(l.ctx, adm)
	if err != nil {
		return errors.New(display.Line(err.Error(), 0))
	}
	l.mu.Lock()
	l.adm, l.may = fresh, fresh.Rule().SSH()
	l.mu.Unlock()
	return nil
}

// recording is how the rule wants it recorded.
func (l *link) recording() policy.Recording {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.adm.Rule().Recording
}

func (l *link) watchersTold() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.adm.Rule().Session.TellWatched
}

// allowed is what the rule allows now.
func (l *link) allowed() policy.Channels {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.may
}

// reject refuses a channel with a sentence, and says so in the audit log.
func (l *link) reject(nc ssh.NewChannel, what, why string) {
	l.denied(what, why)
	nc.Reject(ssh.Prohibited, why)
}

// denied audits a refusal.
func (l *link) denied(what, why string) {
	l.s.o.Metrics.channel(what, "denied")
	if err := l.sess.Audit(context.WithoutCancel(l.ctx), chanEvent(audit.Denied, what, why)); err != nil {
		l.s.o.Log.Error("audit a refusal", "session", l.sess.ID(), "error", err)
	}
}

// passed audits what was allowed. Its error refuses: no log, no channel (G5).
func (l *link) passed(what string) error {
	l.s.o.Metrics.channel(what, "allowed")
	return l.sess.Audit(l.ctx, chanEvent(audit.Success, what, ""))
}

// toTarget and toClient write data to a channel of that side.
func (l *link) toTarget(ch io.Writer) io.Writer { return together{l.up.raw, ch} }
func (l *link) toClient(ch io.Writer) io.Writer { return together{l.p.socket(), wholePackets{ch}} }

// tell shows a line of the gateway's own to whoever looks at a terminal.
func (l *link) tell(text string) {
	l.mu.Lock()
	var ttys []*sessionChannel
	for c := range l.live {
		if c.interactive() {
			ttys = append(ttys, c)
		}
	}
	l.mu.Unlock()
	for _, c := range ttys {
		if l.rec.Event(recording.Event{Channel: c.id, Payload: recording.Notice{Text: text}}) == nil {
			c.say(text, sayTime)
		}
	}
}

// warned puts a warning into the log. A log that does not answer ends the
// session by other means; the warning was given.
func (l *link) warned(w session.Warning) {
	ev := audit.Event{Type: audit.SessionWarned, Outcome: audit.Success, Actor: audit.Gateway, Detail: map[string]string{"left": w.Left.String()}}
	if err := l.sess.Audit(l.ctx, ev); err != nil {
		l.s.o.Log.Warn("a warning was not logged", "session", l.sess.ID(), "error", err)
	}
}

// keepAlive asks one side whether it lives, again and again until stop.
// Nothing waits in between: idle sessions are many, and goroutines have stacks.
func (l *link) keepAlive(conn ssh.Conn) (stop func()) {
	every := l.s.o.Keepalive
	var mu sync.Mutex // held while asking begins: no goroutine begins after stop
	var next *time.Timer
	stopped := false
	ask := func() {
		dead := time.AfterFunc(3*every, func() { conn.Close() })
		defer dead.Stop()
		if _, _, err := conn.SendRequest("keepalive@openssh.com", true, nil); err == nil {
			next.Reset(every)
		}
	}
	mu.Lock()
	defer mu.Unlock()
	next = time.AfterFunc(every, func() {
		mu.Lock()
		defer mu.Unlock()
		if !stopped {
			l.guard("ssh keepalive", ask)
		}
	})
	return func() {
		mu.Lock()
		defer mu.Unlock()
		stopped = true
		next.Stop()
	}
}

// clientGlobal answers a request that belongs to no channel.
func (l *link) clientGlobal(r *ssh.Request) {
	switch r.Type {
	case "tcpip-forward", "cancel-tcpip-forward":
		l.remoteListen(r)
	case "streamlocal-forward@openssh.com", "cancel-streamlocal-forward@openssh.com":
		l.remoteListenSocket(r)
	case "no-more-sessions@openssh.com":
		l.noMore.Store(true)
		r.Reply(true, nil)
	default: // a keepalive is content with any answer
		r.Reply(false, nil)
	}
}
