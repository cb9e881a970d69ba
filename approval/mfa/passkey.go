package mfa

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/go-webauthn/webauthn/protocol"
	"github.com/go-webauthn/webauthn/webauthn"
	lru "github.com/hashicorp/golang-lru/v2"

	"jit-gateway/internal/audit"
	"jit-gateway/internal/id"
	"jit-gateway/internal/store"
)

const (
	ceremonyTime  = 3 * time.Minute // to touch the key
	maxCeremonies = 4096            // that wait at once; the oldest gives way
	maxPasskeys   = 20              // of one user
	maxResponse   = 64 << 10        // bytes of an answer from a browser
	nonceBytes    = 32
)

// ErrCeremony is the one answer to a passkey dialogue that is unknown, over or somebody else's.
var ErrCeremony = errors.New("that passkey dialogue is over; begin again")

// PasskeyOptions says for which site passkeys are.
type PasskeyOptions struct {
	Name    string   // shown by browsers
	RPID    string   // host name of the page
	Origins []string // https://host[:port], exactly
}

// Passkeys registers WebAuthn credentials and verifies their assertions, for
// the page. User verification (a PIN or a finger) is always required. What a
// passkey is used for is part of what it signs: the challenge of an assertion
// is 32 random bytes followed by the SHA-256 that is approved. So the stored
// assertion proves, to anyone, what was approved; see VerifyEvidence.
type Passkeys struct {
	v    *Verifier
	web  *webauthn.WebAuthn
	open *lru.Cache[string, ceremony] // dialogues that wait for their browser
}

// ceremony is kept here, never by the browser, and taken once.
type ceremony struct {
	userID  string
	create  bool
	digest  string
	session webauthn.SessionData
	until   time.Time
}

// NewPasskeys returns a Passkeys that shares the verifier's store, key and clock.
func NewPasskeys(v *Verifier, o PasskeyOptions) (*Passkeys, error) {
	web, err := webauthn.New(&webauthn.Config{
		RPID: o.RPID, RPDisplayName: o.Name, RPOrigins: o.Origins, AttestationPreference: protocol.PreferNoAttestation,
		AuthenticatorSelection: protocol.AuthenticatorSelection{
			ResidentKey: protocol.ResidentKeyRequirementPreferred, UserVerification: protocol.VerificationRequired,
		},
	})
	if err != nil {
		return nil, fmt.Errorf("set up passkeys for %q: %w", o.RPID, err)
	}
	open, err := lru.New[string, ceremony](maxCeremonies)
	if err != nil {
		return nil, err
	}
	return &Passkeys{v: v, web: web, open: open}, nil
}

// BeginRegistration returns what the browser gives to
// navigator.credentials.create, and the name of the dialogue.
func (p *Passkeys) BeginRegistration(ctx context.Context, userID, userName string) (options json.RawMessage, dialogue string, err error) {
	u, err := p.user(ctx, userID, userName)
	if err != nil {
		return nil, "", err
	}
	if len(u.credentials) >= maxPasskeys {
		return nil, "", fmt.Errorf("there are %d passkeys already; remove one first", len(u.credentials))
	}
	creation, session, err := p.web.BeginRegistration(u, webauthn.WithExclusions(webauthn.Credentials(u.credentials).CredentialDescriptors()))
	if err != nil {
		return nil, "", fmt.Errorf("begin to register a passkey: %w", err)
	}
	return p.begin(creation, ceremony{userID: userID, create: true, session: *session})
}

// FinishRegistration stores the new passkey, under a fresh proof of a factor
// that the user has: a browser session alone never enrols one.
func (p *Passkeys) FinishRegistration(ctx context.Context, userID string, by Proof, dialogue, name string, response []byte, actor audit.Actor) (Factor, error) {
	if err := p.v.fresh(by, userID); err != nil {
		return Factor{}, err
	}
	return p.register(ctx, userID, dialogue, name, response, actor, func() (string, error) { return "under factor " + by.factorID, nil })
}

// FinishInvited stores a passkey under an administrator's one-time code, which
// redeem spends for this user: it is called when the browser's answer was found
// good, and returns the invite's id for the log.
func (p *Passkeys) FinishInvited(ctx context.Context, userID, dialogue, name string, response []byte, actor audit.Actor, redeem func() (string, error)) (Factor, error) {
	return p.register(ctx, userID, dialogue, name, response, actor, func() (string, error) {
		invite, err := redeem()
		if err == nil && invite == "" {
			err = errors.New("register a passkey: no invite")
		}
		return "by invite " + invite, err
	})
}

func (p *Passkeys) register(ctx context.Context, userID, dialogue, name string, response []byte, actor audit.Actor, allow func() (how string, err error)) (Factor, error) {
	c, err := p.take(dialogue, userID, true)
	if err != nil {
		return Factor{}, err
	}
	if len(response) > maxResponse {
		return Factor{}, errors.New("register a passkey: the answer is too long")
	}
	parsed, err := protocol.ParseCredentialCreationResponseBytes(response)
	if err != nil {
		return Factor{}, fmt.Errorf("register a passkey: read the browser's answer: %w", err)
	}
	u, err := p.user(ctx, userID, "")
	if err != nil {
		return Factor{}, err
	}
	cred, err := p.web.CreateCredential(u, c.session, parsed)
	if err != nil {
		return Factor{}, fmt.Errorf("register a passkey: %w", err)
	}
	plain, err := json.Marshal(cred)
	if err != nil {
		return Factor{}, fmt.Errorf("encode the passkey: %w", err)
	}
	how, err := allow()
	if err != nil {
		return Factor{}, err
	}
	f := Factor{ID: id.New("F"), UserID: userID, Kind: Passkey, Name: factorName(name), SignCount: cred.Authenticator.SignCount, CreatedAt: stamp(p.v.o.Now())}
	f.Sealed = p.v.o.Box.Seal(plain, aad(f))
	err = p.v.o.Store.AddFactor(ctx, f, event(audit.FactorAdded, audit.Success, userID, actor,
		map[string]string{"kind": string(Passkey), "factor": f.ID, "how": how}))
	if err != nil {
		return Factor{}, fmt.Errorf("store the passkey: %w", err)
	}
	return f, nil
}

// BeginAssertion returns what the browser gives to navigator.credentials.get,
// and the name of the dialogue. digest is the SHA-256, in hex, of what will be
// approved; empty for signing in, which approves nothing.
func (p *Passkeys) BeginAssertion(ctx context.Context, userID, digest string) (options json.RawMessage, dialogue string, err error) {
	sum, err := hex.DecodeString(digest)
	if err != nil || len(sum) != 32 && len(sum) != 0 {
		return nil, "", errors.New("use a passkey: not a SHA-256")
	}
	u, err := p.user(ctx, userID, "")
	if err != nil {
		return nil, "", err
	}
	if len(u.credentials) == 0 {
		return nil, "", ErrNoFactor
	}
	nonce, err := protocol.CreateChallenge()
	if err != nil {
		return nil, "", fmt.Errorf("use a passkey: %w", err)
	}
	assertion, session, err := p.web.BeginLogin(u, webauthn.WithUserVerification(protocol.VerificationRequired),
		webauthn.WithChallenge(append(nonce[:nonceBytes:nonceBytes], sum...)))
	if err != nil {
		return nil, "", fmt.Errorf("use a passkey: %w", err)
	}
	return p.begin(assertion, ceremony{userID: userID, digest: digest, session: *session})
}

// FinishAssertion verifies the browser's answer.
func (p *Passkeys) FinishAssertion(ctx context.Context, userID, dialogue string, response []byte, actor audit.Actor) (Proof, error) {
	c, err := p.take(dialogue, userID, false)
	if err != nil {
		return Proof{}, err
	}
	defer p.v.users.lock(userID)()
	if err := p.v.notLocked(ctx, userID); err != nil {
		return Proof{}, err
	}
	f, parsed, cred, err := p.verify(ctx, c, response)
	if err != nil {
		if fail := p.v.failed(ctx, userID, Passkey, actor); fail != nil {
			return Proof{}, fail
		}
		return Proof{}, fmt.Errorf("that passkey was not accepted: %w", err)
	}
	return p.accept(ctx, userID, f, parsed, cred, c.digest, actor)
}

// accept notes the use of a passkey whose assertion was verified: a counter
// that does not grow loses.
func (p *Passkeys) accept(ctx context.Context, userID string, f Factor, parsed *protocol.ParsedCredentialAssertionData, cred *webauthn.Credential, digest string, actor audit.Actor) (Proof, error) {
	evidence, err := encodeEvidence(parsed, cred, digest)
	if err != nil {
		return Proof{}, err
	}
	now := p.v.o.Now()
	err = p.v.o.Store.UseStep(ctx, f.ID, counterStep(parsed.Response.AuthenticatorData.Counter, now), event(audit.FactorPassed, audit.Success, userID, actor,
		map[string]string{"kind": string(Passkey), "factor": f.ID, "digest": digest}))
	if errors.Is(err, store.ErrConflict) {
		return Proof{}, errors.New("that passkey's counter went back: it may have been copied; tell an administrator")
	}
	if err != nil {
		return Proof{}, fmt.Errorf("note the use of the passkey: %w", err)
	}
	return Proof{userID: userID, kind: Passkey, factorID: f.ID, at: stamp(now), evidence: evidence, digest: digest}, nil
}

func (p *Passkeys) verify(ctx context.Context, c ceremony, response []byte) (Factor, *protocol.ParsedCredentialAssertionData, *webauthn.Credential, error) {
	fail := func(err error) (Factor, *protocol.ParsedCredentialAssertionData, *webauthn.Credential, error) {
		return Factor{}, nil, nil, err
	}
	if len(response) > maxResponse {
		return fail(errors.New("the answer is too long"))
	}
	parsed, err := protocol.ParseCredentialRequestResponseBytes(response)
	if err != nil {
		return fail(fmt.Errorf("read the browser's answer: %w", err))
	}
	u, err := p.user(ctx, c.userID, "")
	if err != nil {
		return fail(err)
	}
	cred, err := p.web.ValidateLogin(u, c.session, parsed)
	if err != nil {
		return fail(err)
	}
	i := slices.IndexFunc(u.credentials, func(k webauthn.Credential) bool { return slices.Equal(k.ID, cred.ID) })
	if i < 0 {
		return fail(errors.New("no such passkey"))
	}
	return u.factors[i], parsed, cred, nil
}

// counterStep is a number that grows with each use of a passkey, for the
// store's compare-and-set: the signature counter of those that have one, so
// that a copy is noticed, and else the time. Those that ever counted lie above all times.
func counterStep(counter uint32, now time.Time) int64 {
	if counter > 0 {
		return 1<<42 + int64(counter)
	}
	return min(now.UnixMilli(), 1<<42-1)
}

func (p *Passkeys) begin(options any, c ceremony) (json.RawMessage, string, error) {
	b, err := json.Marshal(options)
	if err != nil {
		return nil, "", fmt.Errorf("encode the passkey dialogue: %w", err)
	}
	c.until = p.v.o.Now().Add(ceremonyTime)
	c.session.Expires = time.Time{} // ours, by our clock
	name := id.New("C")
	p.open.Add(name, c)
	return b, name, nil
}

// take returns a dialogue once.
func (p *Passkeys) take(name, userID string, create bool) (ceremony, error) {
	c, ok := p.open.Peek(name)
	if !ok || c.userID != userID || c.create != create || !p.open.Remove(name) || !p.v.o.Now().Before(c.until) {
		return ceremony{}, ErrCeremony
	}
	return c, nil
}

// webUser is a user as package webauthn wants it. factors[i] holds credentials[i].
type webUser struct {
	id, name    string
	factors     []Factor
	credentials []webauthn.Credential
}

func (u webUser) WebAuthnID() []byte                         { return []byte(u.id) }
func (u webUser) WebAuthnName() string                       { return u.name }
func (u webUser) WebAuthnDisplayName() string                { return u.name }
func (u webUser) WebAuthnCredentials() []webauthn.Credential { return u.credentials }

func (p *Passkeys) user(ctx context.Context, userID, name string) (webUser, error) {
	u := webUser{id: userID, name: name}
	var err error
	if u.factors, err = p.v.factors(ctx, userID, Passkey); err != nil {
		return u, err
	}
	for _, f := range u.factors {
		plain, err := p.v.o.Box.Open(f.Sealed, aad(f))
		if err != nil {
			return u, fmt.Errorf("open passkey %s: %w", f.ID, err)
		}
		var c webauthn.Credential
		if err := json.Unmarshal(plain, &c); err != nil {
			return u, fmt.Errorf("decode passkey %s: %w", f.ID, err)
		}
		u.credentials = append(u.credentials, c)
	}
	return u, nil
}

func b64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }
