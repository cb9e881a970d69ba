package session

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"jit-gateway/internal/audit"
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
	storeSeen time.Duration  // boot time of the last sight of the store
	storeErr  error          // of the last beat
	feedErr   error          // the feed is deaf
	unclosed  map[string]End // ends that the store did not take, by session
	unlogged  []audit.Event  // seals that came late and that it did not take
	undead    map[string]*corpse
	mourned   []string // grants that ended: sweep looks for their tokens
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
		unclosed: map[string]End{}, undead: map[string]*corpse{},
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
	if err := errors.Join(m.Recover(ctx), m.sealLeftovers(ctx)); err != nil {
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
