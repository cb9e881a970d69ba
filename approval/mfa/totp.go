package mfa

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base32"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"time"

	"github.com/pquerna/otp/totp"

	"jit-gateway/internal/audit"
	"jit-gateway/internal/id"
	"jit-gateway/internal/store"
)

const (
	period     = 30 // seconds of a step, RFC 6238 section 4.1
	window     = 1  // steps either side that are accepted, section 5.2
	skewSearch = 20 // steps either side in which a wrong code is looked for, to hint at the clock
	digits     = 6
	seedBytes  = 20 // RFC 4226 section 4 recommends 160 bits
)

// Enrolment is a TOTP secret that is not yet confirmed.
type Enrolment struct {
	Secret string // base32, what people type when they cannot scan
	URI    string // otpauth://, what the QR code holds
}

var seedEncoding = base32.StdEncoding.WithPadding(base32.NoPadding)

// VerifyTOTP verifies a TOTP code of the user. Wrong codes count, and after a
// few of them there is a wait, which grows: *LockedError. A right code proves
// once: its step is taken by compare-and-set in the store.
func (v *Verifier) VerifyTOTP(ctx context.Context, userID, code string, actor audit.Actor) (Proof, error) {
	release, err := v.alone(ctx, userID)
	if err != nil {
		return Proof{}, err
	}
	defer release()
	if err := v.notLocked(ctx, userID); err != nil {
		return Proof{}, err
	}
	factors, err := v.factors(ctx, userID, TOTP)
	if err != nil {
		return Proof{}, err
	}
	if len(factors) == 0 {
		return Proof{}, ErrNoFactor
	}
	code = plainCode(code)
	now := v.o.Now()
	var skew *SkewError
	for _, f := range factors {
		secret, err := v.o.Box.Open(f.Sealed, aad(f))
		if err != nil {
			return Proof{}, fmt.Errorf("open the secret of factor %s: %w", f.ID, err)
		}
		step, ok := matchStep(string(secret), code, now, window)
		if !ok {
			if far, found := matchStep(string(secret), code, now, skewSearch); found {
				skew = v.skews.note(userID, time.Duration(far-now.Unix()/period)*period*time.Second)
			}
			continue
		}
		if step <= f.LastStep {
			return Proof{}, ErrUsedCode
		}
		detail := map[string]string{"kind": string(TOTP), "factor": f.ID, "step": strconv.FormatInt(step, 10)}
		err = v.o.Store.UseStep(ctx, f.ID, step, event(audit.FactorPassed, audit.Success, userID, actor, detail))
		if errors.Is(err, store.ErrConflict) {
			return Proof{}, ErrUsedCode
		}
		if err != nil {
			return Proof{}, fmt.Errorf("take the code's step: %w", err)
		}
		v.skews.forget(userID)
		return Proof{userID: userID, kind: TOTP, factorID: f.ID, at: stamp(now), evidence: "step " + detail["step"]}, nil
	}
	if err := v.failed(ctx, userID, TOTP, actor); err != nil {
		return Proof{}, err
	}
	if skew != nil {
		return Proof{}, skew
	}
	return Proof{}, ErrWrongCode
}

// matchStep returns the step, within width of now's, whose code it is. All
// candidates are computed, nearest last, so that time tells nothing.
func matchStep(secret, code string, now time.Time, width int64) (int64, bool) {
	if len(code) != digits {
		return 0, false
	}
	current := now.Unix() / period
	var found int64
	ok := false
	for d := width; d >= 0; d-- {
		for _, step := range []int64{current - d, current + d} {
			if step < 0 {
				continue
			}
			want, err := totp.GenerateCode(secret, time.Unix(step*period, 0))
			if err == nil && subtle.ConstantTimeCompare([]byte(want), []byte(code)) == 1 {
				found, ok = step, true
			}
		}
	}
	return found, ok
}

// BeginTOTP makes a secret. Nothing is stored until ConfirmTOTP.
func (v *Verifier) BeginTOTP(userName string) Enrolment {
	seed := make([]byte, seedBytes)
	rand.Read(seed) // never fails since Go 1.24
	return v.Enrolment(seedEncoding.EncodeToString(seed), userName)
}

// Enrolment is that of a secret which BeginTOTP made before, for the page,
// which keeps nothing between its two forms.
func (v *Verifier) Enrolment(secret, userName string) Enrolment {
	// The form that authenticator apps read: github.com/google/google-authenticator/wiki/Key-Uri-Format
	uri := url.URL{Scheme: "otpauth", Host: "totp", Path: "/" + v.o.Issuer + ":" + userName,
		RawQuery: "secret=" + url.QueryEscape(secret) + "&issuer=" + url.PathEscape(v.o.Issuer)}
	return Enrolment{Secret: secret, URI: uri.String()}
}

// ConfirmTOTP stores the first factor of a user once a code of it is right,
// and returns recovery codes, which are shown once. The caller MUST have
// redeemed an invite of that user: an SSH key alone never enrols a factor.
// A user who has a factor gets ErrFactorExists.
func (v *Verifier) ConfirmTOTP(ctx context.Context, userID string, e Enrolment, code string, actor audit.Actor) (Factor, []string, error) {
	defer v.users.lock(userID)()
	have, err := v.Factors(ctx, userID)
	if err != nil {
		return Factor{}, nil, err
	}
	if len(have) > 0 {
		return Factor{}, nil, ErrFactorExists
	}
	return v.enrol(ctx, userID, e, code, actor, nil, "first enrolment")
}

// ReplaceTOTP replaces the TOTP factor and the recovery codes, under a fresh
// proof of an existing factor. Passkeys stay.
func (v *Verifier) ReplaceTOTP(ctx context.Context, userID string, old Proof, e Enrolment, code string, actor audit.Actor) (Factor, []string, error) {
	defer v.users.lock(userID)()
	if err := v.fresh(old, userID); err != nil {
		return Factor{}, nil, err
	}
	all, err := v.o.Store.Factors(ctx, userID)
	if err != nil {
		return Factor{}, nil, fmt.Errorf("read second factors: %w", err)
	}
	var gone []Factor
	for _, f := range all {
		if f.Kind == TOTP || f.Kind == Recovery {
			gone = append(gone, f)
		}
	}
	return v.enrol(ctx, userID, e, code, actor, gone, "replaced under factor "+old.factorID)
}

// ResetTOTP replaces all factors of a user who lost them, under an
// administrator's one-time code. The caller MUST have redeemed that invite
// for this user; its id goes into the log.
func (v *Verifier) ResetTOTP(ctx context.Context, userID, inviteID string, e Enrolment, code string, actor audit.Actor) (Factor, []string, error) {
	defer v.users.lock(userID)()
	if inviteID == "" {
		return Factor{}, nil, errors.New("reset second factors: no invite")
	}
	gone, err := v.o.Store.Factors(ctx, userID)
	if err != nil {
		return Factor{}, nil, fmt.Errorf("read second factors: %w", err)
	}
	return v.enrol(ctx, userID, e, code, actor, gone, "reset by invite "+inviteID)
}

// enrol stores the new factor before it removes the old ones: a crash in
// between leaves one too many, never none.
func (v *Verifier) enrol(ctx context.Context, userID string, e Enrolment, code string, actor audit.Actor, gone []Factor, how string) (Factor, []string, error) {
	if seed, err := seedEncoding.DecodeString(e.Secret); err != nil || len(seed) < seedBytes {
		return Factor{}, nil, errors.New("enrol: not a secret of BeginTOTP")
	}
	now := v.o.Now()
	step, ok := matchStep(e.Secret, plainCode(code), now, window)
	if !ok {
		if far, found := matchStep(e.Secret, plainCode(code), now, skewSearch); found {
			return Factor{}, nil, &SkewError{Offset: time.Duration(far-now.Unix()/period) * period * time.Second}
		}
		return Factor{}, nil, ErrWrongCode
	}
	f := Factor{ID: id.New("F"), UserID: userID, Kind: TOTP, LastStep: step, CreatedAt: stamp(now)}
	f.Sealed = v.o.Box.Seal([]byte(e.Secret), aad(f))
	err := v.o.Store.AddFactor(ctx, f, event(audit.FactorAdded, audit.Success, userID, actor,
		map[string]string{"kind": string(TOTP), "factor": f.ID, "how": how}))
	if err != nil {
		return Factor{}, nil, fmt.Errorf("store the second factor: %w", err)
	}
	if err := v.remove(ctx, gone, actor, how); err != nil {
		return Factor{}, nil, err
	}
	codes, err := v.addRecovery(ctx, userID, actor)
	return f, codes, err
}

func (v *Verifier) remove(ctx context.Context, gone []Factor, actor audit.Actor, how string) error {
	for _, f := range gone {
		err := v.o.Store.RemoveFactor(ctx, f.UserID, f.ID, event(audit.FactorRemoved, audit.Success, f.UserID, actor,
			map[string]string{"kind": string(f.Kind), "factor": f.ID, "how": how}))
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return fmt.Errorf("remove factor %s: %w", f.ID, err)
		}
	}
	return nil
}

// stamp is the precision that stores keep.
func stamp(t time.Time) time.Time { return t.UTC().Truncate(time.Millisecond) }
