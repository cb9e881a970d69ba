package mfa

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"jit-gateway/internal/audit"
	"jit-gateway/internal/store"
)

// VerifyJobToken verifies a CI job's token as the machine's second factor:
// signed by its issuer for us alone, not long ago, with every pinned claim as it
// is on record, and never seen before.
func (m *Machines) VerifyJobToken(ctx context.Context, userID, raw string, actor audit.Actor) (Proof, error) {
	raw = strings.TrimSpace(raw)
	factors, err := m.v.factors(ctx, userID, JobToken)
	if err != nil {
		return Proof{}, err
	}
	if len(factors) == 0 || m.o.VerifyToken == nil {
		return Proof{}, ErrNoSuchProof
	}
	var why error
	verified := map[string]Job{}
	for _, f := range factors {
		b, err := m.binding(f)
		if err != nil {
			return Proof{}, err
		}
		t, done := verified[b.Issuer]
		if !done {
			if t, err = m.o.VerifyToken(ctx, b.Issuer, raw); err != nil {
				why = errors.Join(why, err)
				continue
			}
			verified[b.Issuer] = t
		}
		if err := m.fits(t, b); err != nil {
			why = errors.Join(why, err)
			continue
		}
		return m.spend(ctx, userID, f, t, b, actor)
	}
	return Proof{}, m.refused(ctx, userID, JobToken, fmt.Errorf("%w: %w", ErrNotAccepted, why), actor)
}

// fits checks what only this factor knows.
func (m *Machines) fits(t Job, b binding) error {
	age := m.v.o.Now().Sub(t.IssuedAt)
	switch {
	case t.Issuer != b.Issuer:
		return errors.New("the token is of another issuer")
	case t.ID == "":
		return errors.New("the token has no jti, so nobody could tell whether it was used")
	case len(t.ID) > 500:
		return errors.New("the token's jti is too long")
	case t.IssuedAt.IsZero() || age > m.o.MaxAge || age < -time.Minute:
		return fmt.Errorf("the token was issued %s ago, and at most %s are accepted: ask for it right before", age.Round(time.Second), m.o.MaxAge)
	}
	for _, k := range sortedKeys(b.Claims) {
		if got, ok := claimText(t.Claims[k]); !ok || got != b.Claims[k] {
			return fmt.Errorf("the token's %s is %q, not %q", k, got, b.Claims[k])
		}
	}
	return nil
}

// spend takes the token's id by one conditional insert, with the event.
func (m *Machines) spend(ctx context.Context, userID string, f Factor, t Job, b binding, actor audit.Actor) (Proof, error) {
	now := stamp(m.v.o.Now())
	evidence, err := json.Marshal(struct {
		Issuer string            `json:"iss"`
		ID     string            `json:"jti"`
		Issued time.Time         `json:"iat"`
		Claims map[string]string `json:"claims"`
	}{t.Issuer, t.ID, t.IssuedAt.UTC(), b.Claims})
	if err != nil {
		return Proof{}, fmt.Errorf("encode the evidence: %w", err)
	}
	sum := sha256.Sum256([]byte(t.Issuer + "\x00" + t.ID))
	// Kept for longer than the token could be accepted again.
	until := t.Expires.Add(time.Minute)
	if last := t.IssuedAt.Add(m.o.MaxAge + time.Minute); last.After(until) {
		until = last
	}
	err = m.o.Once.UseOnce(ctx, "job token "+hex.EncodeToString(sum[:]), until, now, event(audit.FactorPassed, audit.Success, userID, actor,
		map[string]string{"kind": string(JobToken), "factor": f.ID, "issuer": t.Issuer, "jti": t.ID}))
	if errors.Is(err, store.ErrConflict) {
		return Proof{}, m.refused(ctx, userID, JobToken, ErrUsedProof, actor)
	}
	if err != nil {
		return Proof{}, fmt.Errorf("spend the token: %w", err)
	}
	return Proof{userID: userID, kind: JobToken, factorID: f.ID, at: now, evidence: string(evidence)}, nil
}

// claimText is a claim as it is pinned: text, whole numbers, truth values.
// Lists and objects are none, so that nothing is pinned by accident.
func claimText(v any) (string, bool) {
	switch c := v.(type) {
	case string:
		return c, true
	case bool:
		return strconv.FormatBool(c), true
	case json.Number:
		return c.String(), true
	case float64:
		if c == math.Trunc(c) && math.Abs(c) < 1<<53 {
			return strconv.FormatInt(int64(c), 10), true
		}
	}
	return "", false
}

func sortedKeys(m map[string]string) []string { return slices.Sorted(maps.Keys(m)) }
