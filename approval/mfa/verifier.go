package mfa

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"jit-gateway/internal/audit"
)

// Errors that callers match.
var (
	ErrWrongCode    = errors.New("that code is wrong")
	ErrUsedCode     = errors.New("that code was used already; wait for the next one")
	ErrNoFactor     = errors.New("no second factor is enrolled; ask an administrator for a one-time code")
	ErrFactorExists = errors.New("a second factor is enrolled already: replacing it needs a code of it, or an administrator's one-time code")
	ErrStaleProof   = errors.New("a fresh code of an enrolled factor is needed")
)

// LockedError says that too many codes were wrong, and until when none is looked at.
type LockedError struct{ Until time.Time }

func (e *LockedError) Error() string {
	return fmt.Sprintf("too many wrong codes; none is looked at before %s", e.Until.UTC().Format("15:04:05 UTC"))
}

// SkewError is a wrong code that would have been right at another time. It is an ErrWrongCode.
type SkewError struct {
	Offset time.Duration // of the device's clock: negative is behind
}

func (e *SkewError) Error() string {
	where, d := "behind", -e.Offset
	if e.Offset > 0 {
		where, d = "ahead", e.Offset
	}
	return fmt.Sprintf("that code is wrong: the clock of your device seems to be %s %s; set it to automatic time", d.Round(30*time.Second), where)
}

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
	// Lock, where several gateways share the store, lets one of them at a time
	// verify codes of a user, so that parallel guesses count one by one. May be nil.
	Lock func(ctx context.Context, name string) (release func(), err error)
}

// Verifier verifies codes. It is safe for concurrent use.
type Verifier struct {
	o     Options
	users locks    // one verification at a time for each user, so that parallel guesses count
	skews skewMemo // offsets of the last wrong codes
}

// NewVerifier returns a Verifier.
func NewVerifier(o Options) (*Verifier, error) {
	switch {
	case o.Store == nil:
		return nil, errors.New("mfa: no store")
	case o.Box == nil:
		return nil, errors.New("mfa: no key to seal secrets with")
	case o.Now == nil:
		return nil, errors.New("mfa: no clock")
	}
	if o.Issuer == "" {
		o.Issuer = "jit-gateway"
	}
	return &Verifier{o: o}, nil
}

// VerifyCode verifies a TOTP code, or a recovery code if it looks like one.
func (v *Verifier) VerifyCode(ctx context.Context, userID, code string, actor audit.Actor) (Proof, error) {
	if len(plainCode(code)) == recoveryLength {
		return v.VerifyRecovery(ctx, userID, code, actor)
	}
	return v.VerifyTOTP(ctx, userID, code, actor)
}

// Factors lists the enrolled factors, without recovery codes that are used.
func (v *Verifier) Factors(ctx context.Context, userID string) ([]Factor, error) {
	all, err := v.o.Store.Factors(ctx, userID)
	if err != nil {
		return nil, fmt.Errorf("read second factors: %w", err)
	}
	var out []Factor
	for _, f := range all {
		if f.Kind != Recovery || f.LastStep == 0 {
			out = append(out, f)
		}
	}
	return out, nil
}

// factors returns those of one kind.
func (v *Verifier) factors(ctx context.Context, userID string, k Kind) ([]Factor, error) {
	all, err := v.Factors(ctx, userID)
	if err != nil {
		return nil, err
	}
	var out []Factor
	for _, f := range all {
		if f.Kind == k {
			out = append(out, f)
		}
	}
	return out, nil
}

// proofAge is how old a proof may be that permits a change of factors.
const proofAge = 5 * time.Minute

func (v *Verifier) fresh(p Proof, userID string) error {
	age := v.o.Now().Sub(p.at)
	if !p.Valid() || p.userID != userID || age > proofAge || age < -proofAge {
		return ErrStaleProof
	}
	return nil
}

// aad binds a sealed secret to its row: moved to another user's row it does not open.
func aad(f Factor) string { return "factor\x00" + f.UserID + "\x00" + f.ID + "\x00" + string(f.Kind) }

// plainCode removes what people type between the characters of a code.
func plainCode(s string) string {
	return strings.Map(func(r rune) rune {
		switch r {
		case ' ', '-', '\t', '\r', '\n', '\u00a0':
			return -1
		}
		return r
	}, strings.ToUpper(s))
}

func event(t audit.Type, o audit.Outcome, userID string, actor audit.Actor, detail map[string]string) audit.Event {
	return audit.Event{Type: t, Outcome: o, Actor: actor, User: userID, Detail: detail}
}

// alone waits until nobody else verifies a code of the user, here or on
// another gateway.
func (v *Verifier) alone(ctx context.Context, userID string) (release func(), err error) {
	unlock := v.users.lock(userID)
	if v.o.Lock == nil {
		return unlock, nil
	}
	there, err := v.o.Lock(ctx, "factor "+userID)
	if err != nil {
		unlock()
		return nil, fmt.Errorf("wait for other codes of the user: %w", err)
	}
	return func() { there(); unlock() }, nil
}

// locks is a mutex for each user that has a verification under way.
type locks struct {
	mu sync.Mutex
	m  map[string]*lockEntry
}

type lockEntry struct {
	mu   sync.Mutex
	uses int
}

func (l *locks) lock(key string) (unlock func()) {
	l.mu.Lock()
	if l.m == nil {
		l.m = map[string]*lockEntry{}
	}
	e := l.m[key]
	if e == nil {
		e = &lockEntry{}
		l.m[key] = e
	}
	e.uses++
	l.mu.Unlock()
	e.mu.Lock()
	return func() {
		e.mu.Unlock()
		l.mu.Lock()
		if e.uses--; e.uses == 0 {
			delete(l.m, key)
		}
		l.mu.Unlock()
	}
}
