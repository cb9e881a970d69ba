package sshproxy

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/crypto/ssh"

	"jit-gateway/approval"
	"jit-gateway/ca"
	"jit-gateway/internal/inventory"
	"jit-gateway/proxy"
	"jit-gateway/session"
)

// An upstream is the connection to a target.
type upstream struct {
	ssh.Conn
	chans <-chan ssh.NewChannel
	reqs  <-chan *ssh.Request
	raw   *proxy.Conn
	via   []*upstream // hops in between, the nearest to us first
}

// Close ends the connection and the hops that carry it.
func (u *upstream) Close() error {
	err := u.raw.Close()
	for i := len(u.via) - 1; i >= 0; i-- {
		u.via[i].raw.Close()
	}
	return err
}

// dial is steps 7 and 8: connect, verify who answers, and only then mint.
func (s *Server) dial(ctx context.Context, sess *session.Session, adm approval.Admission) (*upstream, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, s.o.DialTime, fmt.Errorf("it did not answer within %s", s.o.DialTime))
	defer cancel()
	t := adm.Target()
	if t.SSH == nil {
		return nil, errors.New("not an SSH target")
	}
	conn, hops, source, err := s.connect(ctx, t, adm, 0)
	if err != nil {
		return nil, err
	}
	m := &mint{s: s, ctx: ctx, sess: sess, adm: adm, source: source}
	defer m.destroy()
	up, err := s.login(ctx, conn, t, adm.Login(), m.signers)
	if err != nil {
		for i := len(hops) - 1; i >= 0; i-- {
			hops[i].raw.Close()
		}
		return nil, m.explain(err)
	}
	up.via = hops
	return up, nil
}

// connect opens a transport to a target, through its via hosts if it has any.
// source is the address that the target will see.
func (s *Server) connect(ctx context.Context, t inventory.Target, adm approval.Admission, depth int) (net.Conn, []*upstream, netip.Addr, error) {
	host, port := hostPort(t)
	addr := net.JoinHostPort(host, strconv.Itoa(int(port)))
	var none netip.Addr
	if t.SSH.Via == "" {
		conn, err := proxy.Dial(ctx, addr)
		if err != nil {
			return nil, nil, none, dialError(ctx, err)
		}
		local, _ := netip.ParseAddr(sourceOf(conn.LocalAddr()))
		return conn, nil, local, nil
	}
	if depth >= maxDepth {
		return nil, nil, none, errors.New("its via hosts form a circle")
	}
	hop, ok := s.o.Inventory.Target(t.SSH.Via)
	if !ok || hop.SSH == nil {
		return nil, nil, none, fmt.Errorf("it is reached through %q, which is not an SSH target", t.SSH.Via)
	}
	if hop.SSH.Key == "" || len(hop.SSH.Logins) == 0 {
		// A certificate would need an admission for that host (G1).
		return nil, nil, none, fmt.Errorf("it is reached through %q, which has no configured key and login for the gateway", hop.Name)
	}
	conn, hops, _, err := s.connect(ctx, hop, adm, depth+1)
	if err != nil {
		return nil, nil, none, fmt.Errorf("through %q: %w", hop.Name, err)
	}
	h, err := s.login(ctx, conn, hop, hop.SSH.Logins[0], func() ([]ssh.Signer, error) { return s.configuredKey(hop) })
	if err != nil {
		return nil, nil, none, fmt.Errorf("through %q: %w", hop.Name, err)
	}
	hops = append(hops, h)
	go ssh.DiscardRequests(h.reqs)
	go func() {
		for nc := range h.chans {
			nc.Reject(ssh.Prohibited, "not here")
		}
	}()
	seen, _ := netip.ParseAddr(sourceOf(conn.RemoteAddr()))
	payload := ssh.Marshal(struct {
		Host       string
		Port       uint32
		OriginHost string
		OriginPort uint32
	}{host, uint32(port), "127.0.0.1", 65535})
	ch, reqs, err := h.OpenChannel("direct-tcpip", payload)
	if err != nil {
		h.raw.Close()
		return nil, nil, none, fmt.Errorf("through %q: %w", hop.Name, err)
	}
	go ssh.DiscardRequests(reqs)
	return &chanConn{Channel: ch, local: conn.LocalAddr(), remote: conn.RemoteAddr()}, hops, seen, nil
}

// login verifies who answers on conn and logs in. It closes conn on failure.
func (s *Server) login(ctx context.Context, conn net.Conn, t inventory.Target, user string, signers func() ([]ssh.Signer, error)) (*upstream, error) {
	v, err := newHostVerifier(t, s.o.Authority.HostCAKeys(), s.o.Now)
	if err != nil {
		conn.Close()
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	buffered := proxy.Buffered(conn)
	c, chans, reqs, err := ssh.NewClientConn(buffered, t.Name, &ssh.ClientConfig{
		User:              user,
		Auth:              []ssh.AuthMethod{ssh.PublicKeysCallback(signers)},
		ClientVersion:     serverVersion,
		HostKeyCallback:   v.check,
		HostKeyAlgorithms: v.algorithms,
	})
	if err != nil {
		buffered.Close()
		if cause := context.Cause(ctx); cause != nil {
			return nil, cause
		}
		if v.err != nil {
			return nil, v.err
		}
		return nil, err
	}
	promptly(buffered, c)
	return &upstream{Conn: c, chans: chans, reqs: reqs, raw: buffered}, nil
}

// configuredKey is the fallback for hosts that cannot take certificates.
func (s *Server) configuredKey(t inventory.Target) ([]ssh.Signer, error) {
	if s.o.Secrets == nil {
		return nil, errors.New("the gateway has no secrets to log in with")
	}
	pem, err := s.o.Secrets(t.SSH.Key)
	if err != nil {
		return nil, fmt.Errorf("the configured key cannot be read: %w", err)
	}
	k, err := ssh.ParsePrivateKey([]byte(pem))
	if err != nil {
		return nil, errors.New("the configured key is not a private key")
	}
	return []ssh.Signer{k}, nil
}

// A mint is step 8: intent, then signature, after the target was verified.
// The SSH library calls signers when the key exchange is done.
type mint struct {
	s       *Server
	ctx     context.Context
	sess    *session.Session
	adm     approval.Admission
	source  netip.Addr
	forget  func() // drops the key
	offered bool
	err     error
}

func (m *mint) signers() ([]ssh.Signer, error) {
	signers, err := m.make()
	m.offered, m.err = err == nil, err
	return signers, err
}

func (m *mint) make() ([]ssh.Signer, error) {
	if t := m.adm.Target(); t.SSH.Key != "" {
		if err := m.sess.Audit(m.ctx, configuredKeyEvent(t, m.adm.Login())); err != nil {
			return nil, err
		}
		return m.s.configuredKey(t)
	}
	c := m.adm.Rule().SSH()
	signer, forget, err := m.sess.MintSSH(m.ctx, m.s.o.Authority, ca.UserCertOptions{
		SourceAddresses: m.s.sources(m.source), ForceCommand: c.ForceCommand, Extensions: ca.ExtensionsFor(c),
	})
	if err != nil {
		return nil, err
	}
	m.forget = forget
	return []ssh.Signer{signer}, nil
}

// sources bind a certificate to the gateway, which the target sees come from
// source if nothing is configured.
func (s *Server) sources(source netip.Addr) []string {
	var out []string
	for _, p := range s.o.Egress {
		out = append(out, p.String())
	}
	if len(out) == 0 && source.IsValid() {
		out = append(out, source.Unmap().WithZone("").String())
	}
	return out
}

// destroy drops the key: authentication is done, one way or the other.
func (m *mint) destroy() {
	if m.forget != nil {
		m.forget()
	}
}

// explain says what went wrong in the words of who can mend it.
func (m *mint) explain(err error) error {
	switch {
	case m.err != nil:
		return m.err
	case m.offered && strings.Contains(err.Error(), "unable to authenticate"):
		if m.adm.Target().SSH.Key != "" {
			return fmt.Errorf("the host does not accept the configured key for %q", m.adm.Login())
		}
		return fmt.Errorf("the host does not accept the gateway's certificate for %q: check TrustedUserCAKeys and the principals file there (target check tells more)", m.adm.Login())
	}
	return err
}

// dialError is a connection failure as a sentence.
func dialError(ctx context.Context, err error) error {
	switch {
	case context.Cause(ctx) != nil:
		return context.Cause(ctx)
	case errors.Is(err, syscall.ECONNREFUSED):
		return errors.New("cannot be reached: connection refused")
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
		return errors.New("cannot be reached: no route to it")
	}
	var dns *net.DNSError
	if errors.As(err, &dns) {
		return fmt.Errorf("cannot be reached: its address %q is not known", dns.Name)
	}
	return fmt.Errorf("cannot be reached: %w", err)
}
