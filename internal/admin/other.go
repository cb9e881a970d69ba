package admin

import (
	"context"
	"encoding/json"
	"fmt"

	"jit-gateway/internal/audit"
	"jit-gateway/internal/display"
	"jit-gateway/internal/id"
	"jit-gateway/internal/identity"
	"jit-gateway/internal/store"
)

// Another is a kind of act that other packages carry out, such as the
// deletion of a recording, once a second administrator has confirmed it. The
// text says what was done.
type Another func(ctx context.Context, by By, act store.AdminAct) (text string, err error)

// Ask keeps an act of another kind for a second administrator, whatever the
// number of administrators: who may not do something alone may not do it for
// want of others.
func (s *Service) Ask(ctx context.Context, by By, kind string, args any, summary string) (store.AdminAct, error) {
	if by.User.ID == "" {
		return store.AdminAct{}, refuse(nil, "This takes two people, and the local administrator is nobody in particular. Ask over ssh, as an administrator.")
	}
	second, err := s.SecondAdmin(ctx, by.User)
	if err != nil {
		return store.AdminAct{}, err
	}
	if !second {
		return store.AdminAct{}, refuse(nil, "This takes two people, and there is no second administrator with a second factor.")
	}
	person, err := identity.Person(ctx, s.o.Users, by.User)
	if err != nil {
		return store.AdminAct{}, err
	}
	raw, err := json.Marshal(args)
	if err != nil {
		return store.AdminAct{}, fmt.Errorf("encode what was asked for: %w", err)
	}
	now := s.o.Now().UTC()
	act := store.AdminAct{ID: id.Short("A", 6), Kind: kind, Args: raw, Summary: summary, By: by.User.ID, Person: person,
		CreatedAt: now, ExpiresAt: now.Add(Lifetime), State: store.ActWaiting}
	return act, s.o.Acts.CreateAdminAct(ctx, act, audit.Event{Type: audit.AdminActRequested, Outcome: audit.Success, Actor: by.Actor,
		Detail: map[string]string{"act": act.ID, "kind": kind, "summary": display.Line(summary, 0)}})
}
