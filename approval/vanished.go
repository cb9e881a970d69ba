package approval

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"jit-gateway/internal/audit"
	"jit-gateway/internal/display"
)

// targetRemoved ends the grants of a target that left the inventory. A grant
// over several targets goes on while one of them is there: session ends what
// runs on the one that went.
func (s *Service) targetRemoved(ctx context.Context, name string) error {
	if _, there := s.o.Inventory.Target(name); there { // removed here, and defined elsewhere or anew
		return nil
	}
	grants, err := s.o.Grants.ListGrants(ctx, GrantFilter{Target: name, States: []GrantState{Waiting, Active}, Limit: everything})
	if err != nil {
		return fmt.Errorf("list grants: %w", err)
	}
	var errs []error
	for _, g := range grants {
		if slices.ContainsFunc(g.Targets, func(t string) bool { _, there := s.o.Inventory.Target(t); return there }) {
			continue
		}
		_, err := s.end(ctx, g.ID, ending{cause: CauseVanished, event: audit.GrantRevoked, actor: audit.Gateway,
			reason: display.Line(name, 64) + " is not in the inventory any more"})
		if err != nil && !errors.Is(err, ErrEnded) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// vanished does the same at the start, for what went while no gateway ran.
func (s *Service) vanished(ctx context.Context, grants []Grant) error {
	done := map[string]bool{}
	for _, g := range grants {
		for _, t := range g.Targets {
			if _, there := s.o.Inventory.Target(t); there || done[t] {
				continue
			}
			done[t] = true
			if err := s.targetRemoved(ctx, t); err != nil {
				return err
			}
		}
	}
	return nil
}
