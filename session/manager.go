package session

import (
	"context"
	"log/slog"
	"time"

	"jit-gateway/approval"
	"jit-gateway/ca"
	"jit-gateway/internal/audit"
	"jit-gateway/internal/clock"
	"jit-gateway/recording"
)

// Options builds a Manager. Fields are needed unless said otherwise.
type Options struct {
	Instance    string // id of this process: a new one at every start
	Store       Store
	Credentials Credentials
	Instances   Instances
	Grants      Grants
	Log         Log
	Feed        audit.Source
	Recordings  *recording.Dir
	Tokens      *ca.Tokens         // may be nil: no session tokens
	Cleaners    map[string]Cleaner // by Credential.Kind; ssh_cert and pg_token are built in
	Clock       clock.Clock        // clock.System if zero
	Logger      *slog.Logger       // slog.Default if nil
	Metrics     *Metrics           // may be nil

	// Exclusive says that no other gateway can be using the store, so that
	// every other instance is dead (SQLite: the writer's lock is held).
	Exclusive  bool
	StoreGrace time.Duration // sessions end that long after the store was last seen; 60 s if zero
	CutGrace   time.Duration // attached connections are closed that long after a termination; 75 ms if zero
}

// Grants is what sessions need of the store of grants.
type Grants interface {
	Grant(ctx context.Context, id string) (approval.Grant, error)
	UpdateGrant(ctx context.Context, g approval.Grant, ev audit.Event) error
}

// Log takes events that change no row.
type Log interface {
	Append(ctx context.Context, ev audit.Event) (audit.Event, error)
}

// A Manager keeps every live session of this gateway and ends each exactly.
type Manager struct {
	o Options
}

// NewManager checks o and registers with o.Tokens. Run must follow.
func NewManager(o Options) (*Manager, error) { panic("not yet") }

// Run recovers what dead instances left, then watches over the sessions until
// ctx is done: deadlines, idle time-outs, the audit feed, the store's health,
// credentials that would not die. Begin waits for it, and refuses without it.
// When ctx is done, sessions that are still live are terminated: Drain first.
func (m *Manager) Run(ctx context.Context) error { panic("not yet") }

// Recover ends what dead instances left (G9). Run calls it first, and again
// while it runs; calling it alone is for tools and tests.
func (m *Manager) Recover(ctx context.Context) error { panic("not yet") }

// Drain refuses new sessions and waits until the live ones have ended or ctx
// is done; then it terminates the rest and waits for them.
func (m *Manager) Drain(ctx context.Context) error { panic("not yet") }

// Meta is what a session's row says of the connection.
type Meta struct {
	Protocol string // ssh, postgres
	Source   string // client address without port
	Client   string // client software as it named itself
}

// Begin is step 6: recording header, session row and audit event in one go.
// Any failure refuses, in a sentence for the user. The session MUST be
// finished, whatever happens.
func (m *Manager) Begin(ctx context.Context, adm approval.Admission, meta Meta) (*Session, error) {
	panic("not yet")
}

// Info is a live session as lists show it.
type Info struct {
	Row
	End      time.Time `json:"end"`       // exact
	LastUsed time.Time `json:"last_used"` // last traffic
}

// Live lists the live sessions of this gateway, oldest first.
func (m *Manager) Live() []Info { panic("not yet") }

// Get returns a live session of this gateway.
func (m *Manager) Get(id string) (*Session, bool) { panic("not yet") }

// Terminate ends a session, on this gateway or, through the audit log, on
// another. It returns once a local session is cut and the event written; it
// does not wait for step 12. By needs to have been authorised by the caller.
// store.ErrNotFound: no such open session.
func (m *Manager) Terminate(ctx context.Context, id string, t Termination) error { panic("not yet") }
