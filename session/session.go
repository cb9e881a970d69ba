package session

import (
	"context"
	"io"
	"time"

	"jit-gateway/approval"
	"jit-gateway/internal/audit"
	"jit-gateway/recording"
)

// A Session is one proxied connection under a grant, from Begin to Finish.
// Its methods are safe for concurrent use.
type Session struct {
	m *Manager
}

// ID of the session.
func (s *Session) ID() string { panic("not yet") }

// Row as it stands now.
func (s *Session) Row() Row { panic("not yet") }

// Admission that the session began with. Its End moves with an extension: use
// Session.End.
func (s *Session) Admission() approval.Admission { panic("not yet") }

// End is the exact end of the grant, as extended.
func (s *Session) End() time.Time { panic("not yet") }

// Context is done when the session is terminated; context.Cause is then a
// *Termination.
func (s *Session) Context() context.Context { panic("not yet") }

// Recorder takes what passes. Its failure terminates the session.
func (s *Session) Recorder() *recording.Writer { panic("not yet") }

// Warning says that the end comes near: 5 minutes and 1 minute before.
type Warning struct {
	Left time.Duration
	End  time.Time
	Text string // a sentence for the user
}

// Warnings receives the warnings; a handler shows them to interactive users.
func (s *Session) Warnings() <-chan Warning { panic("not yet") }

// Intend writes that c is about to be minted (step 8). Nothing may be minted
// before it returned. Kind and Name are the caller's; the rest is filled in.
func (s *Session) Intend(ctx context.Context, c Credential) (Credential, error) { panic("not yet") }

// Minted audits that the credential exists now; detail holds no secret.
func (s *Session) Minted(ctx context.Context, id string, detail map[string]string) error {
	panic("not yet")
}

// Hold lets Finish destroy a key that lives in memory only (ca.SessionKey),
// and check that it did. The handler destroys it itself as soon as upstream
// authentication is done.
func (s *Session) Hold(id string, key Destroyer) { panic("not yet") }

// Destroyer is a secret in memory.
type Destroyer interface {
	Destroy()
	Destroyed() bool
}

// Dead invalidates and checks one credential before the end, audited like at
// Finish: for handlers that are done with it early.
func (s *Session) Dead(ctx context.Context, id string) error { panic("not yet") }

// Attach hands a transport to the manager, which closes it CutGrace after a
// termination, whatever the handler is doing. detach takes it back.
func (s *Session) Attach(c io.Closer) (detach func()) { panic("not yet") }

// Count adds to the bytes from (in) and to (out) the user, and is activity.
func (s *Session) Count(in, out int64) { panic("not yet") }

// Activity says that the session is in use now.
func (s *Session) Activity() { panic("not yet") }

// Busy marks work that is in use without traffic, such as a running statement,
// until done is called: a busy session is never idle.
func (s *Session) Busy() (done func()) { panic("not yet") }

// Audit appends an event with the session's correlation ids and, if it has no
// actor, its user as the actor.
func (s *Session) Audit(ctx context.Context, ev audit.Event) error { panic("not yet") }

// Outcome is how a session ended, by the handler's account. A termination
// takes precedence over it.
type Outcome struct {
	Cause  string // logout, upstream_failed, …
	Reason string // a sentence
}

// Terminate ends the session from within, for the handler's own causes (a
// budget, a protocol error).
func (s *Session) Terminate(t Termination) { panic("not yet") }

// Finish is step 12, the one path for logout, failure and termination alike:
// invalidate, check, seal, audit, close the row. The handler calls it after
// its last goroutine has ended; only the first call does anything, the others
// wait for it. It goes on when ctx is done. The error says what could not be
// done; the manager goes on trying.
func (s *Session) Finish(ctx context.Context, o Outcome) error { panic("not yet") }
