package mfa

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"jit-gateway/internal/audit"
	"jit-gateway/internal/store"
)

// Remove removes one of the user's factors, under a fresh proof. The last one stays:
// without any, only an administrator could help.
func (v *Verifier) Remove(ctx context.Context, userID, factorID string, by Proof, actor audit.Actor) error {
	defer v.users.lock(userID)()
	if err := v.fresh(by, userID); err != nil {
		return err
	}
	have, err := v.Factors(ctx, userID)
	if err != nil {
		return err
	}
	i := slices.IndexFunc(have, func(f Factor) bool { return f.ID == factorID })
	others := slices.ContainsFunc(have, func(f Factor) bool { return f.ID != factorID && f.Kind != Recovery })
	switch {
	case i < 0:
		return fmt.Errorf("there is no such factor: %w", store.ErrNotFound)
	case !others && have[i].Kind != Recovery:
		return errors.New("that is the only second factor; enrol another one first")
	}
	return v.remove(ctx, have[i:i+1], actor, "removed under factor "+by.factorID)
}

// Rename gives one of the user's factors another name: for people, it permits
// nothing and needs no proof.
func (v *Verifier) Rename(ctx context.Context, userID, factorID, name string, actor audit.Actor) error {
	name = factorName(name)
	err := v.o.Store.RenameFactor(ctx, userID, factorID, name, event(audit.FactorRenamed, audit.Success, userID, actor,
		map[string]string{"factor": factorID, "name": name}))
	if errors.Is(err, store.ErrNotFound) {
		return fmt.Errorf("there is no such factor: %w", err)
	}
	if err != nil {
		return fmt.Errorf("rename the factor: %w", err)
	}
	return nil
}

// factorName is a name that somebody typed, cut to what a list can show.
func factorName(name string) string {
	name = strings.TrimSpace(strings.ToValidUTF8(name, ""))
	if r := []rune(name); len(r) > maxFactorName {
		name = string(r[:maxFactorName])
	}
	return name
}

const maxFactorName = 40
