package mfa

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/go-webauthn/webauthn/protocol"
	"github.com/go-webauthn/webauthn/webauthn"

	"jit-gateway/internal/audit"
)

// errPasskey is the one answer to a sign-in that is not good, whatever is
// wrong with it: it tells nobody which users there are.
var errPasskey = errors.New("that passkey was not accepted")

// BeginSignIn is BeginAssertion before anybody has said who they are: the
// authenticator names its user. It signs 32 random bytes alone, so that it is
// evidence of no approval.
func (p *Passkeys) BeginSignIn() (options json.RawMessage, dialogue string, err error) {
	nonce, err := protocol.CreateChallenge()
	if err != nil {
		return nil, "", fmt.Errorf("sign in with a passkey: %w", err)
	}
	assertion, session, err := p.web.BeginDiscoverableLogin(webauthn.WithUserVerification(protocol.VerificationRequired),
		webauthn.WithChallenge(nonce[:nonceBytes]))
	if err != nil {
		return nil, "", fmt.Errorf("sign in with a passkey: %w", err)
	}
	return p.begin(assertion, ceremony{session: *session})
}

// FinishSignIn verifies the browser's answer; Proof.UserID says who it was.
// who returns the user as the log names them, or refuses them. A failure does
// not count against the user: nobody can guess a signature, but anybody could
// lock others out.
func (p *Passkeys) FinishSignIn(ctx context.Context, dialogue string, response []byte, who func(userID string) (audit.Actor, error)) (Proof, error) {
	c, err := p.take(dialogue, "", false)
	if err != nil {
		return Proof{}, err
	}
	if len(response) > maxResponse {
		return Proof{}, errPasskey
	}
	parsed, err := protocol.ParseCredentialRequestResponseBytes(response)
	if err != nil {
		return Proof{}, errPasskey
	}
	userID := string(parsed.Response.UserHandle)
	if userID == "" {
		return Proof{}, errPasskey
	}
	actor, err := who(userID)
	if err != nil {
		return Proof{}, errPasskey
	}
	defer p.v.users.lock(userID)()
	u, err := p.user(ctx, userID, "")
	if err != nil {
		return Proof{}, err
	}
	_, cred, err := p.web.ValidatePasskeyLogin(func(_, _ []byte) (webauthn.User, error) { return u, nil }, c.session, parsed)
	if err != nil {
		return Proof{}, errPasskey
	}
	i := slices.IndexFunc(u.credentials, func(k webauthn.Credential) bool { return slices.Equal(k.ID, cred.ID) })
	if i < 0 {
		return Proof{}, errPasskey
	}
	return p.accept(ctx, userID, u.factors[i], parsed, cred, "", actor)
}
