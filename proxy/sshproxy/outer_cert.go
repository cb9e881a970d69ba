package sshproxy

import (
	"context"
	"errors"
	"fmt"
	"io"

	"golang.org/x/crypto/ssh"

	"jit-gateway/approval"
	"jit-gateway/ca"
	"jit-gateway/internal/audit"
	"jit-gateway/internal/display"
	"jit-gateway/internal/identity"
)

// A certificate of `cert` stands for the registered key that asked for it,
// under one grant. Everything that ends the grant, the key or the user ends
// it too, because the same things are read again: it proves no second factor,
// cannot ask for anything, and is good from where the grant was opened.

// certCommands are what the command interface does for certificates.
var certCommands = []string{"whoami", "help"}

// judge verifies a certificate and finds whose it is.
func (a *outerAuth) judge(conn ssh.ConnMetadata, cert *ssh.Certificate) (identity.User, ca.Delegation, error) {
	d, err := a.s.o.Authority.VerifyGatewayCert(cert, conn.User())
	if err != nil {
		return identity.User{}, d, err
	}
	u, _, err := a.s.o.Users.UserByKey(a.ctx, d.KeyFingerprint)
	if err != nil || u.Name != conn.User() {
		return identity.User{}, d, errors.New("the key that it stands for is not registered any more")
	}
	if !u.Usable(a.s.o.Now()) {
		return u, d, nil // told in words, once the signature has shown who asks
	}
	caller := approval.Caller{UserID: u.ID, KeyFingerprint: d.KeyFingerprint, Source: a.source, Via: "ssh"}
	return u, d, a.s.delegationLive(a.ctx, caller, d.Grant)
}

// offeredCert says whether a certificate could log in, before its signature.
func (a *outerAuth) offeredCert(conn ssh.ConnMetadata, cert *ssh.Certificate) (*ssh.Permissions, error) {
	_, _, err := a.judge(conn, cert)
	a.mu.Lock()
	defer a.mu.Unlock()
	a.name = conn.User()
	if err != nil {
		a.cert = err.Error()
		return nil, err
	}
	return &ssh.Permissions{}, nil
}

// verifiedCert decides after the signature.
func (a *outerAuth) verifiedCert(conn ssh.ConnMetadata, cert *ssh.Certificate) (*ssh.Permissions, error) {
	u, d, err := a.judge(conn, cert)
	if err != nil {
		return nil, err
	}
	if !u.Usable(a.s.o.Now()) {
		return nil, a.deny(u, conn, "Your account is disabled.")
	}
	return &ssh.Permissions{ExtraData: map[any]any{offeredKey{}: cert.Key, verifiedUser{}: u, delegated{}: d}}, nil
}

// delegationLive reads the grant of a certificate again. Connections by key
// have none.
func (s *Server) delegationLive(ctx context.Context, c approval.Caller, grant string) error {
	if grant == "" {
		return nil
	}
	g, err := s.o.Approvals.Grant(ctx, c, grant)
	if err != nil || g.UserID != c.UserID || !g.Live(s.o.Now()) {
		return fmt.Errorf("grant %s has ended", display.Line(grant, 40))
	}
	return nil
}

// refuseCommand says that a certificate runs no commands.
func (o *outer) refuseCommand(w io.Writer, grant string) {
	o.s.audit(o.ctx, audit.Event{Type: audit.CommandRefused, Outcome: audit.Denied, Actor: o.actor(), User: o.id.Caller.UserID, Grant: grant,
		Reason: "a certificate for a grant runs no commands"})
	fmt.Fprintf(w, "Your certificate opens the hosts of grant %s, and runs no commands but whoami and help.\r\n", grant)
}
