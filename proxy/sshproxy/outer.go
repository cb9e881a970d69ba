package sshproxy

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/time/rate"

	"jit-gateway/approval"
	"jit-gateway/ca"
	"jit-gateway/internal/audit"
	"jit-gateway/internal/dialogue"
	"jit-gateway/internal/display"
	"jit-gateway/internal/identity"
	"jit-gateway/internal/inventory"
	"jit-gateway/proxy"
)

// Limits of one outer connection.
const (
	maxOuterChannels = 256
	maxUnknownKeys   = 8 // named in the banner
)

// An outer is a user's connection to the gateway.
type outer struct {
	s        *Server
	sc       *ssh.ServerConn
	chans    <-chan ssh.NewChannel
	reqs     <-chan *ssh.Request
	id       proxy.Identity // User is zero for a key that enrols; it is read again, under mu
	key      ssh.PublicKey
	ctx      context.Context
	cancel   context.CancelCauseFunc
	raw      *proxy.Conn
	client   string
	channels atomic.Int32
	wg       sync.WaitGroup

	mu   sync.Mutex
	term []dialogue.Terminal // attached prompts, the newest last
}

// ServeConn handles one connection of a user until it ends, or ctx does. It
// closes conn.
func (s *Server) ServeConn(ctx context.Context, conn net.Conn) {
	defer conn.Close()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	buffered := proxy.Buffered(conn)
	defer buffered.Close()
	var o *outer
	err := s.aside("ssh login", func() (err error) {
		o, err = s.greet(ctx, cancel, buffered)
		return err
	})
	if err != nil {
		return // told, counted and logged
	}
	defer o.sc.Close()
	s.enter(o)
	defer s.leave(o)
	o.serve()
}

// greet is step 2: the outer handshake.
func (s *Server) greet(ctx context.Context, cancel context.CancelCauseFunc, conn *proxy.Conn) (*outer, error) {
	limit := time.AfterFunc(s.o.LoginTime, func() { conn.Abort() })
	defer limit.Stop()
	h, init, err := hello(&watchedConn{Conn: conn, gone: cancel})
	if err != nil {
		s.o.Metrics.login("no_ssh")
		return nil, err
	}
	auth := &outerAuth{s: s, ctx: ctx, source: sourceOf(conn.RemoteAddr())}
	if ip, err := netip.ParseAddr(auth.source); err == nil && !s.o.AllowTargetSources {
		if t, is := s.addrs.source(ip); is {
			s.o.Metrics.login("target_source")
			auth.fromTarget = t.Name
		}
	}
	config := newConfig(init)
	auth.configure(config)
	for _, k := range s.o.Authority.OuterSigners() {
		config.AddHostKey(k)
	}
	sc, chans, reqs, err := ssh.NewServerConn(h, config)
	if err != nil {
		s.o.Metrics.login("failed")
		auth.failed(err)
		return nil, err
	}
	promptly(conn, sc.Conn)
	o, err := s.welcome(ctx, cancel, sc, conn)
	if err != nil {
		sc.Close()
		return nil, err // G5: no log, no session
	}
	o.sc, o.chans, o.reqs = sc, chans, reqs
	return o, nil
}

func (s *Server) enter(o *outer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.outers[o] = struct{}{}
}

func (s *Server) leave(o *outer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.outers, o)
}

// welcome is who has logged in, in the log too.
func (s *Server) welcome(ctx context.Context, cancel context.CancelCauseFunc, sc *ssh.ServerConn, raw *proxy.Conn) (*outer, error) {
	o := &outer{s: s, ctx: ctx, cancel: cancel, raw: raw, client: string(sc.ClientVersion())}
	o.key, _ = sc.Permissions.ExtraData[offeredKey{}].(ssh.PublicKey)
	o.id.User, _ = sc.Permissions.ExtraData[verifiedUser{}].(identity.User)
	d, _ := sc.Permissions.ExtraData[delegated{}].(ca.Delegation)
	o.id.Grant = d.Grant
	o.id.Caller = approval.Caller{UserID: o.id.User.ID, KeyFingerprint: ssh.FingerprintSHA256(o.key), Source: sourceOf(raw.RemoteAddr()), Via: "ssh"}
	detail := map[string]string{"fingerprint": o.id.Caller.KeyFingerprint, "client": display.Line(o.client, 100)}
	if d.Grant != "" { // the registered key that the certificate stands for
		detail["certificate"] = strconv.FormatUint(d.Serial, 10)
		o.id.Caller.KeyFingerprint = d.KeyFingerprint
	}
	s.o.Metrics.login("ok")
	if o.id.User.ID == "" {
		return o, nil
	}
	return o, s.audit(ctx, audit.Event{Type: audit.LoginPassed, Outcome: audit.Success, Actor: o.actor(), User: o.id.User.ID, Grant: d.Grant, Detail: detail})
}

func (o *outer) actor() audit.Actor {
	return audit.Actor{ID: o.id.Caller.UserID, Name: o.identity().User.Name, Source: o.id.Caller.Source, Via: "ssh"}
}

// serve runs the connection's channels until it ends.
func (o *outer) serve() {
	defer o.wg.Wait() // who starts a goroutine waits for it
	defer o.cancel(errClientGone)
	stop := context.AfterFunc(o.ctx, func() { o.sc.Close() })
	defer stop()
	pace := newPace()
	each(o.ctx, o.chans, o.reqs, func(nc ssh.NewChannel) { o.open(nc, pace) }, o.global)
}

func (o *outer) open(nc ssh.NewChannel, pace *rate.Limiter) {
	if o.channels.Add(1) > maxOuterChannels {
		o.channels.Add(-1)
		nc.Reject(ssh.ResourceShortage, "too many channels at once")
		return
	}
	o.wg.Go(func() {
		defer o.channels.Add(-1)
		if proxy.Contain(o.s.o.Log, nil, "ssh channel", func() error { return o.channel(nc, pace) }) != nil {
			o.sc.Close()
		}
	})
}

// channel serves one channel. Its error is a panic.
func (o *outer) channel(nc ssh.NewChannel, pace *rate.Limiter) error {
	if pace.Wait(o.ctx) != nil {
		return nil
	}
	var serve func()
	err := o.s.aside("ssh channel", func() error {
		serve = o.purpose(nc)
		return nil
	})
	if err == nil && serve != nil {
		serve()
	}
	return err
}

// purpose decides what a channel is for; nil: it was refused.
func (o *outer) purpose(nc ssh.NewChannel) (serve func()) {
	if err := o.recheck(o.ctx); err != nil {
		nc.Reject(ssh.Prohibited, err.Error())
		return nil
	}
	switch nc.ChannelType() {
	case "session":
		return func() { o.command(nc) }
	case "direct-tcpip":
		return o.direct(nc)
	}
	o.refuse(nc, "only sessions and connections to targets are possible here")
	return nil
}

// recheck reads the user and the key again: ControlMaster keeps an outer
// connection for days.
func (o *outer) recheck(ctx context.Context) error {
	if o.id.Caller.UserID == "" {
		return nil // a key that enrols: the command interface knows
	}
	u, _, err := o.s.o.Users.UserByKey(ctx, o.id.Caller.KeyFingerprint)
	switch {
	case err != nil || u.ID != o.id.Caller.UserID:
		return errors.New("this key is not registered any more")
	case !u.Usable(o.s.o.Now()):
		return errors.New("your account is disabled")
	}
	if err := o.s.delegationLive(ctx, o.id.Caller, o.id.Grant); err != nil {
		return err
	}
	o.mu.Lock()
	o.id.User = u
	o.mu.Unlock()
	return nil
}

// identity is who the connection belongs to, with the prompt that is open on
// it, if there is one.
func (o *outer) identity() proxy.Identity {
	o.mu.Lock()
	defer o.mu.Unlock()
	id := o.id
	if n := len(o.term); n > 0 {
		id.Terminal = o.term[n-1]
	}
	return id
}

// global answers a request that belongs to no channel. A keepalive wants any
// answer; everything else is refused.
func (o *outer) global(r *ssh.Request) {
	if r.Type == "tcpip-forward" || strings.HasPrefix(r.Type, "streamlocal-forward") {
		o.refused("remote forwarding", "the gateway listens for nobody")
	}
	r.Reply(false, nil)
}

func (o *outer) refuse(nc ssh.NewChannel, why string) {
	o.refused(nc.ChannelType(), why)
	nc.Reject(ssh.Prohibited, why)
}

func (o *outer) refused(what, why string) {
	o.s.audit(o.ctx, audit.Event{Type: audit.SessionChannel, Outcome: audit.Denied, Actor: o.actor(), User: o.id.Caller.UserID, Reason: why,
		Detail: map[string]string{"channel": display.Line(what, 100)}})
}

// direct is step 3: a channel to a target. Where it leads is decided here; what
// is returned serves it.
func (o *outer) direct(nc ssh.NewChannel) (serve func()) {
	d, err := parseDirect(nc.ExtraData())
	if err != nil {
		o.refuse(nc, err.Error())
		return nil
	}
	if o.id.Caller.UserID == "" {
		o.refuse(nc, "this key is not registered")
		return nil
	}
	t, known := o.s.o.Inventory.Target(inventory.Normalize(d.Host))
	if d.Port != 22 && (!known || !o.sees(o.ctx, t)) {
		o.refuse(nc, unknownTarget(d.Host))
		return nil
	}
	if !known { // looks like any other until it is refused as one that is forbidden is
		t = inventory.Target{Name: inventory.Normalize(d.Host), Kind: inventory.SSH, SSH: &inventory.SSHTarget{}}
	}
	if t.Kind != inventory.SSH {
		return func() { o.tunnel(o.ctx, nc, t) }
	}
	if _, p := hostPort(t); known && d.Port != 22 && d.Port != uint32(p) {
		o.refuse(nc, fmt.Sprintf("%s is reached by ssh only; forward port %d inside a session: ssh -L … -J %s %s", display.Line(d.Host, 64), d.Port, o.s.o.Name, display.Line(d.Host, 64)))
		return nil
	}
	p := &peer{outer: o, id: o.identity(), key: o.key, target: t, requested: d.Host, stdio: d.stdio()}
	return func() {
		o.s.accept(o.ctx, o, nc, func(ctx context.Context, conn net.Conn) { o.s.inner(ctx, p, conn) })
	}
}

// tunnel hands a channel to the handler of a database.
func (o *outer) tunnel(ctx context.Context, nc ssh.NewChannel, t inventory.Target) {
	if o.id.Grant != "" {
		o.refuse(nc, "a certificate for a grant opens SSH hosts alone")
		return
	}
	var h proxy.Handler
	if o.s.o.Tunnel != nil {
		h = o.s.o.Tunnel(t.Kind)
	}
	if h == nil || !o.sees(ctx, t) {
		o.refuse(nc, unknownTarget(t.Name))
		return
	}
	o.s.accept(ctx, o, nc, func(ctx context.Context, conn net.Conn) {
		if err := h.Serve(ctx, o.identity(), t, "", conn); err != nil {
			o.s.o.Log.Info("tunnel ended", "user", o.identity().User.Name, "target", t.Name, "error", err)
		}
	})
}

// sees reports whether some rule lets the user ask for the target: to all
// others it does not exist.
func (o *outer) sees(ctx context.Context, t inventory.Target) bool {
	views, err := o.s.o.Approvals.Targets(ctx, o.id.Caller)
	if err != nil {
		return false
	}
	for _, v := range views {
		if v.Target.Name == t.Name {
			return true
		}
	}
	return false
}

func unknownTarget(host string) string {
	return fmt.Sprintf("%s: there is no such target, or no rule lets you ask for it", display.Line(host, 64))
}

// accept turns a channel into a connection and serves it.
func (s *Server) accept(ctx context.Context, o *outer, nc ssh.NewChannel, serve func(context.Context, net.Conn)) {
	ch, reqs, err := nc.Accept()
	if err != nil {
		return
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	conn := &chanConn{Channel: ch, local: o.raw.LocalAddr(), remote: o.raw.RemoteAddr()}
	defer conn.Close()
	o.wg.Go(func() { ssh.DiscardRequests(reqs) })
	serve(ctx, conn)
}
