package pgproxy

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"strings"
	"time"

	"jit-gateway/approval"
	"jit-gateway/internal/audit"
	"jit-gateway/internal/dialogue"
	"jit-gateway/internal/identity"
	"jit-gateway/internal/inventory"
)

// Approvals admits; *approval.Service does it.
type Approvals interface {
	Admit(ctx context.Context, in approval.AdmitInput) (approval.Admission, error)
}

// Dialogue admits with questions where there is somebody to ask;
// *dialogue.Dialogue does it.
type Dialogue interface {
	Admit(ctx context.Context, t dialogue.Terminal, in approval.AdmitInput) (approval.Admission, error)
}

// Log takes the events that belong to no session, such as failed logins.
type Log interface {
	Append(ctx context.Context, ev audit.Event) (audit.Event, error)
}

// Options builds a Server. Fields without a stated default are required.
type Options struct {
	Users     identity.Store
	Inventory inventory.Inventory
	Approvals Approvals
	Log       Log

	// TLS is what clients are offered. Without it only loopback clients and
	// tunnels are served. Its certificate must be ECDSA or RSA: an Ed25519
	// certificate breaks libpq's channel binding.
	TLS *tls.Config
	// Dialogue asks in-band through SSH tunnels; without it a tunnel needs a
	// live grant.
	Dialogue Dialogue
	// Secrets resolves the references in a target's definition (file:, env:, …).
	Secrets func(ref string) (string, error)

	// Installation is the part of session role names that tells one gateway
	// installation from another on the same database: [a-z0-9]{1,12}; "gw" if
	// empty.
	Installation string
	// Name is how people call the gateway in commands; "jit-gateway" if empty.
	Name string
	// LoginTime bounds everything before admission; 30s if zero.
	LoginTime time.Duration
	// MaxLogins is how many connections may be in authentication at once;
	// 1000 if zero.
	MaxLogins int

	Metrics *Metrics         // none if nil
	Logger  *slog.Logger     // slog.Default if nil
	Now     func() time.Time // time.Now if nil
}

// A Server serves PostgreSQL clients.
type Server struct {
	o Options
}

// New checks the options.
func New(o Options) (*Server, error) {
	if o.Users == nil || o.Inventory == nil || o.Approvals == nil || o.Log == nil {
		return nil, errors.New("pgproxy: Users, Inventory, Approvals and Log are needed")
	}
	if o.Installation == "" {
		o.Installation = "gw"
	}
	if len(o.Installation) > 12 || strings.Trim(o.Installation, "abcdefghijklmnopqrstuvwxyz0123456789") != "" {
		return nil, errors.New("pgproxy: Installation must be 1 to 12 of a-z and 0-9")
	}
	return &Server{o: o}, nil
}

// Metrics of this package.
type Metrics struct{}

// ServeConn handles one connection of a client until it ends, or ctx does. It
// closes conn.
func (s *Server) ServeConn(ctx context.Context, conn net.Conn) { panic("not yet") }

// Run watches over live sessions until ctx is done: idle connections,
// statement timeouts, the readiness of administrative connections.
func (s *Server) Run(ctx context.Context) error { panic("not yet") }
