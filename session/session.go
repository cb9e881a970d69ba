package session

import (
	"context"
	"io"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"jit-gateway/approval"
	"jit-gateway/internal/audit"
	"jit-gateway/recording"
)

// A Session is one proxied connection under a grant, from Begin to Finish.
// Its methods are safe for concurrent use.
type Session struct {
	refused atomic.Bool // it never began: its recording is no leaf of the log
	m       *Manager
	adm     approval.Admission
	row     Row // as begun; never changed
	ctx     context.Context
	cancel  context.CancelCauseFunc
	rec     *recording.Writer

	// Guarded by m.mu.
	end    time.Time     // by the wall clock
	boot   time.Duration // and by CLOCK_BOOTTIME: whichever comes first
	warned int           // warnings given

	warnings chan Warning
	failing  sync.WaitGroup // recordingFailed

	in, out atomic.Int64
	used    atomic.Int64 // last activity, since m.base
	busy    atomic.Int64

	mu       sync.Mutex
	term     *Termination
	leaving  bool                  // no failure of the recording is of interest any more
	creds    map[string]Credential // not known to be dead
	held     map[string]Destroyer
	attached map[int]attachment
	attachNo int
	flags    []string
	sealing  bool          // leaves of the recording are written with the end
	leaves   []audit.Event // those

	once      sync.Once
	finished  chan struct{}
	finishErr error
}

// ID of the session.
func (s *Session) ID() string { return s.row.ID }

// Row as it stands now.
func (s *Session) Row() Row {
	r := s.row
	r.BytesIn, r.BytesOut = s.in.Load(), s.out.Load()
	s.mu.Lock()
	r.Flags = slices.Clone(s.flags)
	s.mu.Unlock()
	return r
}

// Admission that the session began with. Its End moves with an extension: use
// Session.End.
func (s *Session) Admission() approval.Admission { return s.adm }

// End is the exact end of the grant, as extended.
func (s *Session) End() time.Time {
	s.m.mu.Lock()
	defer s.m.mu.Unlock()
	return s.end
}

// Context is done when the session is terminated or finished; context.Cause
// is then a *Termination. It is not a child of the context given to Begin: a
// handler whose connection ends calls Finish.
func (s *Session) Context() context.Context { return s.ctx }

// Recorder takes what passes. Its failure terminates the session.
func (s *Session) Recorder() *recording.Writer { return s.rec }

// Warning says that the end comes near: 5 minutes and 1 minute before.
type Warning struct {
	Left time.Duration
	End  time.Time
	Text string // a sentence for the user
}

// Warnings receives the warnings; a handler shows them to interactive users.
func (s *Session) Warnings() <-chan Warning { return s.warnings }

// Attach hands a transport to the manager, which closes it CutGrace after a
// termination, whatever the handler is doing: by Abort, if it has such a
// method, because Close may wait for a peer that does not read. detach takes
// it back.
func (s *Session) Attach(c io.Closer) (detach func()) {
	return s.attach(c, s.m.o.CutGrace)
}

// AttachClient does so for the client's leg, TellGrace after a termination:
// with the target's leg gone nothing is relayed on it any more, and a busy
// machine needs longer than CutGrace to bring the reason to the user.
func (s *Session) AttachClient(c io.Closer) (detach func()) {
	return s.attach(c, s.m.o.TellGrace)
}

func (s *Session) attach(c io.Closer, grace time.Duration) (detach func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.attachNo++
	n := s.attachNo
	s.attached[n] = attachment{grace, func() {
		if a, ok := c.(interface{ Abort() error }); ok {
			a.Abort()
			return
		}
		c.Close()
	}}
	if s.term != nil { // the manager's own rounds may be over
		time.AfterFunc(grace, func() { s.closeAttached(grace) })
	}
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.attached, n)
	}
}

// attachment is a transport and how long after a termination it is closed.
type attachment struct {
	grace time.Duration
	close func()
}

// closeAttached is what the manager does when a handler may be stuck, to the
// transports whose grace is over. Each close has a goroutine of its own,
// because it may be stuck too.
func (s *Session) closeAttached(grace time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for n, a := range s.attached {
		if a.grace <= grace {
			go a.close()
			delete(s.attached, n)
		}
	}
}

// Count adds to the bytes from (in) and to (out) the user, and is activity.
func (s *Session) Count(in, out int64) {
	if in != 0 {
		s.in.Add(in)
	}
	if out != 0 {
		s.out.Add(out)
	}
	s.Activity()
}

// Activity says that the session is in use now.
func (s *Session) Activity() { s.used.Store(int64(time.Since(s.m.base))) }

// Busy marks work that is in use without traffic, such as a running statement
// or a write that a slow peer holds up, until done is called: a busy session
// is never idle.
func (s *Session) Busy() (done func()) {
	s.busy.Add(1)
	var once sync.Once
	return func() {
		once.Do(func() {
			s.Activity()
			s.busy.Add(-1)
		})
	}
}

// unused is how long ago the session was last in use.
func (s *Session) unused() time.Duration {
	if s.busy.Load() > 0 {
		return 0
	}
	return time.Since(s.m.base) - time.Duration(s.used.Load())
}

// Terminate ends the session from within, for the handler's own causes (a
// budget, a protocol error).
func (s *Session) Terminate(t Termination) {
	t.At = s.m.o.Clock.Now()
	s.m.cut(s, &t)
}

func (s *Session) termination() *Termination {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.term
}

// actor is the session's user.
func (s *Session) actor() audit.Actor {
	return audit.Actor{ID: s.row.UserID, Name: s.row.User, Source: s.row.Source, Via: s.row.Protocol}
}

// Audit appends an event with the session's correlation ids and, if it has no
// actor, its user as the actor.
func (s *Session) Audit(ctx context.Context, ev audit.Event) error {
	full := rowEvent(s.row, ev.Type)
	full.ID, full.Time, full.Reason, full.Detail, full.Actor = ev.ID, ev.Time, ev.Reason, ev.Detail, ev.Actor
	if ev.Outcome != "" {
		full.Outcome = ev.Outcome
	}
	if full.Actor == (audit.Actor{}) {
		full.Actor = s.actor()
	}
	if full.Outcome == audit.Denied {
		s.Flag(FlagDenied)
	}
	_, err := s.m.o.Log.Append(ctx, full)
	return err
}
