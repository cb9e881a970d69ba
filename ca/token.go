package ca

import (
	"context"
	"errors"
	"fmt"
	"time"

	"jit-gateway/approval"
	"jit-gateway/internal/audit"
	"jit-gateway/internal/id"
)

// Token is what is kept of a session token: a SCRAM-SHA-256 verifier, never
// the token (guarantee G8). It lives as long as its grant: it has no end of
// its own, so that an extension moves it too.
type Token struct {
	ID         string    `json:"id"`
	GrantID    string    `json:"grant_id"`
	UserID     string    `json:"user_id"`
	User       string    `json:"user"`             // name, as the client sends it
	Target     string    `json:"target"`           // target name
	Login      string    `json:"login"`            // role
	Source     string    `json:"source,omitempty"` // the only address that it works from; empty: any
	Salt       []byte    `json:"-"`
	Iterations int       `json:"iterations"`
	StoredKey  []byte    `json:"-"`
	ServerKey  []byte    `json:"-"`
	CreatedAt  time.Time `json:"created_at"`
	DeadAt     time.Time `json:"dead_at,omitzero"`
}

// MaxTokens bounds what TokensFor returns, and so the work of one login.
const MaxTokens = 64

// TokenStore keeps tokens. Both stores implement it.
type TokenStore interface {
	AddToken(ctx context.Context, t Token, ev audit.Event) error
	// TokensFor returns the tokens of a user name and target that are not dead
	// and whose grant is active and ends after now, newest first, at most
	// MaxTokens.
	TokensFor(ctx context.Context, userName, target string, now time.Time) ([]Token, error)
	// TokensOf returns the tokens of a grant that are not dead.
	TokensOf(ctx context.Context, grantID string) ([]Token, error)
	// KillTokens sets DeadAt of the grant's tokens that are not dead. It is
	// idempotent; without any it appends no event.
	KillTokens(ctx context.Context, grantID string, at time.Time, ev audit.Event) error
}

// A Ledger is told of a token before it exists, and refuses when it cannot
// promise to end it (session.Manager).
type Ledger interface {
	IntendToken(ctx context.Context, t Token) error
}

// Tokens mints and verifies session tokens.
type Tokens struct {
	saltKey []byte
	store   TokenStore
	ledger  Ledger
	now     func() time.Time
}

// NewTokens returns the tokens kept in store. It mints nothing until SetLedger.
func NewTokens(a *Authority, store TokenStore, now func() time.Time) *Tokens {
	if now == nil {
		now = time.Now
	}
	return &Tokens{saltKey: a.derive("scram salt", 32), store: store, now: now}
}

// SetLedger is called once, by session.NewManager, before anything is minted.
func (t *Tokens) SetLedger(l Ledger) { t.ledger = l }

// TokenOptions of Mint.
type TokenOptions struct {
	AnySource bool         // works from any address, not only the one that asks
	Actor     *audit.Actor // who asks; the admission's user if nil
}

// Mint makes a session token for the admission's grant. The token is returned
// once and kept nowhere.
func (t *Tokens) Mint(ctx context.Context, adm approval.Admission, o TokenOptions) (string, error) {
	now := t.now()
	switch err := adm.Check(now); {
	case err != nil:
		return "", fmt.Errorf("mint token: %w", err)
	case adm.Target().Postgres == nil:
		return "", fmt.Errorf("mint token: %q is not a database", adm.Target().Name)
	case !adm.Target().Allows(adm.Login()):
		return "", fmt.Errorf("mint token: %q has no role %q", adm.Target().Name, adm.Login())
	case !o.AnySource && adm.Source() == "":
		return "", errors.New("mint token: no address to bind it to")
	case t.ledger == nil:
		return "", errors.New("mint token: nobody to end it (no session manager)")
	}
	secret := newTokenText()
	user := adm.User()
	tok := Token{
		ID: id.New("T"), GrantID: adm.Grant().ID, UserID: user.ID, User: user.Name,
		Target: adm.Target().Name, Login: adm.Login(), Source: adm.Source(),
		Salt: t.salt(user.Name, adm.Target().Name), Iterations: Iterations, CreatedAt: now.UTC(),
	}
	if o.AnySource {
		tok.Source = ""
	}
	var err error
	if tok.StoredKey, tok.ServerKey, err = scramKeys(secret, tok.Salt, tok.Iterations); err != nil {
		return "", fmt.Errorf("mint token: %w", err)
	}
	if err := t.ledger.IntendToken(ctx, tok); err != nil {
		return "", fmt.Errorf("mint token: %w", err)
	}
	actor := audit.Actor{ID: user.ID, Name: user.Name, Source: adm.Source(), Via: "ssh"}
	if o.Actor != nil {
		actor = *o.Actor
	}
	source := tok.Source
	if source == "" {
		source = "any"
	}
	ev := audit.Event{Type: audit.TokenMinted, Outcome: audit.Success, Actor: actor, User: user.ID, Target: tok.Target,
		Request: adm.Grant().RequestID, Grant: tok.GrantID, Detail: map[string]string{"token": tok.ID, "login": tok.Login, "source": source}}
	if err := t.store.AddToken(ctx, tok, ev); err != nil {
		return "", fmt.Errorf("mint token: %w", err)
	}
	return secret, nil
}

// Kill ends the grant's tokens. It is idempotent.
func (t *Tokens) Kill(ctx context.Context, grantID string) error {
	ev := audit.Event{Type: audit.TokenStopped, Outcome: audit.Success, Actor: audit.Gateway, Grant: grantID}
	if err := t.store.KillTokens(ctx, grantID, t.now().UTC(), ev); err != nil {
		return fmt.Errorf("stop the tokens of grant %s: %w", grantID, err)
	}
	return nil
}

// Alive counts the grant's tokens that are not dead.
func (t *Tokens) Alive(ctx context.Context, grantID string) (int, error) {
	ts, err := t.store.TokensOf(ctx, grantID)
	return len(ts), err
}
