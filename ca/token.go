package ca

import (
	"context"
	"time"

	"jit-gateway/approval"
	"jit-gateway/internal/audit"
)

// TokenPrefix begins every session token, so that secret scanners find it.
const TokenPrefix = "jit_pg_"

// Iterations of PBKDF2 in the stored verifiers: what clients expect. The
// strength is in the token's 256 bits.
const Iterations = 4096

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

// TokenStore keeps tokens. Both stores implement it.
type TokenStore interface {
	AddToken(ctx context.Context, t Token, ev audit.Event) error
	// TokensFor returns the tokens of a user name and target that are not dead
	// and whose grant is active and ends after now, newest first, at most 64.
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
	a      *Authority
	store  TokenStore
	ledger Ledger
	now    func() time.Time
}

// NewTokens returns the tokens kept in store. It mints nothing until SetLedger.
func NewTokens(a *Authority, store TokenStore, now func() time.Time) *Tokens {
	if now == nil {
		now = time.Now
	}
	return &Tokens{a: a, store: store, now: now}
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
	panic("not yet")
}

// Verifier is one token that a login may prove.
type Verifier struct {
	TokenID   string
	GrantID   string
	UserID    string
	Login     string
	Source    string // empty: any address
	StoredKey []byte
	ServerKey []byte
}

// Candidates returns what a SCRAM exchange for the name and target needs. The
// salt is the same for every token of a user and target, and an unknown user
// gets one that looks the same and no verifiers.
func (t *Tokens) Candidates(ctx context.Context, userName, target string) (salt []byte, iterations int, vs []Verifier, err error) {
	panic("not yet")
}

// Match returns the verifier that the client's proof fits, and the server
// signature to answer with. Every candidate is tried, and at least one
// computation is done, so that the time tells nothing.
func Match(vs []Verifier, authMessage, proof []byte) (v Verifier, serverSignature []byte, ok bool) {
	panic("not yet")
}

// Kill ends the grant's tokens. It is idempotent.
func (t *Tokens) Kill(ctx context.Context, grantID string) error { panic("not yet") }

// Alive counts the grant's tokens that are not dead.
func (t *Tokens) Alive(ctx context.Context, grantID string) (int, error) { panic("not yet") }
