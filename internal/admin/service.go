package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"jit-gateway/approval/mfa"
	"jit-gateway/internal/audit"
	"jit-gateway/internal/display"
	"jit-gateway/internal/id"
	"jit-gateway/internal/identity"
	"jit-gateway/internal/inventory"
	"jit-gateway/internal/store"
)

// Options builds a Service.
type Options struct {
	Users     Users
	Acts      Acts // nil: one administrator is always enough
	Inventory inventory.Inventory
	Targets   inventory.Store
	Reload    func(ctx context.Context) error // makes the inventory anew
	Factors   interface {
		Factors(ctx context.Context, userID string) ([]mfa.Factor, error)
	}
	// Machines keeps what machines prove themselves with. Optional.
	Machines interface {
		Add(ctx context.Context, userID string, n mfa.NewBinding, actor audit.Actor) (mfa.Factor, error)
	}
	IsAdmin func(u identity.User) bool
	Now     func() time.Time
	Others  map[string]Another // what is confirmed here and done elsewhere, by kind
}

// Service makes changes.
type Service struct{ o Options }

// New returns a Service.
func New(o Options) (*Service, error) {
	if o.Users == nil || o.Inventory == nil || o.Factors == nil || o.IsAdmin == nil {
		return nil, errors.New("admin: an option is missing")
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return &Service{o}, nil
}

// Lifetime is how long a change waits for its second administrator.
const Lifetime = 24 * time.Hour

// Do makes the change, or keeps it for a second administrator.
func (s *Service) Do(ctx context.Context, by By, ch Change, summary string) (Outcome, error) {
	if err := s.answeredFor(ctx, ch); err != nil {
		return Outcome{}, err
	}
	if by.LocalAdmin || !ch.Widens() {
		return s.Apply(ctx, by, ch)
	}
	second, err := s.SecondAdmin(ctx, by.User)
	if err != nil {
		return Outcome{}, err
	}
	if !second {
		return s.Apply(ctx, by, ch)
	}
	person, err := identity.Person(ctx, s.o.Users, by.User)
	if err != nil {
		return Outcome{}, err
	}
	args, err := json.Marshal(ch)
	if err != nil {
		return Outcome{}, fmt.Errorf("encode the change: %w", err)
	}
	now := s.o.Now().UTC()
	act := store.AdminAct{ID: id.Short("A", 6), Kind: Kind, Args: args, Summary: summary, By: by.User.ID, Person: person,
		CreatedAt: now, ExpiresAt: now.Add(Lifetime), State: store.ActWaiting}
	err = s.o.Acts.CreateAdminAct(ctx, act, audit.Event{Type: audit.AdminActRequested, Outcome: audit.Success, Actor: by.Actor,
		Detail: map[string]string{"act": act.ID, "summary": display.Line(summary, 0)}})
	if err != nil {
		return Outcome{}, err
	}
	return Outcome{Change: ch, Act: &act}, nil
}

// SecondAdmin reports whether somebody other than u could confirm: an
// administrator who is another person, usable, with a second factor.
func (s *Service) SecondAdmin(ctx context.Context, u identity.User) (bool, error) {
	if s.o.Acts == nil {
		return false, nil
	}
	list, err := s.o.Users.Users(ctx)
	if err != nil {
		return false, err
	}
	person, err := identity.Person(ctx, s.o.Users, u)
	if err != nil {
		return false, err
	}
	for _, o := range list {
		if !s.o.IsAdmin(o) || !o.Usable(s.o.Now()) {
			continue
		}
		// Through any number of owners; an account that nobody answers for is no second.
		if theirs, err := identity.Person(ctx, s.o.Users, o); err != nil || theirs == person {
			continue
		}
		fs, err := s.o.Factors.Factors(ctx, o.ID)
		if err != nil {
			return false, err
		}
		if slices.ContainsFunc(fs, func(f mfa.Factor) bool { return f.Kind != mfa.Recovery }) {
			return true, nil
		}
	}
	return false, nil
}

// Waiting lists the changes that wait, newest first.
func (s *Service) Waiting(ctx context.Context) ([]store.AdminAct, error) {
	if s.o.Acts == nil {
		return nil, nil
	}
	list, err := s.o.Acts.AdminActs(ctx, store.ActWaiting, 100)
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(list, func(a store.AdminAct) bool { return !s.o.Now().Before(a.ExpiresAt) }), nil
}

// Decidable reads an act that by may answer; no is an answer that they may also give to their own.
func (s *Service) Decidable(ctx context.Context, by By, actID string, no bool) (store.AdminAct, error) {
	if s.o.Acts == nil {
		return store.AdminAct{}, store.ErrNotFound
	}
	a, err := s.o.Acts.AdminAct(ctx, actID)
	switch {
	case err != nil:
		return a, err
	case a.State != store.ActWaiting || !s.o.Now().Before(a.ExpiresAt):
		return a, refuse(store.ErrConflict, "%s does not wait any more.", a.ID)
	case no || by.LocalAdmin:
		return a, nil
	}
	person, err := identity.Person(ctx, s.o.Users, by.User)
	if err != nil {
		return a, err
	}
	if a.Person == person {
		return a, refuse(nil, "You asked for %s yourself; another administrator must confirm it.", a.ID)
	}
	return a, s.stillMeant(ctx, a)
}

// stillMeant refuses an act whose asker is no administrator any more: then it
// is not two who want it. The one word of somebody who was let go must not
// wait for a colleague who does not know.
func (s *Service) stillMeant(ctx context.Context, a store.AdminAct) error {
	asker, err := s.o.Users.User(ctx, a.By)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return err
	}
	if err != nil || !asker.Usable(s.o.Now()) || !s.o.IsAdmin(asker) {
		return refuse(nil, "Whoever asked for %s is no administrator any more. Refuse it, and ask anew if it is still wanted.", a.ID)
	}
	return nil
}

// Decide confirms an act, which makes its change, or refuses it. Of two who
// answer at once one gets store.ErrConflict.
func (s *Service) Decide(ctx context.Context, by By, actID string, no bool, note string) (Outcome, error) {
	a, err := s.Decidable(ctx, by, actID, no)
	if err != nil {
		return Outcome{}, err
	}
	var ch Change
	another := s.o.Others[a.Kind]
	if !no && another == nil {
		if a.Kind != Kind {
			return Outcome{}, refuse(nil, "%s is of a kind that cannot be answered here.", a.ID)
		}
		if err := json.Unmarshal(a.Args, &ch); err != nil {
			return Outcome{}, fmt.Errorf("read the change: %w", err)
		}
	}
	a.State, a.DecidedBy, a.DecidedAt, a.Note = store.ActConfirmed, by.User.ID, s.o.Now().UTC(), note
	if no {
		a.State = store.ActRefused
	}
	err = s.o.Acts.DecideAdminAct(ctx, a, audit.Event{Type: audit.AdminActConfirmed, Outcome: audit.Success, Actor: by.Actor, Reason: note,
		Detail: map[string]string{"act": a.ID, "state": string(a.State), "asked_by": a.By, "summary": display.Line(a.Summary, 0)}})
	switch {
	case errors.Is(err, store.ErrConflict):
		return Outcome{}, refuse(err, "Somebody answered %s at the same moment.", a.ID)
	case err != nil || no:
		return Outcome{Act: &a}, err
	}
	if another != nil {
		text, err := another(ctx, by, a)
		return Outcome{Done: text}, err
	}
	return s.Apply(ctx, by, ch)
}
