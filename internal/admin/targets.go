package admin

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"jit-gateway/internal/audit"
	"jit-gateway/internal/display"
	"jit-gateway/internal/inventory"
)

// SourceStore is what Target.Source says of targets that may be changed here.
const SourceStore = "store"

// Address is where a target is, for people.
func Address(t inventory.Target) string {
	switch {
	case t.SSH != nil && t.SSH.Via != "":
		return t.SSH.Address + " via " + t.SSH.Via
	case t.SSH != nil:
		return t.SSH.Address
	case t.Postgres != nil:
		return t.Postgres.Address + "/" + t.Postgres.Database
	}
	return ""
}

// CheckTargets refuses definitions that cannot work and names that are taken.
func (s *Service) CheckTargets(list []inventory.Target) error {
	var wrong []string
	seen := map[string]string{}
	for _, t := range list {
		for _, e := range t.Validate() {
			wrong = append(wrong, fmt.Sprintf("%s: %s", display.Line(t.Name, 64), display.Line(e.Error(), 0)))
		}
		for _, n := range append([]string{t.Name}, t.Aliases...) {
			n = inventory.Normalize(n)
			if other, ok := s.o.Inventory.Target(n); ok && (other.Name != t.Name || other.Source != SourceStore) {
				where := "the target " + other.Name
				if other.Name == t.Name {
					where = "the configuration, which is not changed from here"
				}
				wrong = append(wrong, fmt.Sprintf("%s: the name %s is taken by %s", display.Line(t.Name, 64), display.Line(n, 64), display.Line(where, 100)))
			} else if by, dup := seen[n]; dup {
				wrong = append(wrong, fmt.Sprintf("%s: the name %s is taken by %s in the same list", display.Line(t.Name, 64), display.Line(n, 64), display.Line(by, 64)))
			}
			seen[n] = t.Name
		}
	}
	if len(wrong) > 0 {
		const most = 20
		if len(wrong) > most {
			wrong = append(wrong[:most], fmt.Sprintf("and %d more", len(wrong)-most))
		}
		return refuse(nil, "Nothing was changed:\n  %s", strings.Join(wrong, "\n  "))
	}
	return nil
}

// putTargets keeps targets, and makes the inventory anew, also for those
// before a failure.
func (s *Service) putTargets(ctx context.Context, by By, list []inventory.Target) (done []string, err error) {
	if s.o.Targets == nil || s.o.Reload == nil {
		return nil, errors.New("targets cannot be changed here")
	}
	if err := s.CheckTargets(list); err != nil {
		return nil, err
	}
	for _, t := range list {
		typ := audit.TargetAdded
		if _, ok := s.o.Inventory.Target(t.Name); ok {
			typ = audit.TargetUpdated
		}
		t.Source = SourceStore
		err = s.o.Targets.PutTarget(ctx, t, audit.Event{Type: typ, Outcome: audit.Success, Actor: by.Actor, Target: t.Name,
			Detail: map[string]string{"kind": string(t.Kind), "address": Address(t), "hash": t.Hash()}})
		if err != nil {
			err = fmt.Errorf("keep the target %s: %w", t.Name, err)
			break
		}
		done = append(done, t.Name)
	}
	if len(done) > 0 {
		if rerr := s.o.Reload(ctx); rerr != nil && err == nil {
			err = fmt.Errorf("load the inventory anew: %w", rerr)
		}
	}
	return done, err
}
