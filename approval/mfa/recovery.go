package mfa

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"

	"jit-gateway/internal/audit"
	"jit-gateway/internal/id"
	"jit-gateway/internal/store"
)

const (
	recoveryCodes  = 8
	recoveryLength = 12 // characters of 5 bits, without dashes
)

// VerifyRecovery verifies a recovery code. Each is a factor row of its own,
// spent by the same compare-and-set as a TOTP step.
func (v *Verifier) VerifyRecovery(ctx context.Context, userID, code string, actor audit.Actor) (Proof, error) {
	release, err := v.alone(ctx, userID)
	if err != nil {
		return Proof{}, err
	}
	defer release()
	if err := v.notLocked(ctx, userID); err != nil {
		return Proof{}, err
	}
	factors, err := v.factors(ctx, userID, Recovery)
	if err != nil {
		return Proof{}, err
	}
	sum := recoveryHash(userID, code)
	for _, f := range factors {
		want, err := v.o.Box.Open(f.Sealed, aad(f))
		if err != nil {
			return Proof{}, fmt.Errorf("open recovery code %s: %w", f.ID, err)
		}
		if subtle.ConstantTimeCompare(want, sum) != 1 {
			continue
		}
		now := v.o.Now()
		err = v.o.Store.UseStep(ctx, f.ID, 1, event(audit.FactorPassed, audit.Success, userID, actor,
			map[string]string{"kind": string(Recovery), "factor": f.ID}))
		if errors.Is(err, store.ErrConflict) {
			return Proof{}, ErrUsedCode
		}
		if err != nil {
			return Proof{}, fmt.Errorf("spend the recovery code: %w", err)
		}
		return Proof{userID: userID, kind: Recovery, factorID: f.ID, at: stamp(now), evidence: "recovery code " + f.ID}, nil
	}
	if err := v.failed(ctx, userID, Recovery, actor); err != nil {
		return Proof{}, err
	}
	return Proof{}, ErrWrongCode
}

// NewRecoveryCodes replaces the recovery codes, under a fresh proof.
func (v *Verifier) NewRecoveryCodes(ctx context.Context, userID string, p Proof, actor audit.Actor) ([]string, error) {
	defer v.users.lock(userID)()
	if err := v.fresh(p, userID); err != nil {
		return nil, err
	}
	all, err := v.o.Store.Factors(ctx, userID)
	if err != nil {
		return nil, fmt.Errorf("read second factors: %w", err)
	}
	var gone []Factor
	for _, f := range all {
		if f.Kind == Recovery {
			gone = append(gone, f)
		}
	}
	if err := v.remove(ctx, gone, actor, "replaced under factor "+p.factorID); err != nil {
		return nil, err
	}
	return v.addRecovery(ctx, userID, actor)
}

func (v *Verifier) addRecovery(ctx context.Context, userID string, actor audit.Actor) ([]string, error) {
	var codes []string
	for range recoveryCodes {
		raw := id.Short("", recoveryLength)
		f := Factor{ID: id.New("F"), UserID: userID, Kind: Recovery, CreatedAt: stamp(v.o.Now())}
		f.Sealed = v.o.Box.Seal(recoveryHash(userID, raw), aad(f))
		err := v.o.Store.AddFactor(ctx, f, event(audit.FactorAdded, audit.Success, userID, actor,
			map[string]string{"kind": string(Recovery), "factor": f.ID}))
		if err != nil {
			return nil, fmt.Errorf("store a recovery code: %w", err)
		}
		codes = append(codes, raw[:4]+"-"+raw[4:8]+"-"+raw[8:])
	}
	return codes, nil
}

// recoveryHash is what is kept of a code. 60 random bits behind limited
// attempts and a seal need no slow hash.
func recoveryHash(userID, code string) []byte {
	sum := sha256.Sum256([]byte("jit-gateway recovery code\x00" + userID + "\x00" + plainCode(code)))
	return sum[:]
}
