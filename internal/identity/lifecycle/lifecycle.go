// Package lifecycle ends accounts that nobody ends: contractors at the end of
// their last day, accounts that nobody has used for a while, and the alternate
// and machine accounts of somebody whose own account was disabled. Each end is
// one audit event (user.disabled), which ends grants and sessions as any other
// does; those that can be foreseen are announced once before (user.expiring).
//
// It follows the audit log to know when somebody was last seen, and who was
// disabled. It never enables anybody.
//
// Start reading at Keeper.Run.
package lifecycle

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"jit-gateway/internal/audit"
	"jit-gateway/internal/identity"
	"jit-gateway/internal/store"
)

const (
	longestSleep = 5 * time.Minute // a clock that was set is noticed by then
	touchEvery   = time.Minute     // LastSeen is no more exact than this
	retryAfter   = time.Second
)

// Users is the store of accounts.
type Users interface {
	User(ctx context.Context, id string) (identity.User, error)
	Users(ctx context.Context) ([]identity.User, error)
	UpdateUser(ctx context.Context, u identity.User, ev audit.Event) error
	TouchUser(ctx context.Context, id string, seen time.Time) error
}

// Options builds a Keeper.
type Options struct {
	Users        Users
	Feed         audit.Source
	DormantAfter time.Duration // zero: nobody is disabled for not being seen
	Warn         time.Duration // how long before an end it is announced
	Except       []string      // groups whose members are never dormant: emergency accounts
	// Clock says whether the clock can be trusted; nobody is disabled by one that cannot.
	Clock  func(ctx context.Context) error
	Now    func() time.Time
	Logger *slog.Logger
}

// Keeper does it. Several gateways may run one each over one store.
type Keeper struct {
	o Options

	mu      sync.Mutex
	touched map[string]time.Time
	wake    chan struct{}
}

// New checks the options.
func New(o Options) (*Keeper, error) {
	if o.Users == nil || o.Feed == nil || o.Now == nil || o.Clock == nil {
		return nil, errors.New("lifecycle: an option is missing")
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return &Keeper{o: o, touched: map[string]time.Time{}, wake: make(chan struct{}, 1)}, nil
}

// Run works until ctx is done.
func (k *Keeper) Run(ctx context.Context) error {
	after, err := k.o.Feed.LastSeq(ctx)
	if err != nil {
		return fmt.Errorf("follow the log: %w", err)
	}
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	wg.Go(func() { k.follow(ctx, after) })
	defer wg.Wait()
	defer cancel()
	for {
		sleep := longestSleep
		next, err := k.Sweep(ctx)
		if err != nil && ctx.Err() == nil {
			k.o.Logger.Error("look for accounts that have ended", "error", err)
			sleep = retryAfter
		} else if !next.IsZero() {
			sleep = min(sleep, max(0, next.Sub(k.o.Now())))
		}
		t := time.NewTimer(sleep)
		select {
		case <-ctx.Done():
			t.Stop()
			return nil
		case <-k.wake:
		case <-t.C:
		}
		t.Stop()
	}
}

// follow notes who was seen, through store trouble, until ctx is done.
func (k *Keeper) follow(ctx context.Context, after int64) {
	for ctx.Err() == nil {
		for ev, err := range audit.Tail(ctx, k.o.Feed, after) {
			if err == nil {
				err = k.note(ctx, ev)
			}
			if err != nil {
				if ctx.Err() == nil {
					k.o.Logger.Error("note who was seen", "after", after, "error", err)
				}
				break
			}
			after = ev.Seq
		}
		select {
		case <-ctx.Done():
		case <-time.After(retryAfter):
		}
	}
}

// note takes one event: somebody was there, or an account changed.
func (k *Keeper) note(ctx context.Context, ev audit.Event) error {
	if ev.Outcome != audit.Success || ev.User == "" {
		return nil
	}
	switch ev.Type {
	case audit.UserDisabled: // at once, whatever the clock says: who leaves, leaves under all accounts
		users, err := k.o.Users.Users(ctx)
		if err != nil {
			return err
		}
		return k.orphans(ctx, users)
	case audit.UserAdded, audit.UserUpdated, audit.UserEnabled:
		select {
		case k.wake <- struct{}{}:
		default:
		}
	case audit.LoginPassed, audit.PageSignedIn, audit.FactorPassed, audit.SessionStarted:
		k.mu.Lock()
		fresh := ev.Time.Sub(k.touched[ev.User]) < touchEvery
		if !fresh {
			if len(k.touched) > 10_000 {
				clear(k.touched)
			}
			k.touched[ev.User] = ev.Time
		}
		k.mu.Unlock()
		if !fresh {
			if err := k.o.Users.TouchUser(ctx, ev.User, ev.Time); err != nil && !errors.Is(err, store.ErrNotFound) {
				return err
			}
		}
	}
	return nil
}

// end is when and why an account ends by itself.
type end struct {
	at     time.Time
	why    string // identity.Disabled… constant
	reason string
}

// ends are those that lie before the account, the nearest first. seen is when
// somebody last used it.
func (k *Keeper) ends(u identity.User, seen time.Time) []end {
	var out []end
	if !u.ValidUntil.IsZero() {
		out = append(out, end{u.ValidUntil, identity.DisabledValidUntil, fmt.Sprintf("the account was valid until %s", u.ValidUntil.UTC().Format("2006-01-02 15:04 UTC"))})
	}
	if k.o.DormantAfter > 0 && !slices.ContainsFunc(k.o.Except, u.In) {
		last := seen
		for _, t := range []time.Time{u.CreatedAt, u.EnabledAt} {
			if t.After(last) {
				last = t
			}
		}
		out = append(out, end{last.Add(k.o.DormantAfter), identity.DisabledDormant, fmt.Sprintf("nobody has used the account since %s", last.UTC().Format("2006-01-02"))})
	}
	slices.SortFunc(out, func(a, b end) int { return a.at.Compare(b.at) })
	return out
}

// Sweep disables whose end has come, announces what comes within the time of
// warning, and returns when to look again; the zero time if nothing is due.
func (k *Keeper) Sweep(ctx context.Context) (next time.Time, err error) {
	if err := k.o.Clock(ctx); err != nil {
		return next, fmt.Errorf("nobody is disabled by this clock: %w", err)
	}
	users, err := k.o.Users.Users(ctx)
	if err != nil {
		return next, err
	}
	if err := k.orphans(ctx, users); err != nil {
		return next, err
	}
	seen := lastSeen(users)
	now := k.o.Now()
	later := func(t time.Time) {
		if next.IsZero() || t.Before(next) {
			next = t
		}
	}
	for _, u := range users {
		if u.State != identity.Active {
			continue
		}
		// The nearest alone: the account does not live to see the others, and two
		// that were announced in turn would be announced for ever.
		ends := k.ends(u, seen[u.ID])
		if len(ends) == 0 {
			continue
		}
		switch e := ends[0]; {
		case !now.Before(e.at):
			err = errors.Join(err, k.disable(ctx, u, e))
		case !now.Before(e.at.Add(-k.o.Warn)):
			err = errors.Join(err, k.announce(ctx, u, e))
			later(e.at)
		default:
			later(e.at.Add(-k.o.Warn))
		}
	}
	return next, err
}

// lastSeen is when each account was last used, by user id. Who works under an
// alternate account is there: the account that answers for it is used with it.
func lastSeen(users []identity.User) map[string]time.Time {
	seen := map[string]time.Time{}
	note := func(id string, at time.Time) {
		if at.After(seen[id]) {
			seen[id] = at
		}
	}
	for _, u := range users {
		note(u.ID, u.LastSeen)
		if u.Owner != "" && u.Kind != identity.Machine {
			note(u.Owner, u.LastSeen)
		}
	}
	return seen
}

// orphans disables the accounts that somebody answered for whose own account
// is disabled: a person who left must not come back as their alternate, nor
// as a machine of theirs. The event of each that is disabled brings what it owns.
func (k *Keeper) orphans(ctx context.Context, users []identity.User) error {
	gone := map[string]identity.User{}
	for _, u := range users {
		if u.State != identity.Active {
			gone[u.ID] = u
		}
	}
	var err error
	for _, u := range users {
		owner, ok := gone[u.Owner]
		if !ok || u.State != identity.Active || u.Owner == u.ID {
			continue
		}
		err = errors.Join(err, k.disable(ctx, u, end{why: identity.DisabledByOwner,
			reason: fmt.Sprintf("the account %s, which answers for it, was disabled", owner.Name)}))
	}
	return err
}

func (k *Keeper) disable(ctx context.Context, u identity.User, e end) error {
	u.State, u.DisabledFor = identity.Disabled, e.why
	return k.save(ctx, u, audit.Event{Type: audit.UserDisabled, Reason: e.reason, Detail: map[string]string{"name": u.Name, "why": e.why}})
}

// announce says once that an account will end.
func (k *Keeper) announce(ctx context.Context, u identity.User, e end) error {
	mark := e.why + " " + e.at.UTC().Format(time.RFC3339)
	if u.Announced == mark {
		return nil
	}
	u.Announced = mark
	reason := "the account's last day comes"
	if e.why == identity.DisabledDormant {
		reason = e.reason
	}
	return k.save(ctx, u, audit.Event{Type: audit.UserExpiring, Reason: reason,
		Detail: map[string]string{"name": u.Name, "why": e.why, "on": e.at.UTC().Format(time.RFC3339), "owner": u.Owner}})
}

// save is a conditional update: who changed the account meanwhile, another
// gateway too, is right, and the next sweep looks at it again.
func (k *Keeper) save(ctx context.Context, u identity.User, ev audit.Event) error {
	ev.Outcome, ev.Actor, ev.User = audit.Success, audit.Gateway, u.ID
	err := k.o.Users.UpdateUser(ctx, u, ev)
	if errors.Is(err, store.ErrConflict) {
		select {
		case k.wake <- struct{}{}:
		default:
		}
		return nil
	}
	return err
}
