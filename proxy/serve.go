package proxy

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"time"
)

// ServeOptions of one listener. Zero limits take the defaults.
type ServeOptions struct {
	Name         string         // for logs and metrics: ssh, postgres, web
	MaxConns     int            // connections at once, 4,096 if zero
	MaxPerSource int            // connections at once from one address (an IPv6 /64), 1,024 if zero
	RatePerSec   float64        // new connections a second from one address, 500 if zero
	Burst        int            // 1,000 if zero
	PROXYFrom    []netip.Prefix // balancers: their connections MUST begin with a PROXY v2 header, nobody else's may
	DrainTimeout time.Duration  // connections live that long after ctx is done; 0: not at all
	// Drained ends the drain early, when it is closed: connections that hold
	// no session have nothing to wait for. May be nil.
	Drained <-chan struct{}
	// Handle serves one connection and closes it. It MUST NOT return before
	// its goroutines have ended. Its conn has the real source as RemoteAddr.
	Handle  func(ctx context.Context, conn net.Conn)
	Metrics *Metrics     // may be nil
	Log     *slog.Logger // slog.Default if nil
}

const (
	headerTimeout = 5 * time.Second        // for a balancer's PROXY header
	closeGrace    = 5 * time.Second        // from the end of a drain to closed transports
	acceptPause   = 100 * time.Millisecond // after an Accept that failed, such as for want of descriptors
)

// errDrained is the cause of a connection's context when the drain is over.
var errDrained = errors.New("the gateway is stopping")

// Serve is step 1: it accepts connections until ctx is done, then drains, and
// returns when every connection has ended. It closes ln.
func Serve(ctx context.Context, ln net.Listener, o ServeOptions) error {
	if o.Handle == nil {
		return errors.New("serve: nothing to handle connections with")
	}
	if o.Log == nil {
		o.Log = slog.Default()
	}
	s := &server{o: o, limits: newLimits(o), conns: map[net.Conn]struct{}{}}
	s.ctx, s.cancel = context.WithCancelCause(context.WithoutCancel(ctx))
	defer s.cancel(errDrained)
	stop := context.AfterFunc(ctx, func() { ln.Close() })
	defer stop()
	err := s.accept(ctx, ln)
	s.drain()
	return err
}

type server struct {
	o      ServeOptions
	limits *limits
	ctx    context.Context // of the connections; outlives the listener by the drain
	cancel context.CancelCauseFunc

	mu    sync.Mutex
	conns map[net.Conn]struct{}
	jobs  sync.WaitGroup
}

func (s *server) accept(ctx context.Context, ln net.Listener) error {
	for {
		conn, err := ln.Accept()
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			if errors.Is(err, net.ErrClosed) {
				return fmt.Errorf("serve %s: the listener was closed", s.o.Name)
			}
			// Too many open files, most of all: connections that end free some.
			s.o.Log.Error("accept a connection", "listener", s.o.Name, "err", err)
			select {
			case <-time.After(acceptPause):
				continue
			case <-ctx.Done():
				return nil
			}
		}
		if !s.limits.enter() {
			s.refuse(conn, "total")
			continue
		}
		s.mu.Lock()
		s.conns[conn] = struct{}{}
		s.mu.Unlock()
		s.jobs.Go(func() {
			defer s.done(conn)
			s.serve(conn)
		})
	}
}

// serve handles one connection, whatever happens in there. Its frame lasts as
// long as the connection, and there are many.
func (s *server) serve(conn net.Conn) {
	conn, leave := s.admit(conn)
	if conn == nil {
		return
	}
	defer leave()
	s.o.Metrics.open(s.o.Name, 1)
	defer s.o.Metrics.open(s.o.Name, -1)
	ctx, cancel := context.WithCancel(s.ctx)
	defer cancel()
	// The error has been logged and counted; the peer sees a closed connection.
	_ = Contain(s.o.Log, s.o.Metrics, s.o.Name, func() error {
		s.o.Handle(ctx, conn)
		return nil
	})
	conn.Close()
}

// admit refuses a connection (nil), or knows its real source and counts it
// until leave is called.
func (s *server) admit(conn net.Conn) (real net.Conn, leave func()) {
	source := addrOf(conn.RemoteAddr())
	if s.limits.balancer(source) {
		addr, err := readSource(conn)
		if err != nil {
			s.refuse(conn, "proxy_header")
			if !errors.Is(err, errNoHeader) { // a health check says nothing
				s.o.Log.Warn("refuse a balancer's connection", "listener", s.o.Name, "balancer", source, "err", err)
			}
			return nil, nil
		}
		if addr.IsValid() {
			conn = &sourceConn{Conn: conn, remote: net.TCPAddrFromAddrPort(addr)}
			source = addr.Addr()
		}
	}
	leave, why := s.limits.take(source)
	if why != "" {
		s.refuse(conn, why)
		return nil, nil
	}
	return conn, leave
}

func (s *server) refuse(conn net.Conn, why string) {
	s.o.Metrics.refuse(s.o.Name, why)
	conn.Close()
}

func (s *server) done(conn net.Conn) {
	s.mu.Lock()
	delete(s.conns, conn)
	s.mu.Unlock()
	s.limits.leave()
}

// drain waits for the connections, then tells them, then closes them.
func (s *server) drain() {
	ended := make(chan struct{})
	go func() {
		s.jobs.Wait()
		close(ended)
	}()
	if waitFor(ended, s.o.Drained, s.o.DrainTimeout) {
		return
	}
	s.cancel(errDrained)
	if waitFor(ended, nil, closeGrace) {
		return
	}
	s.mu.Lock()
	for conn := range s.conns {
		go conn.Close()
	}
	s.mu.Unlock()
	<-ended // handlers MUST end when their connection does
}

func waitFor(done, enough <-chan struct{}, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-done:
		return true
	case <-enough:
	case <-t.C:
	}
	return false
}

func addrOf(a net.Addr) netip.Addr {
	if t, ok := a.(*net.TCPAddr); ok {
		return t.AddrPort().Addr().Unmap()
	}
	if ap, err := netip.ParseAddrPort(a.String()); err == nil {
		return ap.Addr().Unmap()
	}
	return netip.Addr{} // a unix socket: one source for all
}
