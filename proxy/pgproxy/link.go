package pgproxy

import (
	"cmp"
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"jit-gateway/internal/inventory"
	"jit-gateway/recording"
	"jit-gateway/session"
)

// A link is one session's relay: the client on one side, a backend on the
// other.
type link struct {
	s      *Server
	sess   *session.Session
	target inventory.Target
	role   string // the session role, of dynamic_role
	at     endpoint
	up     *upstream
	client net.Conn

	tr       *tracker
	c2s, s2c pump
	fromC    fromClient
	fromS    fromServer
	sweeping sync.Mutex
	counted  [2]int64 // what session.Count knows; under sweeping
	talks    bool     // a person reads notices
	limit    time.Duration
	canceled atomic.Bool // a cancel for the present trouble is on its way
	ending   atomic.Bool
	upGone   atomic.Bool   // the backend has closed its connection
	leftUs   bool          // the client's stream ended first, before any last word of the database
	ended    chan struct{} // the relay is over
}

// How long what may hang is waited for.
const (
	injectTime = 40 * time.Millisecond // for the client to take our last words
	tellFirst  = 5 * time.Millisecond  // of that, before the backend is ended
	leaveTime  = 2 * time.Second       // for the backend to go after the client's Terminate
)

// prepare makes the two directions. It comes before anybody else can find the
// link.
func (l *link) prepare() {
	l.c2s = pump{src: l.client, dst: l.up.conn, look: l.lookClient}
	l.s2c = pump{src: l.up.conn, dst: l.client, look: l.lookServer}
	l.fromC = fromClient{tracker: l.tr}
	l.fromS = fromServer{tracker: l.tr}
}

// start welcomes the client.
func (l *link) start(hello []byte) error {
	l.s2c.wmu.Lock() // a warning must not come before the welcome
	defer l.s2c.wmu.Unlock()
	if len(l.up.early) > 0 {
		carry, err := l.lookServer(&l.s2c, l.up.early)
		if err != nil {
			return err
		}
		if carry > 0 || !l.s2c.scan.whole() {
			return errors.New("the database's first words end in the middle of a message")
		}
		hello = append(hello, l.up.early...)
		l.up.early = nil
	}
	_, err := l.client.Write(hello)
	return err
}

// lookClient scans a chunk from the client; what it says is on record when it
// returns.
func (l *link) lookClient(p *pump, b []byte) (int, error) {
	t := l.tr
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.ops.len() >= maxOps {
		l.await()
	}
	carry, err := p.scan.scan(b, &l.fromC)
	if err == nil {
		err = t.flush()
	}
	return carry, err
}

// await lets the server catch up with a client that has sent a pipeline of
// tens of thousands of messages: until then nothing more is read from it. The
// server always can: it holds back no more answers than a few kilobytes.
func (l *link) await() {
	t := l.tr
	for over := false; !over && t.ops.len() >= maxOps; {
		t.mu.Unlock()
		select {
		case <-l.ended:
			over = true
		case <-time.After(time.Millisecond):
		}
		t.mu.Lock()
	}
}

func (l *link) lookServer(p *pump, b []byte) (int, error) {
	t := l.tr
	t.mu.Lock()
	defer t.mu.Unlock()
	carry, err := p.scan.scan(b, &l.fromS)
	if err == nil {
		err = t.settle(0)
	}
	return carry, err
}

// relay is step 9: it returns when both directions have ended, with the error
// that ended the session; nil where the client said goodbye.
func (l *link) relay() error {
	up := make(chan error, 1)
	go func() {
		err := l.s.contain(l.c2s.run)
		l.clientDone(err)
		up <- err
	}()
	down := l.s.contain(l.s2c.run)
	if down == nil || l.fromS.fatal != nil {
		l.upGone.Store(true)
	}
	close(l.ended)
	if l.client.SetReadDeadline(time.Unix(1, 0)) != nil { // nothing more to ask
		l.client.Close()
	}
	client := <-up
	l.stop()

	switch {
	case l.fromC.left:
		return nil
	case protocolError(client) != nil:
		return protocolError(client)
	case errors.Is(client, errRecording):
		return client
	case errors.Is(down, errRecording), l.s2cBroke(down):
		return down
	case l.leftUs: // a last word of the database is the answer to our ending it
		return errGone
	case l.fromS.fatal != nil:
		return &upstreamError{l.fromS.fatal}
	case client == nil:
		return errGone
	case down == nil:
		return &upstreamError{errors.New("it closed the connection")}
	}
	return cmp.Or(client, down)
}

var errGone = errors.New("the client has gone without a word")

// upstreamError is the database's doing.
type upstreamError struct{ err error }

func (e *upstreamError) Error() string { return "the database ended the session: " + e.err.Error() }
func (e *upstreamError) Unwrap() error { return e.err }

// s2cBroke reports whether the server's direction ended for a reason of its
// own, not because we or the client closed something.
func (l *link) s2cBroke(err error) bool {
	if err == nil || errors.Is(err, errClosed) || l.ending.Load() {
		return false
	}
	_, isNet := errors.AsType[net.Error](err)
	_, isOp := errors.AsType[*net.OpError](err)
	return !isNet && !isOp && !errors.Is(err, io.EOF)
}

func protocolError(err error) *pgError {
	e, _ := errors.AsType[*pgError](err)
	return e
}

// clientDone is called when nothing more comes from the client. After a
// Terminate the backend goes by itself. Without one, or when it does not, a
// statement may be running that nobody waits for any more: it is cancelled,
// and the backend ended.
func (l *link) clientDone(err error) {
	l.tr.mu.Lock()
	l.leftUs = err == nil && !l.fromC.left && l.fromS.fatal == nil && !l.upGone.Load()
	l.tr.mu.Unlock()
	if e := protocolError(err); e != nil {
		l.s2c.inject(e.encode(), true, injectTime)
	}
	if l.fromC.left && err == nil {
		select {
		case <-l.ended:
			return
		case <-time.After(leaveTime):
		}
	}
	l.stop()
}

// stop ends the backend, whatever it is doing, and then both transports. It
// is called once for every end that is not the client's own goodbye.
func (l *link) stop() {
	if l.ending.Swap(true) {
		return
	}
	if !l.upGone.Load() {
		l.kill()
	}
	l.closeBoth()
}

// kill cancels the statement and ends the backend. Both at once: the cancel
// needs no administrator, and a function that traps it does not survive the
// second.
func (l *link) kill() {
	ctx, cancel := context.WithTimeout(context.Background(), adminTime)
	defer cancel()
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		if err := l.at.cancelUpstream(ctx, l.up.pid, l.up.secret); err != nil {
			l.s.o.Logger.Warn("cancel a statement at the session's end", "session", l.sess.ID(), "err", err)
		}
	}()
	if l.role != "" {
		if err := l.s.admins.terminateRole(ctx, l.target, l.role); err != nil {
			l.s.o.Logger.Warn("terminate a session role's backends; the clean-up tries again", "session", l.sess.ID(), "err", err)
		}
	}
	<-sent
}

// terminate is step 11, called when the session's context is done: tell the
// client, end the backend, close both transports.
func (l *link) terminate() {
	if l.ending.Swap(true) {
		return
	}
	t, _ := errors.AsType[*session.Termination](context.Cause(l.sess.Context()))
	if t == nil {
		t = &session.Termination{Reason: "the session has ended"}
	}
	told := make(chan struct{})
	go func() {
		defer close(told)
		l.s2c.inject(fatal(stateAdmin, "%s", t.Reason).encode(), true, injectTime)
	}()
	select { // the backend's last words come at once, and say less
	case <-told:
	case <-time.After(tellFirst):
	}
	l.kill()
	<-told
	l.closeBoth()
}

// closeBoth makes every blocked call return; the relay closes the transports.
// An SSH channel has no deadlines: it is closed.
func (l *link) closeBoth() {
	past := time.Unix(1, 0)
	l.up.conn.SetDeadline(past)
	if l.client.SetDeadline(past) != nil {
		l.client.Close()
	}
}

// Close is for the session manager, which calls it when a termination takes
// too long. Deadlines first: a close waits for calls that are under way on
// its connection, and those may wait for the other one.
func (l *link) Close() error {
	l.closeBoth()
	l.client.Close()
	return l.up.conn.Close()
}

// cancel forwards a cancel request; bursts of them become one at a time.
func (l *link) cancel(by string) {
	if l.canceled.Swap(true) {
		return
	}
	defer l.canceled.Store(false)
	l.tr.mu.Lock()
	ev := recording.SQL{Op: "cancel", Seq: l.tr.current(), Statement: by, Started: l.tr.since()}
	err := l.tr.write(&ev)
	l.tr.mu.Unlock()
	if err != nil {
		return // the session is ending
	}
	ctx, stop := context.WithTimeout(context.Background(), adminTime)
	defer stop()
	if err := l.at.cancelUpstream(ctx, l.up.pid, l.up.secret); err != nil {
		l.s.o.Logger.Warn("forward a cancel request", "session", l.sess.ID(), "err", err)
	}
}

// sweep is called once a second, and at the end.
func (l *link) sweep() {
	l.sweeping.Lock()
	defer l.sweeping.Unlock()
	l.c2s.nudge()
	l.s2c.nudge()
	in, out := l.c2s.n.Load(), l.s2c.n.Load()
	if in != l.counted[0] || out != l.counted[1] {
		l.sess.Count(in-l.counted[0], out-l.counted[1])
		l.counted = [2]int64{in, out}
	}
	if start, ok := l.tr.running(); ok {
		l.sess.Activity() // a running statement is use, however quiet
		if l.limit > 0 && l.tr.since()-start > l.limit+time.Second {
			// The server's own statement_timeout is a default that the user
			// can change; this is the rule's.
			l.s.jobs.Go(func() { l.cancel("the rule's statement_timeout") })
		}
	}
	select {
	case w := <-l.sess.Warnings():
		if l.talks {
			n := pgError{Severity: severityNotice, Code: "01000", Message: w.Text}
			go func() {
				if l.s2c.inject(n.encode(), false, injectTime) {
					l.sess.Recorder().Event(recording.Event{Payload: recording.Notice{Text: w.Text}})
				}
			}()
		}
	default:
	}
}
