package approval

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"jit-gateway/approval/policy"
	"jit-gateway/approval/risk"
	"jit-gateway/internal/audit"
	"jit-gateway/internal/identity"
	"jit-gateway/internal/inventory"
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
	ErrUserDisabled = errors.New("user is disabled")
	ErrProofNeeded  = errors.New("second factor needed") // no or stale mfa.Proof
)

// Caller is who acts, as the handler verified it.
type Caller struct {
	UserID         string
	KeyFingerprint string // SSH key of the connection, or empty
	Source         string // address without port
	Via            string // ssh, postgres, web, admin.sock
	LocalAdmin     bool   // over admin.sock: no User, may revoke, never approves
}

// Ask is what a request asks for.
type Ask struct {
	Targets      []string          // names or aliases; or
	Selector     map[string]string // labels, all of which must match
	Login        string            // empty: the only login allowed, else an error that lists them
	Reason       string
	Ticket       string
	Duration     time.Duration // 0: the rule's default
	StartAt      time.Time
	EndsWithLast bool
	Extends      string // grant id
	BreakGlass   bool   // an emergency: a break-glass rule applies, loudly
}

// Options builds a Service.
type Options struct {
	Users     identity.Store
	Inventory inventory.Inventory
	Rules     func() *policy.Set // current set; swapped atomically on reload
	Requests  Requests
	Grants    Grants
	Log       interface { // pure events, such as refusals
		Append(ctx context.Context, ev audit.Event) (audit.Event, error)
	}
	Now   func() time.Time
	Roles Roles

	// Clock says whether the clock can be trusted: behind the store's
	// high-water mark nobody is admitted, approved or activated (G5). Required.
	Clock func(ctx context.Context) error
	// Feed lets Run follow users that are disabled and sessions that end. Required by Run.
	Feed audit.Source
	// OpenSessions counts the sessions that are open under a grant, for grants
	// that end with their last session. Optional: without it none does.
	OpenSessions func(ctx context.Context, grantID string) (int, error)
	// History is the past, for risk findings. Optional: without it there are none.
	History risk.History
	// Zone is where unusual hours are judged; UTC if nil.
	Zone *time.Location
	// Logger tells operators of trouble in Run; discarded if nil.
	Logger *slog.Logger
}

// Roles maps groups to what their members may see and do beyond rules.
type Roles struct {
	Admins   []string // groups
	Auditors []string // groups
}
