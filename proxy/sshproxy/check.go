package sshproxy

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"

	"golang.org/x/crypto/ssh"

	"jit-gateway/approval"
	"jit-gateway/ca"
	"jit-gateway/internal/audit"
	"jit-gateway/internal/display"
	"jit-gateway/internal/inventory"
	"jit-gateway/proxy"
)

// A Finding is one thing that Check looked at.
type Finding struct {
	What   string
	OK     bool
	Detail string
	Fix    string // the file and the line to write there, if not OK
}

// A checker gathers findings about one target.
type checker struct {
	s        *Server
	t        inventory.Target
	v        *hostVerifier // nil if the target has neither pin nor host CA
	standing bool
	findings []Finding
	logins   []*loginProbe
}

func (k *checker) ok(what, detail string) {
	k.findings = append(k.findings, Finding{What: what, OK: true, Detail: detail})
}

func (k *checker) bad(what, detail, fix string) {
	k.findings = append(k.findings, Finding{What: what, Detail: detail, Fix: fix})
}

// Check looks at a host as the gateway would use it, and tells what is wrong
// with the lines that set it right. With standing it also lists the ways into
// the host that do not lead through the gateway, as far as they can be seen
// from outside.
//
// It never logs in: it asks the host whether it would accept a certificate
// that nobody can use (see ca.ProbeCert). Only hosts that the target is
// reached through are logged in to, as they are for sessions.
func (s *Server) Check(ctx context.Context, t inventory.Target, standing bool) ([]Finding, error) {
	if t.SSH == nil {
		return nil, fmt.Errorf("target %q is no SSH host", t.Name)
	}
	k := &checker{s: s, t: t, standing: standing}
	if !k.host(ctx) {
		return k.findings, context.Cause(ctx)
	}
	if t.SSH.Principals == "plain" && t.SSH.Key == "" {
		k.ok("principals", fmt.Sprintf("warning: plain. A certificate for %s is good on every host that trusts the gateway's CA. Scoped: remove principals: plain, and set %s there to files that name login@%s", t.Name, "AuthorizedPrincipalsFile", t.Name))
	}
	for _, login := range t.SSH.Logins {
		p := &loginProbe{k: k, login: login}
		if err := p.ask(ctx); err != nil {
			return k.findings, err
		}
		k.logins = append(k.logins, p)
	}
	k.judge()
	if standing {
		k.others()
	}
	return k.findings, nil
}

// errSeen ends a handshake when its host key came.
var errSeen = errors.New("seen enough")

// A look is one connection up to the end of the key exchange.
type look struct {
	conn   net.Conn
	hops   []*upstream
	source netip.Addr // the address that the host sees
	first  *firstBytes
	key    ssh.PublicKey // that the host showed
	why    error         // what is wrong with it
}

func (k *checker) connect(ctx context.Context) (*look, error) {
	conn, hops, source, err := k.s.connect(ctx, k.t, approval.Admission{}, 0)
	if err != nil {
		return nil, err
	}
	first := &firstBytes{Conn: proxy.Buffered(conn)}
	return &look{conn: first, hops: hops, source: source, first: first}, nil
}

func (l *look) close() {
	l.conn.Close()
	for i := len(l.hops) - 1; i >= 0; i-- {
		l.hops[i].raw.Close()
	}
}

// handshake talks to the host until c ends it, within the dial time.
func (k *checker) handshake(ctx context.Context, l *look, c *ssh.ClientConfig) error {
	stop := context.AfterFunc(ctx, func() { l.conn.Close() })
	defer stop()
	c.ClientVersion = serverVersion
	sc, chans, reqs, err := ssh.NewClientConn(l.conn, k.t.Name, c)
	if err == nil {
		go ssh.DiscardRequests(reqs)
		go func() {
			for nc := range chans {
				nc.Reject(ssh.Prohibited, "not here")
			}
		}()
		sc.Close()
		return nil
	}
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	return err
}

// firstBytes remembers how the other side began to talk.
type firstBytes struct {
	net.Conn
	got []byte
}

const maxFirst = 255

func (f *firstBytes) Read(p []byte) (int, error) {
	n, err := f.Conn.Read(p)
	if room := maxFirst - len(f.got); room > 0 {
		f.got = append(f.got, p[:min(n, room)]...)
	}
	return n, err
}

// ssh reports whether it said so; lines may come before (RFC 4253, section 4.2).
func (f *firstBytes) ssh() bool { return strings.Contains("\n"+string(f.got), "\nSSH-") }

func (f *firstBytes) line() string {
	line, _, _ := strings.Cut(string(f.got), "\n")
	return display.Line(strings.TrimRight(line, "\r"), 80)
}

func (k *checker) within(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(ctx, k.s.o.DialTime, fmt.Errorf("it did not answer within %s", k.s.o.DialTime))
}

// A loginProbe is what the host says about one login.
type loginProbe struct {
	k          *checker
	login      string
	accepted   bool     // what sessions would show
	otherFrom  bool     // the same, but without the source address
	other      bool     // the other form of principal, from anywhere
	none       bool     // it lets anybody in
	methods    []string // that it offers
	sources    string
	configured ssh.PublicKey // the key for hosts without certificates
	err        error
}

// probes are asked in turn, each if the ones before leave the question open.
func (p *loginProbe) probes(source netip.Addr) ([]func() (ssh.PublicKey, error), []*bool, error) {
	k := p.k
	if k.t.SSH.Key != "" {
		signers, err := k.s.configuredKey(k.t)
		if err != nil {
			return nil, nil, err
		}
		p.configured = signers[0].PublicKey()
		return []func() (ssh.PublicKey, error){func() (ssh.PublicKey, error) { return p.configured, nil }}, []*bool{&p.accepted}, nil
	}
	from := k.s.sources(source)
	p.sources = strings.Join(from, ", ")
	cert := func(o ca.ProbeOptions) func() (ssh.PublicKey, error) {
		return func() (ssh.PublicKey, error) { return k.sign(p.login, o) }
	}
	return []func() (ssh.PublicKey, error){
		cert(ca.ProbeOptions{SourceAddresses: from}),
		cert(ca.ProbeOptions{}),
		cert(ca.ProbeOptions{OtherPrincipal: true}),
	}, []*bool{&p.accepted, &p.otherFrom, &p.other}, nil
}

// sign makes a probe's certificate, which the log knows like every signature
// of the CA.
func (k *checker) sign(login string, o ca.ProbeOptions) (*ssh.Certificate, error) {
	c, err := k.s.o.Authority.ProbeCert(k.t, login, o)
	if err != nil {
		return nil, err
	}
	err = k.s.audit(context.Background(), audit.Event{Type: audit.CredentialMinted, Outcome: audit.Success, Actor: audit.Gateway, Target: k.t.Name,
		Reason: "target check: a question to the host, over a key that nobody has",
		Detail: map[string]string{"kind": "ssh_probe", "name": c.ValidPrincipals[0], "login": login, "serial": fmt.Sprint(c.Serial)}})
	return c, err
}

// ask asks the host about one login. An error is about the gateway; what is
// wrong with the host becomes a finding.
func (p *loginProbe) ask(ctx context.Context) error {
	ctx, cancel := p.k.within(ctx)
	defer cancel()
	l, err := p.k.connect(ctx)
	if err != nil {
		p.err = err
		return nil
	}
	defer l.close()
	probes, answers, err := p.probes(l.source)
	if err != nil {
		p.err = err
		return nil
	}
	var own error
	asked := -1
	var probe *ca.Probe
	err = p.k.handshake(ctx, l, &ssh.ClientConfig{
		User: p.login, HostKeyCallback: p.k.v.check, HostKeyAlgorithms: p.k.v.algorithms,
		AuthCallback: func(c *ssh.ClientAuthContext) (ssh.AuthMethod, error) {
			if asked < 0 {
				p.methods = c.AllowedMethods
			} else {
				*answers[asked] = probe.Accepted
			}
			asked++
			if asked == 1 && p.accepted {
				asked++ // the source address is not what it minds
			}
			if asked >= len(probes) || !p.offers("publickey") || asked == 2 && p.accepted && !p.k.standing {
				return nil, errSeen
			}
			key, err := probes[asked]()
			if err != nil {
				own = err
				return nil, err
			}
			probe = ca.NewProbe(key)
			return ssh.PublicKeys(probe), nil
		},
	})
	switch {
	case own != nil:
		return fmt.Errorf("ask about login %s: %w", p.login, own)
	case err == nil:
		p.none = true
	case p.k.v.err != nil:
		p.err = p.k.v.err
	case asked < 0:
		p.err = err
	case asked == 0 && p.offers("publickey"):
		p.err = err // it hung up instead of an answer
	}
	return nil
}
