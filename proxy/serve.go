package proxy

import (
	"context"
	"log/slog"
	"net"
	"net/netip"
	"time"
)

// ServeOptions of one listener. Zero limits take the defaults.
type ServeOptions struct {
	Name         string         // for logs and metrics: ssh, postgres
	MaxConns     int            // connections at once, 4,096 if zero
	MaxPerSource int            // connections at once from one address (an IPv6 /64), 256 if zero
	RatePerSec   float64        // new connections a second from one address, 50 if zero
	Burst        int            // 200 if zero
	PROXYFrom    []netip.Prefix // balancers: their connections MUST begin with a PROXY v2 header, nobody else's may
	DrainTimeout time.Duration  // connections live that long after ctx is done; 0: not at all
	// Handle serves one connection and closes it. It MUST NOT return before
	// its goroutines have ended. Its conn has the real source as RemoteAddr.
	Handle  func(ctx context.Context, conn net.Conn)
	Metrics *Metrics     // may be nil
	Log     *slog.Logger // slog.Default if nil
}

// Serve accepts connections until ctx is done, then drains, and returns when
// every connection has ended. It closes ln.
func Serve(ctx context.Context, ln net.Listener, o ServeOptions) error { panic("not yet") }

// PreAuth bounds the time before a peer is authenticated.
type PreAuth struct{ conn net.Conn }

// Limit sets a deadline on conn; Passed lifts it, Extend moves it (while a
// question is open, or a request waits).
func Limit(conn net.Conn, d time.Duration) *PreAuth { panic("not yet") }

// Extend allows d from now.
func (p *PreAuth) Extend(d time.Duration) error { panic("not yet") }

// Passed lifts the limit: the peer is authenticated.
func (p *PreAuth) Passed() error { panic("not yet") }

// Contain runs fn, and turns a panic into a *PanicError, logged with its stack
// and counted: one session's panic never ends the process.
func Contain(log *slog.Logger, m *Metrics, name string, fn func() error) error { panic("not yet") }

// PanicError is a panic that Contain caught.
type PanicError struct {
	Name  string
	Value any
	Stack []byte
}

func (e *PanicError) Error() string { return "internal error in " + e.Name }
