// Package mfa verifies second factors. A verified factor is a Proof, a type
// that nothing else can make (guarantee G1): approvals and activations take a
// Proof, never a boolean.
//
// TOTP is RFC 6238: SHA-1, 30 s, six digits, one step either side, each step
// once per user, attempts limited with a wait that grows.
package mfa

import (
	"context"
	"time"

	"jit-gateway/internal/audit"
)

// Kind of second factor.
type Kind string

const (
	TOTP     Kind = "totp"
	Recovery Kind = "recovery"
	Passkey  Kind = "passkey"
	JobToken Kind = "oidc_job_token"     // machines
	MTLS     Kind = "client_certificate" // machines
)

// Factor is one enrolled second factor of a user.
type Factor struct {
	ID        string    `json:"id"`
	UserID    string    `json:"user_id"`
	Kind      Kind      `json:"kind"`
	Name      string    `json:"name,omitempty"`
	Sealed    []byte    `json:"-"` // TOTP seed or passkey credential, sealed with row identity as associated data (G8)
	LastStep  int64     `json:"-"` // TOTP: the last time step that was accepted
	SignCount uint32    `json:"-"`
	CreatedAt time.Time `json:"created_at"`
}

// Attempts counts failures since the last success.
type Attempts struct {
	Failures    int
	LockedUntil time.Time
}

// Store keeps factors. Both stores implement it.
type Store interface {
	Factors(ctx context.Context, userID string) ([]Factor, error)
	AddFactor(ctx context.Context, f Factor, ev audit.Event) error
	RemoveFactor(ctx context.Context, userID, factorID string, ev audit.Event) error
	RenameFactor(ctx context.Context, userID, factorID, name string, ev audit.Event) error // store.ErrNotFound
	// UseStep sets LastStep to step if it is greater than the stored one, and
	// clears the user's failures, in one conditional update:
	// store.ErrConflict means that the code was used already.
	UseStep(ctx context.Context, factorID string, step int64, ev audit.Event) error
	// Attempt records a failure and returns the state after it, locking the
	// user until lockedUntil when that is set.
	FactorAttempts(ctx context.Context, userID string) (Attempts, error)
	RecordFailure(ctx context.Context, userID string, lockedUntil time.Time, ev audit.Event) (Attempts, error)
}

// A Proof says that a user passed a second factor at a time. The zero Proof
// proves nothing. Only this package makes one.
type Proof struct {
	userID   string
	kind     Kind
	factorID string
	at       time.Time
	evidence string
	digest   string
}

// Valid reports whether p proves anything.
func (p Proof) Valid() bool { return p.userID != "" && !p.at.IsZero() }

// UserID is who passed it.
func (p Proof) UserID() string { return p.userID }

// Kind of factor that was passed.
func (p Proof) Kind() Kind { return p.kind }

// FactorID is the enrolled factor.
func (p Proof) FactorID() string { return p.factorID }

// At is when it was passed, UTC.
func (p Proof) At() time.Time { return p.at }

// Evidence is what an auditor can check later: for TOTP the time step, for a
// passkey the assertion; never a secret.
func (p Proof) Evidence() string { return p.evidence }

// Digest is what a passkey signed for: the SHA-256, in hex, of a request or
// grant. Other kinds are bound to nothing and have none.
func (p Proof) Digest() string { return p.digest }
