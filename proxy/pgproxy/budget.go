package pgproxy

import (
	"context"
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"jit-gateway/approval/policy"
	"jit-gateway/internal/store"
)

// error is e as an answer that leaves the connection open.
func (e *pgError) error() *pgError {
	c := *e
	c.Severity = severityError
	return &c
}

// Spender counts what is used of grants' budgets on every gateway.
type Spender interface {
	// Spend adds, and returns the sum.
	Spend(ctx context.Context, grantID string, add store.Spent) (store.Spent, error)
}

// A usage is what has been used of a budget, and what was added to it.
type usage struct {
	rows, bytes, statements atomic.Int64
	extra                   struct{ rows, bytes, statements atomic.Int64 }

	users atomic.Int64 // live sessions
	mu    sync.Mutex
	told  store.Spent // what the store knows of it
}

// share tells the store what was used here since the last time, and counts
// what was used elsewhere: by other gateways, and before a restart.
func (u *usage) share(ctx context.Context, s Spender, grant string) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	now := store.Spent{Rows: u.rows.Load(), Bytes: u.bytes.Load(), Statements: u.statements.Load()}
	sum, err := s.Spend(ctx, grant, store.Spent{Rows: now.Rows - u.told.Rows, Bytes: now.Bytes - u.told.Bytes, Statements: now.Statements - u.told.Statements})
	if err != nil {
		return err
	}
	u.rows.Add(sum.Rows - now.Rows)
	u.bytes.Add(sum.Bytes - now.Bytes)
	u.statements.Add(sum.Statements - now.Statements)
	u.told = sum
	return nil
}

// A budget bounds what one session does. The zero budget bounds nothing.
type budget struct {
	limited bool
	limit   policy.Budget
	per     string // "session" or "grant", for people
	name    string // of the gateway, for the hint
	grant   string
	used    *usage
}

// statement counts one, or refuses it.
func (b *budget) statement() *pgError {
	if !b.limited {
		return nil
	}
	u := b.used
	switch {
	case past(b.limit.Rows, &u.extra.rows, u.rows.Load()-1):
		return b.spent("rows", b.limit.Rows+u.extra.rows.Load())
	case past(b.limit.Bytes, &u.extra.bytes, u.bytes.Load()-1):
		return b.spent("bytes", b.limit.Bytes+u.extra.bytes.Load())
	}
	if n := u.statements.Add(1); past(b.limit.Statements, &u.extra.statements, n-1) {
		u.statements.Add(-1)
		return b.spent("statements", b.limit.Statements+u.extra.statements.Load())
	}
	return nil
}

// another counts one that was known only when it had ended, and says whether
// the next is past the budget.
func (b *budget) another() *pgError {
	if n := b.used.statements.Add(1); past(b.limit.Statements, &b.used.extra.statements, n) {
		return b.spent("statements", b.limit.Statements+b.used.extra.statements.Load())
	}
	return nil
}

// take counts rows and bytes on their way to the client, or refuses them.
func (b *budget) take(rows, bytes int64) *pgError {
	u := b.used
	if n := u.rows.Add(rows); rows > 0 && past(b.limit.Rows, &u.extra.rows, n-1) {
		return b.spent("rows", b.limit.Rows+u.extra.rows.Load())
	}
	if n := u.bytes.Add(bytes); past(b.limit.Bytes, &u.extra.bytes, n-1) {
		return b.spent("bytes", b.limit.Bytes+u.extra.bytes.Load())
	}
	return nil
}

// changed counts rows that a statement changed: known only when it has, so
// the budget stops the next one.
func (b *budget) changed(rows int64) { b.used.rows.Add(rows) }

// past reports whether one more than used is past limit and extra.
func past(limit int64, extra *atomic.Int64, used int64) bool {
	return limit > 0 && used >= limit+extra.Load()
}

func (b *budget) spent(what string, limit int64) *pgError {
	return fatal(stateBudget, "the budget of %d %s for this %s is spent", limit, what, b.per).error().
		hint("An approver can raise it: ssh %s budget %s --%s N", b.name, b.grant, what)
}

// budgets shares usage between the sessions of a grant.
type budgets struct {
	mu     sync.Mutex
	grants map[string]*usage
}

// shareEvery is how often gateways learn what the others have used: as long
// may a budget be overdrawn.
const shareEvery = time.Second

// shareAll does it for every grant, until ctx is done and once more then.
func (b *budgets) shareAll(ctx context.Context, s Spender, failed func(error)) {
	tick := time.NewTicker(shareEvery)
	defer tick.Stop()
	for ctx.Err() == nil {
		select {
		case <-tick.C:
			b.shareOnce(ctx, s, failed)
		case <-ctx.Done():
		}
	}
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
	defer cancel()
	b.shareOnce(last, s, failed)
}

func (b *budgets) shareOnce(ctx context.Context, s Spender, failed func(error)) {
	b.mu.Lock()
	all := maps.Clone(b.grants)
	b.mu.Unlock()
	for grant, u := range all {
		if u.users.Load() == 0 && u.idle() {
			continue // nothing to tell, and nobody to tell of others
		}
		if err := u.share(ctx, s, grant); err != nil {
			failed(err)
			return // the store is away: sessions end with it
		}
	}
}

// idle reports whether the store knows all that was used here.
func (u *usage) idle() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.told == store.Spent{Rows: u.rows.Load(), Bytes: u.bytes.Load(), Statements: u.statements.Load()}
}

// open returns the budget of a session under a grant, with what was added to
// it so far.
func (b *budgets) open(grant, name string, limit, raised policy.Budget) *budget {
	out := b.find(grant, name, limit)
	out.used.raise(raised)
	return out
}

// raise sets what was added to the budget, which only grows.
func (u *usage) raise(to policy.Budget) {
	for extra, n := range map[*atomic.Int64]int64{&u.extra.rows: to.Rows, &u.extra.bytes: to.Bytes, &u.extra.statements: to.Statements} {
		for have := extra.Load(); n > have && !extra.CompareAndSwap(have, n); have = extra.Load() {
		}
	}
}

func (b *budgets) find(grant, name string, limit policy.Budget) *budget {
	out := &budget{limit: limit, per: "session", name: name, grant: grant, used: &usage{}}
	out.limited = limit.Rows > 0 || limit.Bytes > 0 || limit.Statements > 0
	if limit.Per != "grant" || !out.limited {
		return out
	}
	out.per = "grant"
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.grants == nil {
		b.grants = map[string]*usage{}
	}
	if u, ok := b.grants[grant]; ok {
		out.used = u
	} else {
		b.grants[grant] = out.used
	}
	return out
}

// RaiseBudget sets what was added so far to the budget of a grant, for its live
// sessions on this gateway, at once; it reports whether there was one.
func (s *Server) RaiseBudget(grant string, to policy.Budget) bool {
	found := false
	s.mu.Lock()
	defer s.mu.Unlock()
	for l := range s.links {
		b := l.tr.budget
		if b.grant == grant && b.limited {
			found = true
			b.used.raise(to)
		}
	}
	return found
}
