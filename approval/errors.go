package approval

import (
	"errors"
	"fmt"
	"strings"

	"jit-gateway/internal/display"
	"jit-gateway/internal/store"
)

// Errors that callers match. Each is wrapped in a sentence for the user.
var (
	ErrNoGrant      = errors.New("no grant")            // file a request
	ErrNotActivated = errors.New("grant not activated") // give a code: Activate
	ErrCodeNeeded   = errors.New("fresh code needed")   // another key or address, or the factor is too old: Confirm
	ErrNotYet       = errors.New("window not open yet") // scheduled start
	ErrForbidden    = errors.New("not allowed")         // no rule allows it; also the answer for an unknown target
	ErrOwnRequest   = errors.New("own request")         // G6
	ErrDigest       = errors.New("request changed")     // the digest shown is not the request's
	ErrNotPending   = errors.New("request is closed")   // somebody else answered meanwhile
	ErrEnded        = errors.New("grant has ended")
	ErrUserDisabled = errors.New("user is disabled")
	ErrProofNeeded  = errors.New("second factor needed") // no or stale mfa.Proof
	ErrInvalid      = errors.New("not a valid request")  // a reason, duration or start that cannot be
	ErrClock        = errors.New("clock cannot be trusted")
)

// refusal is an error that is matched by its cause and read as its sentence.
type refusal struct {
	err  error
	text string
}

func (r *refusal) Error() string { return r.text }
func (r *refusal) Unwrap() error { return r.err }

func refuse(err error, format string, args ...any) error {
	return &refusal{err, fmt.Sprintf(format, args...)}
}

// forbidden is the one answer to unknown and forbidden targets.
func forbidden(name string) error {
	return refuse(ErrForbidden, "%s: there is no such target, or no rule lets you ask for it", display.Line(name, 100))
}

// notFound is the one answer to ids that do not exist and ids of others.
func notFound(what, id string) error {
	return refuse(store.ErrNotFound, "there is no %s %s that is yours to see", what, display.Line(id, 40))
}

// GrantError is an error about one grant, so that a dialogue can go on from there.
type GrantError struct {
	Err   error // ErrNotActivated, ErrCodeNeeded, ErrNotYet, …
	Grant Grant
	Text  string
}

func (e *GrantError) Error() string { return e.Text }

// Unwrap returns the error to match.
func (e *GrantError) Unwrap() error { return e.Err }

// ChooseLogin says that several logins are possible.
type ChooseLogin struct {
	Target string
	Logins []string
}

func (e *ChooseLogin) Error() string {
	return fmt.Sprintf("%s: say which login: %s", display.Line(e.Target, 100), strings.Join(e.Logins, ", "))
}
