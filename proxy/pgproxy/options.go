package pgproxy

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"jit-gateway/approval"
	"jit-gateway/ca"
	"jit-gateway/internal/audit"
	"jit-gateway/internal/dialogue"
	"jit-gateway/internal/inventory"
	"jit-gateway/session"
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

// Tokens knows session tokens; *ca.Tokens does.
type Tokens interface {
	Candidates(ctx context.Context, userName, target string) (salt []byte, iterations int, vs []ca.Verifier, err error)
}

// Log takes the events that belong to no session, such as failed logins.
type Log interface {
	Append(ctx context.Context, ev audit.Event) (audit.Event, error)
}

// Options builds a Server. Fields without a stated default are required.
type Options struct {
	Inventory inventory.Inventory
	Approvals Approvals
	Sessions  *session.Manager
	Tokens    Tokens
	Log       Log
	// Cleaner is the one that the session manager has: it ends what sessions
	// leave in databases.
	Cleaner *RoleCleaner

	// TLS is what clients are offered. Without it only loopback clients and
	// tunnels are served. Its certificate must be ECDSA or RSA: an Ed25519
	// certificate breaks libpq's channel binding.
	TLS *tls.Config
	// Dialogue asks in-band through SSH tunnels; without it a tunnel needs a
	// live grant.
	Dialogue Dialogue
	// Authority signs client certificates; targets with identity client_cert
	// are refused without it.
	Authority *ca.Authority
	// Secrets resolves the references in a target's definition (file:, env:,
	// …); targets that have any are refused without it.
	Secrets func(ref string) (string, error)
	// Hold, if not nil, is asked about every statement of a session before
	// anything of it is forwarded, and may take its time: an error refuses
	// the statement and leaves the session open.
	Hold func(ctx context.Context, s *session.Session, st Statement) error

	// Budgets counts budgets that a grant has as a whole on every gateway, and
	// over restarts; nil: each process counts for itself.
	Budgets Spender
	// Elsewhere, if not nil, tells the other gateways of a cancel request whose
	// key is not known here, by the key's digest; they call CancelByDigest. It
	// must not block for long.
	Elsewhere func(digest string)

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
	o         Options
	tls       *tls.Config // nil: none
	shown     sync.Map    // net.Conn to the *x509.Certificate that it was shown
	admins    *admins
	logins    chan struct{}
	fails     *limiter
	keys      keys
	elsewhere *rate.Limiter // of cancel requests that other gateways are told of
	shared    budgets
	jobs      sync.WaitGroup // what sweeps start

	mu    sync.Mutex
	links map[*link]struct{}
}

// New checks the options.
func New(o Options) (*Server, error) {
	missing := func(field string) error { return errors.New("pgproxy: the option " + field + " is missing") }
	switch {
	case o.Inventory == nil:
		return nil, missing("Inventory")
	case o.Approvals == nil:
		return nil, missing("Approvals")
	case o.Sessions == nil:
		return nil, missing("Sessions")
	case o.Tokens == nil:
		return nil, missing("Tokens")
	case o.Log == nil:
		return nil, missing("Log")
	case o.Cleaner == nil:
		return nil, missing("Cleaner")
	}
	if o.Installation == "" {
		o.Installation = "gw"
	}
	if len(o.Installation) > 12 || strings.Trim(o.Installation, "abcdefghijklmnopqrstuvwxyz0123456789") != "" {
		return nil, errors.New("pgproxy: Installation must be 1 to 12 of a-z and 0-9")
	}
	if o.Name == "" {
		o.Name = "jit-gateway"
	}
	if o.LoginTime <= 0 {
		o.LoginTime = 30 * time.Second
	}
	if o.MaxLogins <= 0 {
		o.MaxLogins = 1000
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	s := &Server{o: o, admins: o.Cleaner.admins, logins: make(chan struct{}, o.MaxLogins), links: map[*link]struct{}{}, fails: newLimiter(),
		elsewhere: rate.NewLimiter(20, 100)}
	if o.TLS != nil {
		c, err := s.tlsConfig(o.TLS)
		if err != nil {
			return nil, err
		}
		s.tls = c
	}
	return s, nil
}

// Run watches over live sessions until ctx is done: ends of stream, byte
// counts, statement time-outs, warnings, idle administrative connections.
func (s *Server) Run(ctx context.Context) error {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	defer s.jobs.Wait()
	if s.o.Budgets != nil {
		s.jobs.Go(func() {
			s.shared.shareAll(ctx, s.o.Budgets, func(err error) { s.o.Logger.Error("count budgets with other gateways; trying again", "err", err) })
		})
	}
	for {
		select {
		case <-ctx.Done():
			s.admins.sweep(time.Now().Add(time.Hour))
			return nil
		case now := <-tick.C:
			s.mu.Lock()
			live := make([]*link, 0, len(s.links))
			for l := range s.links {
				live = append(live, l)
			}
			s.mu.Unlock()
			for _, l := range live {
				l.sweep()
			}
			s.admins.sweep(now.Add(-adminIdle))
		}
	}
}

func (s *Server) enter(l *link) (leave func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.links[l] = struct{}{}
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.links, l)
	}
}
