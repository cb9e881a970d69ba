package approval

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"jit-gateway/internal/audit"
	"jit-gateway/internal/identity"
	"jit-gateway/internal/store"
)

const (
	// Timers of Go stand still while a machine is suspended, and know nothing
	// of a wall clock that is set: so nothing sleeps longer than this. Admit and
	// sessions look at the time themselves; this is about writing ends down.
	longestSleep = 10 * time.Second
	retryAfter   = time.Second
)

// Run writes down what time does: requests that expire or escalate, grants
// that lapse or expire, each by an exact timer; and what follows from other
// events: disabled users lose their grants, grants that end with their last
// session end, users who left a group lose what it gave them. Several
// gateways may run it over one store. It returns when ctx is done.
func (s *Service) Run(ctx context.Context) error {
	if s.o.Feed == nil {
		return errors.New("approval: Run needs Options.Feed")
	}
	after, err := s.o.Feed.LastSeq(ctx)
	if err != nil {
		return fmt.Errorf("follow the log: %w", err)
	}
	a := &agenda{wake: make(chan struct{}, 1)}
	if err := s.catchUp(ctx, a); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	wg.Go(func() { s.follow(ctx, a, after) })
	defer wg.Wait()
	defer cancel()
	for {
		for _, id := range a.due(s.o.Now()) {
			if err := s.tick(ctx, a, id); err != nil && ctx.Err() == nil {
				s.o.Logger.Error("write down what time did", "id", id, "error", err)
				a.put(id, s.o.Now().Add(retryAfter))
			}
		}
		t := time.NewTimer(a.sleep(s.o.Now()))
		select {
		case <-ctx.Done():
			t.Stop()
			return nil
		case <-a.wake:
		case <-t.C:
		}
		t.Stop()
	}
}

// catchUp puts everything that is open on the agenda, and makes good what a
// crash left half done.
func (s *Service) catchUp(ctx context.Context, a *agenda) error {
	requests, err := s.o.Requests.ListRequests(ctx, RequestFilter{State: Pending, Limit: everything})
	if err != nil {
		return fmt.Errorf("list requests: %w", err)
	}
	for _, r := range requests {
		s.schedule(a, r)
	}
	grants, err := s.o.Grants.ListGrants(ctx, GrantFilter{States: []GrantState{Waiting, Active}, Limit: everything})
	if err != nil {
		return fmt.Errorf("list grants: %w", err)
	}
	if err := s.vanished(ctx, grants); err != nil {
		return err
	}
	users := map[string]bool{}
	for _, g := range grants {
		a.put(g.ID, s.due(g))
		users[g.UserID] = true
	}
	for id := range users { // disabled while no gateway ran
		if err := s.userChanged(ctx, a, id, nil); err != nil {
			return err
		}
	}
	approved, err := s.o.Requests.ListRequests(ctx, RequestFilter{State: Approved, Since: s.o.Now().Add(-60 * 24 * time.Hour), Limit: everything})
	if err != nil {
		return fmt.Errorf("list requests: %w", err)
	}
	for _, r := range approved {
		if r.Extends == "" {
			continue
		}
		var ge *GrantError
		if err := s.extend(ctx, r); err != nil && !errors.As(err, &ge) {
			return err
		}
	}
	return nil
}

func (s *Service) schedule(a *agenda, r Request) {
	at := r.ExpiresAt
	if rule, ok := s.o.Rules().Rule(r.Rule); ok && rule.Escalate != nil && r.EscalatedAt.IsZero() {
		at = earlier(at, r.FiledAt.Add(rule.Escalate.After.Std()))
	}
	a.put(r.ID, at)
}

// userDay is the entry of the agenda for the day on which an account ends.
const userDay = "user:"

// tick does what is due for one request, grant or user, and puts it back for later.
func (s *Service) tick(ctx context.Context, a *agenda, id string) error {
	if userID, ok := strings.CutPrefix(id, userDay); ok {
		return s.userChanged(ctx, a, userID, nil)
	}
	if id[0] == 'R' {
		r, err := s.o.Requests.Request(ctx, id)
		if err != nil || r.State != Pending {
			return ignore(err, store.ErrNotFound)
		}
		if err = s.expireRequest(ctx, r); err == nil && s.o.Now().Before(r.ExpiresAt) {
			err = s.escalate(ctx, r)
		}
		if err = ignore(err, store.ErrConflict); err != nil {
			return err
		}
		if r, err = s.o.Requests.Request(ctx, id); err == nil && r.State == Pending {
			s.schedule(a, r)
		}
		return err
	}
	g, err := s.o.Grants.Grant(ctx, id)
	if err != nil || g.State == Ended {
		return ignore(err, store.ErrNotFound)
	}
	err = s.expireGrant(ctx, g)
	if err == nil && !s.over(g) {
		err = s.tellExpiring(ctx, g)
	}
	if err = ignore(err, store.ErrConflict); err != nil {
		return err
	}
	if g, err = s.o.Grants.Grant(ctx, id); err == nil && g.State != Ended {
		a.put(g.ID, s.due(g))
	}
	return err
}

func ignore(err, what error) error {
	if errors.Is(err, what) {
		return nil
	}
	return err
}

// follow keeps the agenda and acts on events, through store trouble, until ctx is done.
func (s *Service) follow(ctx context.Context, a *agenda, after int64) {
	for ctx.Err() == nil {
		for ev, err := range audit.Tail(ctx, s.o.Feed, after) {
			if err == nil {
				err = s.react(ctx, a, ev)
			}
			if err != nil {
				if ctx.Err() == nil {
					s.o.Logger.Error("follow the log", "after", after, "error", err)
				}
				break // and begin again with the same event
			}
			after = ev.Seq
		}
		select {
		case <-ctx.Done():
		case <-time.After(retryAfter):
		}
	}
}

// react does what follows from one event. It must be repeatable.
func (s *Service) react(ctx context.Context, a *agenda, ev audit.Event) error {
	switch ev.Type {
	case audit.RequestFiled:
		r, err := s.o.Requests.Request(ctx, ev.Request)
		if err != nil {
			return ignore(err, store.ErrNotFound)
		}
		if r.State == Pending {
			s.schedule(a, r)
		}
	case audit.RequestApproved, audit.GrantActivated, audit.GrantExtended:
		if ev.Grant == "" {
			return nil
		}
		g, err := s.o.Grants.Grant(ctx, ev.Grant)
		if err != nil {
			return ignore(err, store.ErrNotFound)
		}
		if g.State != Ended {
			a.put(g.ID, s.due(g))
		}
	case audit.UserDisabled, audit.UserUpdated:
		return s.userChanged(ctx, a, ev.User, &ev)
	case audit.TargetRemoved:
		return s.targetRemoved(ctx, ev.Target)
	case audit.SessionEnded, audit.SessionCrashed:
		return s.sessionEnded(ctx, ev.Grant)
	}
	return nil
}

// userChanged ends what a user may no longer hold: everything when disabled or
// at the end of the account, and each grant whose rule no longer is about them.
// ev is the change, nil if it is not known.
func (s *Service) userChanged(ctx context.Context, a *agenda, userID string, ev *audit.Event) error {
	u, err := s.o.Users.User(ctx, userID)
	if errors.Is(err, store.ErrNotFound) {
		return s.endAll(ctx, userID, CauseDisabled, "the account is gone")
	}
	if err != nil {
		return fmt.Errorf("read user %s: %w", userID, err)
	}
	switch {
	case u.State != identity.Active:
		return s.endAll(ctx, userID, CauseDisabled, "the account was disabled")
	case !u.Usable(s.o.Now()):
		return s.endAll(ctx, userID, CauseDisabled, "the account has ended")
	case !u.ValidUntil.IsZero():
		a.put(userDay+userID, u.ValidUntil)
	}
	grants, err := s.o.Grants.ListGrants(ctx, GrantFilter{UserID: userID, States: []GrantState{Waiting, Active}, Limit: everything})
	if err != nil {
		return fmt.Errorf("list grants: %w", err)
	}
	for _, g := range grants {
		why := s.lost(ctx, u, g, ev)
		if !s.stillAbout(u, g) {
			why = fmt.Sprintf("rule %s is no longer about %s", g.Rule.Name, u.Name)
		}
		if why == "" {
			continue
		}
		_, err := s.end(ctx, g.ID, ending{cause: CauseRevoked, event: audit.GrantRevoked, actor: audit.Gateway, reason: why})
		if err != nil && !errors.Is(err, ErrEnded) {
			return err
		}
	}
	return nil
}

// stillAbout reports whether the rule that was approved still selects the
// user for any of the targets. A change of the rules themselves ends nothing.
func (s *Service) stillAbout(u identity.User, g Grant) bool {
	set, err := s.approvedSet(g)
	if err != nil {
		return true
	}
	targets := s.present(g.Targets)
	for _, t := range targets {
		if set.Selects(g.Rule.Name, selection(u, g, t)) {
			return true
		}
	}
	return len(targets) == 0
}

// lost says why the groups that the user left or joined with this change
// cost them the grant: a condition that names a group, or a rule that denies
// one. What would be refused with the groups of before as well (other hours, rules
// that were reloaded since) ends nothing here.
func (s *Service) lost(ctx context.Context, u identity.User, g Grant, ev *audit.Event) string {
	if ev == nil || ev.Type != audit.UserUpdated {
		return ""
	}
	was, ok := ev.Detail["groups_before"]
	if _, now := ev.Detail["groups"]; !ok || !now {
		return ""
	}
	before, source := u, s.lastSource(ctx, g)
	before.Groups = strings.FieldsFunc(was, func(r rune) bool { return r == ',' })
	for _, t := range s.present(g.Targets) {
		_, err := s.check(ctx, u, g, t, source)
		if refused := (*GrantError)(nil); !errors.As(err, &refused) {
			continue
		}
		if _, then := s.check(ctx, before, g, t, source); then == nil {
			return fmt.Sprintf("the groups of %s changed: %v", u.Name, err)
		}
	}
	return ""
}

// sessionEnded ends a grant that ends with its last session.
func (s *Service) sessionEnded(ctx context.Context, grantID string) error {
	if grantID == "" || s.o.OpenSessions == nil {
		return nil
	}
	g, err := s.o.Grants.Grant(ctx, grantID)
	if err != nil || g.State != Active {
		return ignore(err, store.ErrNotFound)
	}
	if current, ok := s.o.Rules().Rule(g.Rule.Name); !g.EndsWithLast && (!ok || !current.Session.EndsWithLast) {
		return nil
	}
	n, err := s.o.OpenSessions(ctx, grantID)
	if err != nil || n > 0 {
		return err
	}
	_, err = s.end(ctx, grantID, ending{cause: CauseLast, event: audit.GrantReleased, actor: audit.Gateway, reason: "its last session ended"})
	return ignore(err, ErrEnded)
}
