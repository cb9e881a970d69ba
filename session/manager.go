package session

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"jit-gateway/internal/audit"
	"jit-gateway/internal/store"
)

// A Manager keeps every live session of this gateway and ends each exactly.
//
// Its goroutines, all waited for by Run: watch (deadlines and idle time-outs),
// follow (the audit feed), beat (the store's health), sweep (credentials that
// would not die, orphans). mu guards what they share and is never held over
// a call to the store, a recording, a cleaner or a handler; a session's own
// lock may be taken while it is held, never the other way round.
type Manager struct {
	o        Options
	base     time.Time // of Session.used
	cleaners map[string]Cleaner
	started  chan struct{} // closed when Run has recovered and watches
	nudge    chan struct{} // a deadline may be earlier than the one that watch waits for
	work     chan struct{} // there is something for sweep
	paper    chan struct{} // places for those who write their end

	mu        sync.Mutex
	state     managerState
	live      map[string]*Session
	ended     chan struct{} // closed and replaced whenever a session leaves live
	gone      tombstones
	highWater time.Time
	storeSeen time.Duration // boot time of the last sight of the store
	storeErr  error         // of the last beat
	feedErr   error         // the feed is deaf
	unclosed  map[string]closing
	undead    map[string]*corpse
}

type managerState int

const (
	notRunning managerState = iota
	running
	draining
	stopped
)

// NewManager checks o and registers with o.Tokens. Run must follow.
func NewManager(o Options) (*Manager, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	m := &Manager{
		o: o, base: time.Now(), cleaners: maps.Clone(o.Cleaners),
		started: make(chan struct{}), nudge: make(chan struct{}, 1), work: make(chan struct{}, 1), paper: make(chan struct{}, paperwork), ended: make(chan struct{}),
		live: map[string]*Session{}, gone: tombstones{},
		unclosed: map[string]closing{}, undead: map[string]*corpse{},
	}
	if m.cleaners == nil {
		m.cleaners = map[string]Cleaner{}
	}
	m.cleaners[KindSSHCert] = keyCleaner{m}
	if o.Tokens != nil {
		m.cleaners[KindToken] = tokenCleaner{o.Tokens}
		o.Tokens.SetLedger(m)
	}
	return m, nil
}

// Run recovers what dead instances left, then watches over the sessions until
// ctx is done: deadlines, idle time-outs, the audit feed, the store's health,
// credentials that would not die. Begin waits for it, and refuses without it.
// When ctx is done, sessions that are still live are terminated: Drain first.
func (m *Manager) Run(ctx context.Context) error {
	m.mu.Lock()
	if m.state != notRunning {
		m.mu.Unlock()
		return errors.New("the session manager runs already, or has run")
	}
	m.mu.Unlock()
	if err := m.beatOnce(ctx); err != nil {
		return fmt.Errorf("start the session manager: %w", err)
	}
	// The cursor is taken before anything can begin: no event is missed.
	cursor, err := m.o.Feed.LastSeq(ctx)
	if err != nil {
		return fmt.Errorf("start the session manager: %w", err)
	}
	if err := m.Recover(ctx); err != nil {
		return fmt.Errorf("start the session manager: %w", err)
	}
	alarm, err := m.o.Clock.NewAlarm()
	if err != nil {
		return fmt.Errorf("start the session manager: %w", err)
	}
	defer alarm.Close()

	// The loops outlive ctx until the last session has ended: a session
	// without its deadline must not exist.
	loops, stop := context.WithCancel(context.WithoutCancel(ctx))
	var wg sync.WaitGroup
	wg.Go(func() { m.watch(loops, alarm) })
	wg.Go(func() { m.follow(loops, cursor) })
	wg.Go(func() { m.beat(loops) })
	wg.Go(func() { m.sweep(loops) })
	m.mu.Lock()
	m.state = running
	m.mu.Unlock()
	close(m.started)

	<-ctx.Done()
	err = m.Drain(ctx)
	m.mu.Lock()
	m.state = stopped
	m.mu.Unlock()
	stop()
	wg.Wait()
	return err
}

// finishGrace is how long terminated sessions get for step 12 at a shutdown.
const finishGrace = 15 * time.Second

// Drain refuses new sessions and waits until the live ones have ended or ctx
// is done; then it terminates the rest and waits for them.
func (m *Manager) Drain(ctx context.Context) error {
	m.mu.Lock()
	if m.state != stopped {
		m.state = draining
	}
	m.mu.Unlock()
	if m.waitEmpty(ctx) == nil {
		return nil
	}
	now := m.o.Clock.Now()
	for _, s := range m.sessions() {
		m.cut(s, &Termination{Cause: "gateway_stopped", Reason: "The gateway is stopping; connect again in a moment.", At: now})
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), finishGrace)
	defer cancel()
	if err := m.waitEmpty(ctx); err != nil {
		return fmt.Errorf("%d sessions did not finish within %s; the next start recovers them", len(m.sessions()), finishGrace)
	}
	return nil
}

func (m *Manager) waitEmpty(ctx context.Context) error {
	for {
		m.mu.Lock()
		n, ended := len(m.live), m.ended
		m.mu.Unlock()
		if n == 0 {
			return nil
		}
		select {
		case <-ended:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// sessions is every live session, in no order.
func (m *Manager) sessions() []*Session {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Collect(maps.Values(m.live))
}

// Info is a live session as lists show it.
type Info struct {
	Row
	End      time.Time `json:"end"`       // exact
	LastUsed time.Time `json:"last_used"` // last traffic
}

// Live lists the live sessions of this gateway, oldest first.
func (m *Manager) Live() []Info {
	now := m.o.Clock.Now()
	var list []Info
	for _, s := range m.sessions() {
		list = append(list, Info{Row: s.Row(), End: s.End(), LastUsed: now.Add(-s.unused())})
	}
	slices.SortFunc(list, func(a, b Info) int {
		return cmp.Or(a.StartedAt.Compare(b.StartedAt), cmp.Compare(a.ID, b.ID))
	})
	return list
}

// Get returns a live session of this gateway.
func (m *Manager) Get(id string) (*Session, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	s, ok := m.live[id]
	return s, ok
}

// Terminate ends a session, on this gateway or, through the audit log, on
// another. It returns once a local session is cut and the event written; it
// does not wait for step 12. That t.By may do it is the caller's to check.
// store.ErrNotFound: no such open session.
func (m *Manager) Terminate(ctx context.Context, id string, t Termination) error {
	t.At = m.o.Clock.Now()
	t.Cause = cmp.Or(t.Cause, "terminated")
	var row Row
	if s, ok := m.Get(id); ok {
		m.cut(s, &t) // a cut never waits for its record
		row = s.Row()
	} else {
		var err error
		if row, err = m.o.Store.Session(ctx, id); err != nil {
			return fmt.Errorf("terminate session %q: %w", id, err)
		}
		if row.State != Open {
			return fmt.Errorf("terminate session %q: it has ended already: %w", id, store.ErrNotFound)
		}
	}
	actor := audit.Gateway
	if t.By != "" {
		actor = audit.Actor{ID: t.By}
	}
	ev := rowEvent(row, audit.SessionTerminated)
	ev.Actor, ev.Reason, ev.Detail = actor, t.Reason, map[string]string{"cause": t.Cause}
	if _, err := m.o.Log.Append(context.WithoutCancel(ctx), ev); err != nil {
		return fmt.Errorf("record the termination of session %q: %w", id, err)
	}
	return nil
}

// OpenSessions counts the open sessions of a grant, on every gateway.
func (m *Manager) OpenSessions(ctx context.Context, grantID string) (int, error) {
	rows, err := m.o.Store.ListSessions(ctx, Filter{GrantID: grantID, State: Open, Limit: 1000})
	if err != nil {
		return 0, fmt.Errorf("count the sessions of grant %s: %w", grantID, err)
	}
	return len(rows), nil
}

// rowEvent is an event with the correlation ids of a session.
func rowEvent(r Row, typ audit.Type) audit.Event {
	return audit.Event{Type: typ, Outcome: audit.Success, User: r.UserID, Target: r.Target,
		Request: r.RequestID, Grant: r.GrantID, Session: r.ID}
}
