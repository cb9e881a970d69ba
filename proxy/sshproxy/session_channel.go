package sshproxy

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/time/rate"

	"jit-gateway/internal/display"
	"jit-gateway/recording"
)

// sayTime bounds how long a line of ours waits for a client that reads slowly.
const sayTime = 60 * time.Millisecond

// exitWait is how long an exit status waits for output that is still coming:
// a client that leaves at the status must not lose the end of the output, and
// one whose job keeps the output open must not wait for ever.
const exitWait = 250 * time.Millisecond

// What a client sent before it closed a channel, or left, may take so long to
// reach the target. sshd would have it in its buffers; here it is in ours.
const (
	inputWait = 10 * time.Second
	leaveWait = 2 * time.Second
)

// passInput waits until nothing is on its way to the target any more.
func (l *link) passInput(input *latch, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-input.free():
	case <-l.ctx.Done():
	case <-t.C:
	}
}

// A sessionChannel is one shell, command or subsystem.
type sessionChannel struct {
	l        *link
	id       uint32 // in the recording
	down, up ssh.Channel
	wg       sync.WaitGroup // pumps and the target's requests
	output   latch          // held while output is coming, or a start is under way
	input    latch          // held while what the client sent is on its way
	errMu    sync.Mutex     // stderr towards the client: the target's and ours
	exited   chan struct{}  // closed once the exit status has passed, or none will come

	mu      sync.Mutex
	pty     bool
	started bool
	what    string // shell, exec, sftp
	notes   []string
	env     int
	in, to  int64
	taps    taps
	begun   func() // lets go of output: the start under way is decided
}

// session is a channel on which one thing runs.
func (l *link) session(nc ssh.NewChannel) {
	if l.noMore.Load() {
		l.reject(nc, "session", "the client asked for no more sessions on this connection")
		return
	}
	if l.sessions.Add(1) > maxSessions {
		l.sessions.Add(-1)
		nc.Reject(ssh.ResourceShortage, "too many sessions on one connection")
		return
	}
	defer l.sessions.Add(-1)
	up, upReqs, err := l.up.OpenChannel("session", nil)
	if err != nil {
		nc.Reject(ssh.ConnectionFailed, openError(err))
		return
	}
	down, reqs, err := nc.Accept()
	if err != nil {
		up.Close()
		go ssh.DiscardRequests(upReqs)
		return
	}
	c := &sessionChannel{l: l, id: l.next.Add(1), down: down, up: up, exited: make(chan struct{})}
	l.mu.Lock()
	l.live[c] = struct{}{}
	l.mu.Unlock()
	defer func() {
		l.mu.Lock()
		delete(l.live, c)
		l.mu.Unlock()
	}()
	l.guardIn(&c.wg, "ssh target requests", func() { c.targetRequests(upReqs) })
	c.clientRequests(reqs)
	c.wg.Wait()
	c.finish()
}

// finish closes the books of the channel.
func (c *sessionChannel) finish() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.taps.close(); err != nil {
		c.l.s.o.Log.Warn("end of a channel's record", "session", c.l.sess.ID(), "error", err)
	}
	if c.started {
		c.l.rec.Event(recording.Event{Channel: c.id, Payload: recording.Close{In: c.in, Out: c.to}})
	}
}

// clientRequests relays what the client asks of the channel, until it closes it.
func (c *sessionChannel) clientRequests(reqs <-chan *ssh.Request) {
	// A flood holds up the connection that sends it, and nobody else.
	limit := rate.NewLimiter(200, 100)
	for r := range reqs {
		if limit.Wait(c.l.ctx) != nil {
			r.Reply(false, nil)
			continue
		}
		ok, err := c.request(r)
		if err != nil {
			c.fail(err)
		}
		r.Reply(ok && err == nil, nil)
		if err == nil && ok && isStart(r.Type) {
			c.start()
		}
		if c.begun != nil {
			c.begun()
			c.begun = nil
		}
	}
	// A client may close as soon as it has sent everything.
	c.l.passInput(&c.input, inputWait)
	c.up.Close()
}

func isStart(typ string) bool { return typ == "shell" || typ == "exec" || typ == "subsystem" }

// targetRequests relays what the target says of the channel, until it closes it.
func (c *sessionChannel) targetRequests(reqs <-chan *ssh.Request) {
	exited := sync.OnceFunc(func() { close(c.exited) })
	defer exited()
	for r := range reqs {
		switch r.Type {
		case "exit-status", "exit-signal":
			c.drained(exitWait)
			if c.l.ending.Load() {
				break
			}
			c.l.rec.Event(recording.Event{Channel: c.id, Payload: exitOf(r)})
			c.down.SendRequest(r.Type, false, r.Payload)
			exited()
		case "eow@openssh.com", "xon-xoff":
			c.down.SendRequest(r.Type, false, r.Payload)
		}
		r.Reply(false, nil) // keepalives are content with any answer
	}
	<-c.output.free()
	if !c.l.ending.Load() { // else the last words come from there
		c.down.Close()
	}
}

// drained waits until all output has passed, at most for d.
func (c *sessionChannel) drained(d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-c.output.free():
	case <-t.C:
	}
}

func exitOf(r *ssh.Request) recording.Exit {
	if r.Type == "exit-status" {
		status, _, _ := takeUint32(r.Payload)
		return recording.Exit{Status: int(status)}
	}
	name, rest, _ := takeString(r.Payload)
	var msg []byte
	if len(rest) > 0 {
		msg, _, _ = takeString(rest[1:])
	}
	return recording.Exit{Status: -1, Signal: display.Line(string(name), 32), Message: display.Line(string(msg), 200)}
}

// start begins the flow of data: what runs is known, and recorded.
func (c *sessionChannel) start() {
	c.mu.Lock()
	c.started = true
	t, notes := c.taps, c.notes
	if c.notes = nil; !c.pty {
		notes = nil // programs read stderr
	}
	c.mu.Unlock()
	for _, n := range notes {
		c.say(n, sayTime)
	}
	in, out, errs := c.inward(t), c.outward(t), c.errors(t)
	c.l.guardIn(&c.wg, "ssh input", in.run)
	c.l.guardIn(&c.wg, "ssh output", out.run)
	c.l.guardIn(&c.wg, "ssh stderr", errs.run)
}

// endOutput tells the client that no more output comes.
func (c *sessionChannel) endOutput() {
	<-c.output.free()
	// A client that has sent its own EOF closes the channel at ours, and
	// the exit status would come too late (ControlPersist shows it).
	t := time.NewTimer(exitWait)
	select {
	case <-c.exited:
	case <-t.C:
	}
	t.Stop()
	c.errMu.Lock() // the library lets nobody write meanwhile
	defer c.errMu.Unlock()
	if !c.l.ending.Load() {
		c.down.CloseWrite()
	}
}

// fail ends the channel with a sentence: a malformed packet, a record that
// could not be written.
func (c *sessionChannel) fail(err error) {
	if c.l.ctx.Err() != nil || c.l.ending.Load() {
		return
	}
	c.l.s.o.Log.Info("channel ended", "session", c.l.sess.ID(), "channel", c.id, "error", err)
	c.lastWords(fmt.Sprintf("%s: %s", c.l.s.o.Name, display.Line(err.Error(), 0)), sayTime)
	c.up.Close()
}

// say writes a line of ours on stderr, unless the client does not read.
func (c *sessionChannel) say(text string, within time.Duration) bool {
	return c.within(within, func() { fmt.Fprintf(c.stderr(), "\r\n%s: %s\r\n", c.l.s.o.Name, text) })
}

// lastWords are text on stderr, exit status and close, in this order.
func (c *sessionChannel) lastWords(text string, within time.Duration) {
	c.within(within, func() {
		fmt.Fprintf(c.stderr(), "\r\n%s\r\n", text)
		exitStatus(c.down, endStatus)
		c.down.Close()
	})
}

// within waits for fn at most so long; fn itself ends with the connection.
func (c *sessionChannel) within(d time.Duration, fn func()) bool {
	done := make(chan struct{})
	c.l.wg.Go(func() { defer close(done); fn() })
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-done:
		return true
	case <-t.C:
		return false
	}
}

// interactive reports whether somebody looks at a terminal.
func (c *sessionChannel) interactive() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.pty && c.started
}

// stderr is the client's, shared between the target's output and our lines.
func (c *sessionChannel) stderr() lockedWriter {
	return lockedWriter{mu: &c.errMu, w: c.down.Stderr()}
}

// terminate asks the target to end what runs: sshd leaves a command without a
// terminal alone when its connection goes.
func (c *sessionChannel) terminate() {
	c.mu.Lock()
	running := c.started && c.what == "exec"
	c.mu.Unlock()
	if running {
		c.up.SendRequest("signal", false, ssh.Marshal(struct{ Name string }{"TERM"}))
	}
}

// end is step 11: cut the target off, tell every channel why, and leave the
// client a moment to go by itself.
func (l *link) end(cause error, left <-chan struct{}) {
	l.ending.Store(true)
	l.mu.Lock()
	channels := make([]*sessionChannel, 0, len(l.live))
	for c := range l.live {
		channels = append(channels, c)
	}
	l.mu.Unlock()
	cut := make(chan struct{})
	l.wg.Go(func() {
		defer close(cut)
		for _, c := range channels {
			c.terminate()
		}
	})
	select {
	case <-cut:
	case <-time.After(sayTime): // the target does not read
	}
	l.wg.Go(func() { l.up.Close() }) // writes what is queued, which may take a moment
	text := "The session ended."
	if cause != nil && !errors.Is(cause, context.Canceled) {
		text = display.Line(cause.Error(), 0)
	}
	var wg sync.WaitGroup
	for _, c := range channels {
		wg.Go(func() { c.lastWords(l.s.o.Name+": "+text, sayTime) })
	}
	wg.Wait()
	if len(channels) == 0 {
		return
	}
	t := time.NewTimer(leaveTime)
	defer t.Stop()
	select {
	case <-left:
	case <-t.C:
	}
}

// leaveTime is what a client gets to leave by itself after its channels were
// closed: closing the transport first shows people a broken pipe.
const leaveTime = time.Second

func openError(err error) string {
	var oe *ssh.OpenChannelError
	if errors.As(err, &oe) {
		return display.Line("the target refused: "+oe.Message, 200)
	}
	return "the connection to the target is gone"
}
