package sshproxy

import (
	"context"
	"errors"

	"golang.org/x/crypto/ssh"

	"jit-gateway/approval"
	"jit-gateway/internal/dialogue"
	"jit-gateway/internal/display"
	"jit-gateway/internal/inventory"
)

// innerAuth is steps 4 and 5 inside an inner handshake: find a live grant, or
// hold the conversation. The inner user name is the login on the target.
type innerAuth struct {
	s       *Server
	ctx     context.Context
	p       *peer
	target  inventory.Target
	pause   func() // stops the login timer while people are asked
	resume  func()
	conn    ssh.ServerPreAuthConn
	refused bool // a refusal was told: later attempts fail silently
	hinted  bool
}

func (a *innerAuth) configure(c *ssh.ServerConfig) {
	c.PreAuthConnCallback = func(conn ssh.ServerPreAuthConn) {
		a.conn = conn
		a.s.ids.hold(a.ctx, conn.SessionID())
	}
	c.PublicKeyCallback = a.offered
	c.VerifiedPublicKeyCallback = a.verified
	if a.p.stdio {
		c.NoClientAuth = true
		c.NoClientAuthCallback = a.none
		c.KeyboardInteractiveCallback = a.interactive
	}
}

func (a *innerAuth) input(conn ssh.ConnMetadata) approval.AdmitInput {
	return approval.AdmitInput{Caller: a.p.id.Caller, Target: a.target.Name, Login: conn.User(), GrantID: a.p.id.Grant}
}

// quietly admits under a live grant, or fails without a word.
func (a *innerAuth) quietly(conn ssh.ConnMetadata) (*ssh.Permissions, error) {
	adm, err := a.s.o.Approvals.Admit(a.ctx, a.input(conn))
	if err != nil {
		return nil, err
	}
	if text := dialogue.Banner(adm.Rule().Banner); text != "" && a.conn != nil { // agreed to with the code; shown each time
		if err := a.conn.SendAuthBanner(text + "\n"); err != nil {
			return nil, err
		}
	}
	return permit(adm), nil
}

func permit(adm approval.Admission) *ssh.Permissions {
	return &ssh.Permissions{ExtraData: map[any]any{admitted{}: adm}}
}

// none lets a `-J` channel of a user with a live grant pass at once. It is
// only set for such channels. To the others it names the command that asks:
// a client in BatchMode goes away after this, and shows nothing else than
// "Permission denied".
func (a *innerAuth) none(conn ssh.ConnMetadata) (*ssh.Permissions, error) {
	p, err := a.quietly(conn)
	if err == nil {
		return p, nil
	}
	if a.hinted || a.p.id.Grant != "" || !showsBanners(string(conn.ClientVersion())) {
		return nil, ssh.ErrNoAuth
	}
	a.hinted = true
	hint := a.s.o.Dialogue.Hint(a.ctx, a.input(conn), err)
	if hint == "" {
		return nil, ssh.ErrNoAuth
	}
	return nil, &ssh.BannerError{Err: ssh.ErrNoAuth, Message: hint + "\n"}
}

// offered accepts the outer connection's key alone. On a `-J` channel it is
// only good with a live grant, so that nobody touches a key for nothing; a
// `-L` peer has to sign in any case. The admission travels in the Permissions
// to verified: under a rule with a factor per session, asking twice would
// cost two.
func (a *innerAuth) offered(conn ssh.ConnMetadata, key ssh.PublicKey) (*ssh.Permissions, error) {
	if a.p.key == nil || !same(key, a.p.key) {
		return nil, errors.New("not the key of the outer connection")
	}
	p, err := a.quietly(conn)
	if err == nil {
		return p, nil
	}
	if a.p.stdio {
		return nil, err
	}
	return &ssh.Permissions{}, nil
}

// verified is after the signature: with an admission the peer is in, without
// one the conversation follows.
func (a *innerAuth) verified(_ ssh.ConnMetadata, _ ssh.PublicKey, p *ssh.Permissions, _ string) (*ssh.Permissions, error) {
	if _, ok := p.ExtraData[admitted{}]; ok {
		return p, nil
	}
	return nil, &ssh.PartialSuccessError{Next: ssh.ServerAuthCallbacks{KeyboardInteractiveCallback: a.interactive}}
}

// interactive passes without prompts under a live grant, and else is the
// in-band request.
func (a *innerAuth) interactive(conn ssh.ConnMetadata, challenge ssh.KeyboardInteractiveChallenge) (*ssh.Permissions, error) {
	p, err := a.quietly(conn)
	if err == nil {
		return p, nil
	}
	if a.p.id.Grant != "" && !a.refused { // no conversation: a certificate cannot ask for anything
		a.refused = true
		return nil, &ssh.BannerError{Err: err, Message: "Your certificate is for grant " + a.p.id.Grant + " alone, which does not open this: " + display.Line(err.Error(), 300) + "\n"}
	}
	if a.refused {
		return nil, errors.New("refused already") // OpenSSH asks three times
	}
	a.pause()
	defer a.resume()
	t := &authTerminal{conn: a.conn, challenge: challenge, dots: showsBanners(string(conn.ClientVersion())), now: a.s.o.Now}
	adm, err := a.s.o.Dialogue.Admit(a.ctx, t, a.input(conn))
	if err == nil {
		return permit(adm), nil
	}
	a.refused = true
	var refusal *dialogue.Refusal
	if errors.As(err, &refusal) {
		return nil, &ssh.BannerError{Err: err, Message: t.lead() + refusal.Error() + "\n"}
	}
	if a.ctx.Err() == nil {
		a.s.o.Log.Error("admit", "user", a.p.id.User.Name, "target", a.target.Name, "error", err)
	}
	return nil, &ssh.BannerError{Err: err, Message: t.lead() + "The gateway cannot answer now. Try again in a moment.\n"}
}
