package mfa

import (
	"context"
	"errors"
	"fmt"
	"time"

	"jit-gateway/internal/audit"
)

// Errors that callers match.
var (
	ErrWrongCode    = errors.New("that code is wrong")
	ErrUsedCode     = errors.New("that code was used already; wait for the next one")
	ErrNoFactor     = errors.New("no second factor is enrolled")
	ErrFactorExists = errors.New("a second factor is enrolled already: replacing it needs a code of it, or an administrator's one-time code")
)

// LockedError says that too many codes were wrong, and until when none is looked at.
type LockedError struct{ Until time.Time }

func (e *LockedError) Error() string {
	return fmt.Sprintf("too many wrong codes; try again at %s", e.Until.UTC().Format("15:04:05 UTC"))
}

// SkewError is a wrong code that would have been right at another time. It is an ErrWrongCode.
type SkewError struct {
	Offset time.Duration // of the device's clock: negative is behind
}

func (e *SkewError) Error() string { return "that code is wrong" }

// Unwrap makes a SkewError an ErrWrongCode.
func (e *SkewError) Unwrap() error { return ErrWrongCode }

// Sealer keeps secrets under a key outside the store; *seal.Box is one.
type Sealer interface {
	Seal(plain []byte, aad string) []byte
	Open(sealed []byte, aad string) ([]byte, error)
}

// Options builds a Verifier.
type Options struct {
	Store  Store
	Box    Sealer
	Now    func() time.Time
	Issuer string // shown by authenticator apps
}

// Verifier verifies codes.
type Verifier struct{ o Options }

// Enrolment is a TOTP secret that is not yet confirmed.
type Enrolment struct {
	Secret string // base32, what people type when they cannot scan
	URI    string // otpauth://, what the QR code holds
}

// NewVerifier returns a Verifier.
func NewVerifier(o Options) (*Verifier, error) { panic("not yet") }

// VerifyTOTP verifies a TOTP code of the user.
func (v *Verifier) VerifyTOTP(ctx context.Context, userID, code string, actor audit.Actor) (Proof, error) {
	panic("not yet")
}

// VerifyCode verifies a TOTP code, or a recovery code if it looks like one.
func (v *Verifier) VerifyCode(ctx context.Context, userID, code string, actor audit.Actor) (Proof, error) {
	panic("not yet")
}

// BeginTOTP makes a secret. Nothing is stored until ConfirmTOTP.
func (v *Verifier) BeginTOTP(userName string) Enrolment { panic("not yet") }

// ConfirmTOTP stores the first factor of a user once a code of it is right,
// and returns recovery codes, which are shown once. The caller MUST have
// redeemed an invite of that user: an SSH key alone never enrols a factor.
func (v *Verifier) ConfirmTOTP(ctx context.Context, userID string, e Enrolment, code string, actor audit.Actor) (Factor, []string, error) {
	panic("not yet")
}

// ReplaceTOTP replaces the TOTP factor, under a fresh proof of an existing one.
func (v *Verifier) ReplaceTOTP(ctx context.Context, userID string, old Proof, e Enrolment, code string, actor audit.Actor) (Factor, []string, error) {
	panic("not yet")
}

// ResetTOTP replaces all factors, under an administrator's one-time code: inviteID is
// the invite that the caller has redeemed, for the log.
func (v *Verifier) ResetTOTP(ctx context.Context, userID, inviteID string, e Enrolment, code string, actor audit.Actor) (Factor, []string, error) {
	panic("not yet")
}

// NewRecoveryCodes replaces the recovery codes.
func (v *Verifier) NewRecoveryCodes(ctx context.Context, userID string, p Proof, actor audit.Actor) ([]string, error) {
	panic("not yet")
}

// Factors lists the enrolled factors, without recovery codes that are used.
func (v *Verifier) Factors(ctx context.Context, userID string) ([]Factor, error) { panic("not yet") }
