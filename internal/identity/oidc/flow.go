package oidc

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"time"

	gooidc "github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"

	"jit-gateway/internal/audit"
	"jit-gateway/internal/display"
	"jit-gateway/internal/identity"
	"jit-gateway/internal/store"
)

// flowTime is how long somebody may take at the provider.
const flowTime = 10 * time.Minute

// ErrFlow is the one answer to a sign-in that was not begun here, was finished
// before, or took too long.
var ErrFlow = errors.New("this sign-in was not begun in this browser, or is over; begin again")

// Refusal is why somebody who signed in elsewhere is not let in. Its text is for them.
type Refusal struct{ Text string }

func (r *Refusal) Error() string { return r.Text }

func refuse(format string, args ...any) error { return &Refusal{fmt.Sprintf(format, args...)} }

// Options builds a SignIn.
type Options struct {
	Provider     *Provider
	ClientID     string
	ClientSecret string // empty for a public client
	RedirectURL  string // https://page/oidc/callback
	Scopes       []string
	GroupsClaim  string
	NameClaim    string
	SCIMClaim    string // the claim that holds what SCIM calls externalId; empty: none
	Box          Sealer
	Once         Once
	Accounts     *Accounts
	Log          Log
	Now          func() time.Time
}

// Sealer is *seal.Box.
type Sealer interface {
	Seal(plain []byte, aad string) []byte
	Open(sealed []byte, aad string) ([]byte, error)
}

// Once takes a key that is good for one use: store.ErrConflict.
type Once interface {
	UseOnce(ctx context.Context, key string, until, now time.Time, ev audit.Event) error
}

// Log takes events that change nothing.
type Log interface {
	Append(ctx context.Context, ev audit.Event) (audit.Event, error)
}

// SignIn signs people in. It is safe for concurrent use.
type SignIn struct{ o Options }

// New checks the options.
func New(o Options) (*SignIn, error) {
	switch {
	case o.Provider == nil, o.Box == nil, o.Once == nil, o.Accounts == nil, o.Log == nil, o.Now == nil:
		return nil, errors.New("oidc: an option is missing")
	case o.ClientID == "" || o.RedirectURL == "":
		return nil, errors.New("oidc: the client has no id or no address")
	}
	return &SignIn{o}, nil
}

// begun is what the browser keeps for us between Begin and Finish.
type begun struct {
	State    string    `json:"state"`
	Nonce    string    `json:"nonce"`
	Verifier string    `json:"verifier"`
	Next     string    `json:"next"`
	Until    time.Time `json:"until"`
}

const aad = "oidc sign-in"

// Begin returns where the browser goes, and the cookie that it brings back.
func (s *SignIn) Begin(ctx context.Context, next string) (address, cookie string, err error) {
	found, _, err := s.o.Provider.discover(ctx)
	if err != nil {
		return "", "", err
	}
	b := begun{State: random(), Nonce: random(), Verifier: oauth2.GenerateVerifier(), Next: next, Until: s.o.Now().Add(flowTime)}
	plain, err := json.Marshal(b)
	if err != nil {
		return "", "", fmt.Errorf("keep the sign-in: %w", err)
	}
	address = s.client(found).AuthCodeURL(b.State, gooidc.Nonce(b.Nonce), oauth2.S256ChallengeOption(b.Verifier))
	return address, base64.RawURLEncoding.EncodeToString(s.o.Box.Seal(plain, aad)), nil
}

func (s *SignIn) client(found *gooidc.Provider) *oauth2.Config {
	return &oauth2.Config{ClientID: s.o.ClientID, ClientSecret: s.o.ClientSecret, Endpoint: found.Endpoint(),
		RedirectURL: s.o.RedirectURL, Scopes: append([]string{gooidc.ScopeOpenID}, s.o.Scopes...)}
}

// Finish takes what the browser brings back from the provider and returns
// whose account it is, made or updated, and where they wanted to go. A
// *Refusal or ErrFlow may be shown; other errors are trouble.
func (s *SignIn) Finish(ctx context.Context, answer url.Values, cookie, source string) (identity.User, string, error) {
	who := audit.Actor{Source: source, Via: "oidc"}
	b, err := s.open(cookie)
	if err != nil {
		return identity.User{}, "/", err // a stranger without anything of ours: nothing for the log
	}
	u, next, claims, err := s.finish(ctx, answer, b, &who)
	if err == nil {
		return u, next, nil
	}
	ev := audit.Event{Type: audit.OIDCRefused, Outcome: audit.Denied, Actor: who, User: u.ID, Reason: display.Line(err.Error(), 500),
		Detail: map[string]string{"issuer": s.o.Provider.Issuer(), "subject": display.Line(claims.Subject, 255)}}
	if _, lerr := s.o.Log.Append(ctx, ev); lerr != nil {
		err = errors.Join(err, lerr)
	}
	return identity.User{}, next, err
}

func (s *SignIn) finish(ctx context.Context, answer url.Values, b begun, who *audit.Actor) (u identity.User, next string, c Claims, err error) {
	next = b.Next
	found, meta, err := s.o.Provider.discover(ctx)
	if err != nil {
		return u, next, c, err
	}
	switch iss := answer.Get("iss"); {
	case subtle.ConstantTimeCompare([]byte(answer.Get("state")), []byte(b.State)) != 1 || !s.o.Now().Before(b.Until):
		return u, next, c, ErrFlow
	case iss != "" && iss != s.o.Provider.Issuer(), iss == "" && meta.IssInResponse: // RFC 9207: the answer of another provider
		return u, next, c, fmt.Errorf("%w (the answer came from another provider)", ErrFlow)
	case answer.Get("error") != "":
		return u, next, c, refuse("The identity provider did not sign you in: %s", display.Line(answer.Get("error")+" "+answer.Get("error_description"), 200))
	case answer.Get("code") == "":
		return u, next, c, ErrFlow
	}
	// Before anything else: a state is good once, also when it comes twice at the same time, on two gateways.
	sum := sha256.Sum256([]byte(b.State))
	err = s.o.Once.UseOnce(ctx, "oidc state "+hex.EncodeToString(sum[:]), b.Until, s.o.Now(), audit.Event{Type: audit.OIDCPassed, Outcome: audit.Success,
		Actor: *who, Reason: "a sign-in came back", Detail: map[string]string{"issuer": s.o.Provider.Issuer()}})
	if errors.Is(err, store.ErrConflict) {
		return u, next, c, ErrFlow
	} else if err != nil {
		return u, next, c, err
	}
	token, err := s.client(found).Exchange(s.o.Provider.context(ctx), answer.Get("code"), oauth2.VerifierOption(b.Verifier))
	if err != nil {
		var re *oauth2.RetrieveError
		if errors.As(err, &re) { // its body may hold anything
			return u, next, c, refuse("The identity provider did not take its own code back (%s). Begin again.", display.Line(re.ErrorCode, 100))
		}
		return u, next, c, fmt.Errorf("ask the identity provider for a token: %w", err)
	}
	if c, err = s.claims(ctx, found, token, b.Nonce); err != nil {
		return u, next, c, err
	}
	u, err = s.o.Accounts.Resolve(ctx, c, *who)
	who.ID, who.Name = u.ID, u.Name
	return u, next, c, err
}

func (s *SignIn) open(cookie string) (b begun, err error) {
	sealed, err := base64.RawURLEncoding.DecodeString(cookie)
	if err != nil || len(sealed) > 8<<10 {
		return b, ErrFlow
	}
	plain, err := s.o.Box.Open(sealed, aad)
	if err != nil || json.Unmarshal(plain, &b) != nil || b.State == "" {
		return b, ErrFlow
	}
	return b, nil
}

// claims verifies the ID token and reads what we use of it.
func (s *SignIn) claims(ctx context.Context, found *gooidc.Provider, token *oauth2.Token, nonce string) (Claims, error) {
	raw, ok := token.Extra("id_token").(string)
	if !ok || raw == "" {
		return Claims{}, refuse("The identity provider gave no ID token: is this an OpenID Connect client there?")
	}
	id, err := s.o.Provider.verify(ctx, raw, s.o.ClientID)
	if err != nil {
		return Claims{}, refuse("What the identity provider said was not accepted: %s.", display.Line(err.Error(), 300))
	}
	if subtle.ConstantTimeCompare([]byte(id.Nonce), []byte(nonce)) != 1 {
		return Claims{}, refuse("The identity provider answered for another sign-in. Begin again.")
	}
	if id.AccessTokenHash != "" {
		if err := id.VerifyAccessToken(token.AccessToken); err != nil {
			return Claims{}, refuse("What the identity provider said was not accepted: its access token is of another sign-in.")
		}
	}
	all := map[string]any{}
	if err := id.Claims(&all); err != nil {
		return Claims{}, fmt.Errorf("read the ID token: %w", err)
	}
	if azp, ok := all["azp"]; ok && azp != s.o.ClientID {
		return Claims{}, refuse("What the identity provider said was not accepted: the token was made for another client.")
	}
	_, named := all[s.o.NameClaim]
	_, grouped := all[s.o.GroupsClaim]
	if (!named || !grouped) && found.UserInfoEndpoint() != "" {
		info, err := found.UserInfo(s.o.Provider.context(ctx), oauth2.StaticTokenSource(token))
		if err != nil || info.Subject != id.Subject { // OpenID Connect Core 5.3.2: another subject is an attack
			return Claims{}, refuse("The identity provider did not say who you are.")
		}
		more := map[string]any{}
		if err := info.Claims(&more); err != nil {
			return Claims{}, fmt.Errorf("read the user's data: %w", err)
		}
		for _, k := range []string{s.o.NameClaim, s.o.GroupsClaim, "name"} {
			if v, ok := more[k]; ok && all[k] == nil {
				all[k] = v
			}
		}
	}
	return s.read(id, all)
}

// read picks what is used of the claims.
func (s *SignIn) read(id *gooidc.IDToken, all map[string]any) (Claims, error) {
	c := Claims{Issuer: id.Issuer, Subject: id.Subject}
	if over, ok := all["_claim_names"].(map[string]any); ok && over[s.o.GroupsClaim] != nil {
		// Entra leaves groups out when they are many. None is not what that means.
		return c, refuse("You are in more groups than the identity provider lists. Ask its administrator to send only groups that are assigned to this application.")
	}
	c.Name, _ = all[s.o.NameClaim].(string)
	c.Display, _ = all["name"].(string)
	if s.o.SCIMClaim != "" {
		c.SCIMID, _ = all[s.o.SCIMClaim].(string)
	}
	switch groups := all[s.o.GroupsClaim].(type) {
	case string:
		c.Groups = []string{groups}
	case []any:
		for _, g := range groups {
			if name, ok := g.(string); ok {
				c.Groups = append(c.Groups, name)
			}
		}
	}
	return c, nil
}

func random() string {
	b := make([]byte, 32)
	rand.Read(b)
	return base64.RawURLEncoding.EncodeToString(b)
}
