package sshproxy

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync"

	"golang.org/x/crypto/ssh"

	"jit-gateway/internal/audit"
	"jit-gateway/internal/display"
	"jit-gateway/internal/identity"
	"jit-gateway/internal/store"
)

// Keys of Permissions.ExtraData. Decisions are taken from the Permissions of
// the authentication that succeeded, never from what a callback saw on the way
// (CVE-2024-45337).
type (
	offeredKey   struct{}
	verifiedUser struct{}
	admitted     struct{}
	delegated    struct{}
)

// outerAuth is step 2: whose key is it?
type outerAuth struct {
	s      *Server
	ctx    context.Context
	source string
	// fromTarget is the target that the connection comes from: refused.
	fromTarget string

	mu      sync.Mutex
	unknown []string // fingerprints that nobody registered
	cert    string   // why a certificate was refused
	name    string
	told    bool
}

func (a *outerAuth) configure(c *ssh.ServerConfig) {
	c.PublicKeyCallback = a.offered
	c.VerifiedPublicKeyCallback = a.verified
	// Clients come here when no key was accepted: the moment to say why.
	// Saying it at each unknown key would show it to everyone whose agent
	// holds another one too.
	c.KeyboardInteractiveCallback = a.explain
	c.PreAuthConnCallback = func(conn ssh.ServerPreAuthConn) { a.s.ids.hold(a.ctx, conn.SessionID()) }
}

// offered says whether a key could log in, before its signature.
func (a *outerAuth) offered(conn ssh.ConnMetadata, key ssh.PublicKey) (*ssh.Permissions, error) {
	if a.fromTarget != "" {
		return nil, errors.New("logins from targets are refused")
	}
	if cert, isCert := key.(*ssh.Certificate); isCert {
		return a.offeredCert(conn, cert)
	}
	fp := ssh.FingerprintSHA256(key)
	_, _, err := a.s.o.Users.UserByKey(a.ctx, fp)
	a.mu.Lock()
	defer a.mu.Unlock()
	a.name = conn.User()
	switch {
	case err == nil:
		return &ssh.Permissions{}, nil
	case !errors.Is(err, store.ErrNotFound):
		a.s.o.Log.Error("look up key", "error", err)
		return nil, errors.New("the gateway cannot read its users")
	}
	if a.mayEnrol(conn.User()) {
		return &ssh.Permissions{}, nil
	}
	if len(a.unknown) < maxUnknownKeys {
		a.unknown = append(a.unknown, key.Type()+" "+fp)
	}
	return nil, errors.New("unknown key")
}

// enrolName is the outer user name under which any unknown key may log in,
// to register itself with a code.
const enrolName = "enroll"

// mayEnrol says under which names an unknown key may log in for enrolling:
// those that nobody logs in with by a key. Under the others it is refused, so
// that the next key of the agent gets its turn.
func (a *outerAuth) mayEnrol(name string) bool {
	if name == enrolName {
		return true
	}
	u, err := a.s.o.Users.UserByName(a.ctx, name)
	if err != nil {
		return errors.Is(err, store.ErrNotFound)
	}
	keys, err := a.s.o.Users.Keys(a.ctx, u.ID)
	return err == nil && len(keys) == 0
}

// verified decides after the signature.
func (a *outerAuth) verified(conn ssh.ConnMetadata, key ssh.PublicKey, _ *ssh.Permissions, _ string) (*ssh.Permissions, error) {
	if cert, isCert := key.(*ssh.Certificate); isCert {
		return a.verifiedCert(conn, cert)
	}
	p := &ssh.Permissions{ExtraData: map[any]any{offeredKey{}: key}}
	u, _, err := a.s.o.Users.UserByKey(a.ctx, ssh.FingerprintSHA256(key))
	switch {
	case errors.Is(err, store.ErrNotFound) && a.mayEnrol(conn.User()):
		return p, nil // may run enroll alone
	case err != nil:
		return nil, errors.New("the key cannot be looked up")
	case !u.Usable(a.s.o.Now()):
		return nil, a.deny(u, conn, "Your account is disabled.")
	case !mayComeFrom(u, a.source):
		return nil, a.deny(u, conn, fmt.Sprintf("The machine %s may not come from %s; an administrator says from where: user set %s --source NETWORK", u.Name, display.Line(a.source, 64), u.Name))
	case conn.User() != u.Name && conn.User() != enrolName:
		return nil, a.deny(u, conn, fmt.Sprintf("This key belongs to %s. Log in with that name: ssh %s@%s", display.Line(u.Name, 64), display.Line(u.Name, 64), a.s.o.Name))
	}
	p.ExtraData[verifiedUser{}] = u
	return p, nil
}

// mayComeFrom holds a machine to its addresses before anything else.
func mayComeFrom(u identity.User, source string) bool {
	a, err := netip.ParseAddr(source)
	return u.MayComeFrom(a) && (err == nil || u.Kind != identity.Machine)
}

// deny refuses a key that was verified, in words.
func (a *outerAuth) deny(u identity.User, conn ssh.ConnMetadata, text string) error {
	a.mu.Lock()
	a.told = true
	a.mu.Unlock()
	a.s.audit(a.ctx, audit.Event{Type: audit.LoginFailed, Outcome: audit.Denied, Actor: audit.Actor{ID: u.ID, Name: u.Name, Source: a.source, Via: "ssh"},
		User: u.ID, Reason: text, Detail: map[string]string{"name": display.Line(conn.User(), 64)}})
	return &ssh.BannerError{Err: errors.New("refused"), Message: text + "\n"}
}

// explain shows the banner for unknown keys; it never lets anybody in.
func (a *outerAuth) explain(ssh.ConnMetadata, ssh.KeyboardInteractiveChallenge) (*ssh.Permissions, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.told {
		return nil, errors.New("told already")
	}
	a.told = true
	if a.fromTarget != "" {
		a.s.audit(a.ctx, audit.Event{Type: audit.LoginFailed, Outcome: audit.Denied, Actor: audit.Actor{Source: a.source, Via: "ssh"}, Target: a.fromTarget, Reason: "logins from targets are refused"})
		return nil, &ssh.BannerError{Err: errors.New("from a target"), Message: a.s.o.Name + " accepts no logins from its own targets. Connect from where you sit.\n"}
	}
	var cert string
	if a.cert != "" {
		cert = a.s.o.Name + " does not accept your certificate: " + a.cert + ".\n"
	}
	if len(a.unknown) == 0 && cert != "" {
		return nil, &ssh.BannerError{Err: errors.New("certificate refused"), Message: cert}
	}
	if len(a.unknown) == 0 {
		return nil, &ssh.BannerError{Err: errors.New("no key"), Message: a.s.o.Name + " knows people by their SSH keys, and you offered none.\n"}
	}
	text := cert + a.s.o.Name + " does not know your key:\n  " + strings.Join(a.unknown, "\n  ") + "\n" + a.s.o.Register + "\n"
	return nil, &ssh.BannerError{Err: errors.New("unknown key"), Message: text}
}

// failed writes the event of a login that came to nothing.
func (a *outerAuth) failed(err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.unknown) == 0 && a.cert == "" {
		return // a port scan, or a client that went away
	}
	why := "unknown key"
	if a.cert != "" {
		why = "certificate refused: " + a.cert
	}
	a.s.audit(a.ctx, audit.Event{Type: audit.LoginFailed, Outcome: audit.Denied, Actor: audit.Actor{Source: a.source, Via: "ssh"}, Reason: why,
		Detail: map[string]string{"name": display.Line(a.name, 64), "keys": strings.Join(a.unknown, ", ")}})
	a.s.o.Log.Info("login failed", "source", a.source, "error", display.Line(err.Error(), 300))
}
