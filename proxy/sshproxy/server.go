package sshproxy

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"

	"jit-gateway/approval"
	"jit-gateway/ca"
	"jit-gateway/internal/audit"
	"jit-gateway/internal/dialogue"
	"jit-gateway/internal/display"
	"jit-gateway/internal/identity"
	"jit-gateway/internal/inventory"
	"jit-gateway/proxy"
	"jit-gateway/session"
)

// Options builds a Server. Fields without a stated default are required.
type Options struct {
	Authority *ca.Authority
	Sessions  *session.Manager
	Approvals *approval.Service
	Dialogue  *dialogue.Dialogue
	Users     identity.Store
	Inventory inventory.Inventory
	Feed      audit.Source // Run follows it for disabled users and removed keys
	Audit     Log          // logins and refusals
	Commands  func(context.Context, dialogue.Invocation) int

	// Tunnel returns the handler of databases reached through an SSH tunnel.
	// Tunnels are refused where it is nil or returns nil.
	Tunnel func(inventory.Kind) proxy.Handler
	// Secrets resolves the reference of a target's configured key; targets
	// with one are refused if it is nil.
	Secrets func(ref string) (string, error)
	// Egress are the addresses that targets see the gateway come from: the
	// source-address of user certificates. Empty: the local address of the
	// connection that is about to use the certificate.
	Egress []netip.Prefix
	// AllowTargetSources accepts outer logins from addresses of targets,
	// which are refused by default: a host with a forwarded agent must not
	// ride on live grants. Loopback addresses are nobody's and never refused.
	AllowTargetSources bool
	// Name is how people call the gateway in commands; "jit-gateway" if empty.
	Name string
	// Register says where an unknown key is registered, for the banner; a
	// sentence about the administrator's invite if empty.
	Register string
	// LoginTime bounds a handshake with its authentication, questions to
	// people aside; 30s if zero.
	LoginTime time.Duration
	// DialTime bounds connecting to a target and logging in there; 15s if zero.
	DialTime time.Duration
	// Keepalive is how often both legs of a session are asked whether they
	// live; three questions without an answer end it. 30s if zero.
	Keepalive time.Duration
	Metrics   *Metrics         // may be nil
	Log       *slog.Logger     // slog.Default if nil
	Now       func() time.Time // time.Now if nil
}

// Log takes events that change no row.
type Log interface {
	Append(ctx context.Context, ev audit.Event) (audit.Event, error)
}

// A Server handles SSH connections of users.
type Server struct {
	o      Options
	addrs  *addresses
	mu     sync.Mutex
	outers map[*outer]struct{}
	links  map[string]*link // by session
	ids    sessionIDs
}

// New checks the options.
func New(o Options) (*Server, error) {
	for _, f := range []struct {
		name    string
		missing bool
	}{
		{"Authority", o.Authority == nil}, {"Sessions", o.Sessions == nil}, {"Approvals", o.Approvals == nil},
		{"Dialogue", o.Dialogue == nil}, {"Users", o.Users == nil}, {"Inventory", o.Inventory == nil},
		{"Feed", o.Feed == nil}, {"Audit", o.Audit == nil}, {"Commands", o.Commands == nil},
	} {
		if f.missing {
			return nil, fmt.Errorf("sshproxy: option %s is missing", f.name)
		}
	}
	if o.Name == "" {
		o.Name = "jit-gateway"
	}
	if o.Register == "" {
		o.Register = "To register it, ask an administrator for an invite, then run: ssh -t enroll@" + o.Name + " enroll"
	}
	for d, def := range map[*time.Duration]time.Duration{&o.LoginTime: 30 * time.Second, &o.DialTime: 15 * time.Second, &o.Keepalive: 30 * time.Second} {
		if *d <= 0 {
			*d = def
		}
	}
	if o.Log == nil {
		o.Log = slog.Default()
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return &Server{o: o, addrs: newAddresses(o.Inventory), outers: map[*outer]struct{}{}, links: map[string]*link{}}, nil
}

// Run follows the audit feed until ctx is done, and closes the connections of
// users who were disabled and of keys that were removed.
func (s *Server) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() { s.addrs.run(ctx) })
	after, err := s.o.Feed.LastSeq(ctx)
	if err != nil {
		return fmt.Errorf("follow the audit log: %w", err)
	}
	for ev, err := range audit.Tail(ctx, s.o.Feed, after) {
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return fmt.Errorf("follow the audit log: %w", err)
		}
		switch ev.Type {
		case audit.UserDisabled:
			s.closeOuters(ev.User, "", "your account was disabled")
		case audit.KeyRemoved:
			s.closeOuters(ev.User, ev.Detail["fingerprint"], "the key of this connection was removed")
		case audit.SessionWatched:
			s.tellWatched(ev, "watches this session.")
		case audit.SessionLeft:
			s.tellWatched(ev, "has stopped watching.")
		}
	}
	return nil
}

// tellWatched tells the user who watches, where the rule says so.
func (s *Server) tellWatched(ev audit.Event, what string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if l := s.links[ev.Session]; l != nil && l.watchersTold() {
		l.guard("ssh watchers", func() { l.tell(display.Line(ev.Actor.Name, 64) + " " + what) })
	}
}

// closeGrace is what sessions get to tell their users why they end.
const closeGrace = time.Second

// closeOuters ends the connections of a user, or those with one of their keys.
func (s *Server) closeOuters(user, fingerprint, why string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for o := range s.outers {
		if o.id.Caller.UserID == user && (fingerprint == "" || o.id.Caller.KeyFingerprint == fingerprint) {
			// Not at once: sessions end by themselves, and tell why. Nothing new
			// begins meanwhile, because every channel reads the user again.
			time.AfterFunc(closeGrace, func() { o.cancel(errors.New(why)) })
		}
	}
}

// newConfig is what outer and inner handshakes have in common. init decides
// ciphers and MACs.
func newConfig(init kexInit) *ssh.ServerConfig {
	c := &ssh.ServerConfig{
		ServerVersion:           serverVersion,
		MaxAuthTries:            20, // an agent offers all its keys
		PublicKeyAuthAlgorithms: publicKeyAlgorithms,
	}
	c.Ciphers = init.ciphers()
	c.KeyExchanges = keyExchanges
	c.MACs = init.macs()
	return c
}

// What the gateway speaks: nothing with SHA-1, a hybrid post-quantum exchange
// first; one NIST curve, for clients in FIPS mode.
var (
	keyExchanges        = []string{ssh.KeyExchangeMLKEM768X25519, ssh.KeyExchangeCurve25519, ssh.KeyExchangeECDHP256, ssh.KeyExchangeDH16SHA512, ssh.KeyExchangeDH14SHA256}
	publicKeyAlgorithms = []string{ssh.KeyAlgoED25519, ssh.KeyAlgoSKED25519, ssh.KeyAlgoSKECDSA256, ssh.KeyAlgoECDSA256, ssh.KeyAlgoECDSA384, ssh.KeyAlgoECDSA521, ssh.KeyAlgoRSASHA512, ssh.KeyAlgoRSASHA256}
)

// audit writes an event; a log that cannot be written is told to operators.
// Where the event decides whether something may happen, callers look at the error.
func (s *Server) audit(ctx context.Context, ev audit.Event) error {
	_, err := s.o.Audit.Append(context.WithoutCancel(ctx), ev)
	if err != nil {
		s.o.Log.Error("write audit event", "type", string(ev.Type), "error", err)
	}
	return err
}

// sourceOf is a connection's address without port.
func sourceOf(a net.Addr) string {
	if t, ok := a.(*net.TCPAddr); ok {
		if ip, ok := netip.AddrFromSlice(t.IP); ok {
			return ip.Unmap().WithZone(t.Zone).String()
		}
	}
	host, _, err := net.SplitHostPort(a.String())
	if err != nil {
		return a.String()
	}
	return host
}
