package session

import (
	"context"
	"time"

	"jit-gateway/internal/audit"
)

// State of a session row.
type State string

const (
	Open    State = "open"
	Closed  State = "closed"
	Crashed State = "crashed"
)

// Row is what the store keeps of a session.
type Row struct {
	ID        string    `json:"id"`
	GrantID   string    `json:"grant_id"`
	RequestID string    `json:"request_id"`
	UserID    string    `json:"user_id"`
	User      string    `json:"user"`
	Target    string    `json:"target"`
	Login     string    `json:"login"`
	Protocol  string    `json:"protocol"`         // ssh, postgres
	Source    string    `json:"source"`           // client address
	Client    string    `json:"client,omitempty"` // client software as it named itself
	Gateway   string    `json:"gateway"`          // instance id
	StartedAt time.Time `json:"started_at"`
	State     State     `json:"state"`
	EndedAt   time.Time `json:"ended_at,omitzero"`
	Cause     string    `json:"cause,omitempty"`  // logout, expired, released, revoked, user_disabled, terminated, recording_failed, upstream_failed, crashed, …
	Reason    string    `json:"reason,omitempty"` // for people
	EndedBy   string    `json:"ended_by,omitempty"`
	BytesIn   int64     `json:"bytes_in,omitempty"`
	BytesOut  int64     `json:"bytes_out,omitempty"`
	Recording string    `json:"recording,omitempty"` // file name below the recordings directory
	Flags     []string  `json:"flags,omitempty"`
	Rule      string    `json:"rule,omitempty"` // of the grant

	// Most is how many open sessions a user may have under Rule, this one
	// included; 0: any number. The store holds it, as of all gateways at once.
	Most int `json:"-"`
}

// Credential is one thing that was minted for a session: the row is written
// before the minting, and removed only after the check that it is dead.
type Credential struct {
	ID        string            `json:"id"`
	SessionID string            `json:"session_id"`
	GrantID   string            `json:"grant_id"`
	Kind      string            `json:"kind"` // ssh_cert, pg_role, pg_cert, pg_token; a Cleaner is registered per kind
	Name      string            `json:"name"` // serial, role name, token id
	Target    string            `json:"target"`
	Detail    map[string]string `json:"detail,omitempty"`
	CreatedAt time.Time         `json:"created_at"`
	ExpiresAt time.Time         `json:"expires_at,omitzero"`
	DeadAt    time.Time         `json:"dead_at,omitzero"`
	Tries     int               `json:"tries,omitempty"`
	LastError string            `json:"last_error,omitempty"`
}

// Store keeps sessions. Both stores implement it.
type Store interface {
	BeginSession(ctx context.Context, r Row, ev audit.Event) error // store.ErrConflict if r.Most are open
	EndSession(ctx context.Context, e End) error                   // store.ErrConflict if the row is not open: then nothing is written
	Session(ctx context.Context, id string) (Row, error)
	ListSessions(ctx context.Context, f Filter) ([]Row, error)
}

// End is all that the end of a session writes, in one transaction and in this
// order, each change with its event.
type End struct {
	Dead   []Death       // credentials; one that is dead already is passed over, with its event
	Leaves []audit.Event // of the recording
	Row    Row           // must be Open in the store
	Event  audit.Event
}

// Death is a credential that was found to be dead.
type Death struct {
	Credential string
	At         time.Time
	Event      audit.Event
}

// Credentials keeps what was minted. Both stores implement it.
type Credentials interface {
	AddCredential(ctx context.Context, c Credential, ev audit.Event) error // before minting
	CredentialDead(ctx context.Context, id string, at time.Time, ev audit.Event) error
	CredentialFailed(ctx context.Context, id, lastError string, ev audit.Event) error
	LiveCredentials(ctx context.Context, f CredentialFilter) ([]Credential, error) // DeadAt is zero
}

// CredentialFilter selects credentials; zero fields select all.
type CredentialFilter struct {
	SessionID string
	GrantID   string
	Kind      string
}

// Instances is how gateways know which of them is alive (G9: recovery touches
// only sessions of dead instances).
type Instances interface {
	// Beat says that the instance is alive now; draining ones still beat.
	Beat(ctx context.Context, instance string, at time.Time) error
	// DeadInstances lists instances with open sessions or live credentials
	// whose last beat is before the time.
	DeadInstances(ctx context.Context, before time.Time) ([]string, error)
	// HighWater returns the newest time that the store ever saw, and raises it
	// to at (G5: a clock behind it admits nobody).
	HighWater(ctx context.Context, at time.Time) (time.Time, error)
}

// Filter selects sessions; zero fields select all. Newest first.
type Filter struct {
	UserID  string
	Target  string
	GrantID string
	State   State
	Gateway string
	Cause   string
	Flag    string
	Since   time.Time
	Until   time.Time
	Before  string // session ID: those that come after it in the list, for paging
	Limit   int    // 100 if zero
}

// A Cleaner invalidates one kind of credential and checks that it is dead.
// Both must be idempotent: they also run after a crash, on another gateway.
type Cleaner interface {
	Invalidate(ctx context.Context, c Credential) error
	Check(ctx context.Context, c Credential) error // nil: dead
}

// Cause is why a session's context was cancelled: context.Cause returns a
// *Termination.
type Termination struct {
	Cause  string // as Row.Cause
	Reason string // a sentence for the user
	By     string // User id, empty for the gateway
	At     time.Time
}

func (t *Termination) Error() string { return t.Reason }
