package sqlstore

import (
	"context"
	"fmt"
	"sync"
	"time"

	"jit-gateway/internal/audit"
)

// highWater is the newest time that was ever seen. It is exact in memory, and
// in the store at most highWaterStep behind: the events of a crash's last
// second carry their own times.
type highWater struct {
	mu     sync.Mutex
	high   time.Time
	stored time.Time

	// The clock of a server that several gateways share, when it was last read.
	server time.Time
	read   time.Time // with its monotonic reading
}

const highWaterStep = time.Second

func (h *highWater) saw(t time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if t.After(h.high) {
		h.high = t
	}
}

// sawEvent raises the mark to an event's time, unless it is of a clock that is
// known to be wrong: that would bar everybody once it is right again.
func (db *DB) sawEvent(t time.Time) {
	if server, known := db.clock.serverTime(); known && db.dialect.ClockTolerance > 0 && t.Sub(server) > db.dialect.ClockTolerance {
		return
	}
	db.clock.saw(t)
}

// serverTime is what the server's clock must show now.
func (h *highWater) serverTime() (t time.Time, known bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.server.Add(time.Since(h.read)), !h.server.IsZero()
}

func (w *writer) loadClock() error {
	var high, newest int64
	err := w.QueryRowContext(w.ctx, `SELECT high, coalesce((SELECT max(time) FROM (SELECT time FROM events ORDER BY seq DESC LIMIT 100) newest), 0) FROM clock`).Scan(&high, &newest)
	if err != nil {
		return fmt.Errorf("read the high-water mark of the clock: %w", err)
	}
	if w.db.dialect.Shared {
		newest = 0 // perhaps of a gateway whose clock is wrong: see ClockOK
	}
	w.db.clock.high, w.db.clock.stored = at(max(high, newest)), at(high)
	return nil
}

// HighWater implements session.Instances.
func (db *DB) HighWater(ctx context.Context, now time.Time) (time.Time, error) {
	c := &db.clock
	if db.dialect.Shared {
		if err := db.readClock(ctx); err != nil {
			return now, fmt.Errorf("read the high-water mark of the clock: %w", err)
		}
		if err := db.ClockOK(ctx); err != nil {
			return now, err // it must not bar the others
		}
	}
	c.saw(now.UTC().Round(0))
	c.mu.Lock()
	high, due := c.high, c.high.Sub(c.stored) >= highWaterStep
	c.mu.Unlock()
	if !due {
		return high, nil
	}
	if err := db.write(ctx, func(t *tx) error {
		_, err := t.exec("UPDATE clock SET high = ? WHERE high < ?", ns(high), ns(high))
		return err
	}); err != nil {
		return high, fmt.Errorf("keep the high-water mark of the clock: %w", err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if high.After(c.stored) {
		c.stored = high
	}
	return high, nil
}

// readClock learns the mark that other gateways have raised, and the time of
// the server.
func (db *DB) readClock(ctx context.Context) error {
	type reading struct{ high, server int64 }
	r, err := get(ctx, db.read, "clock", db.dialect.ServerTime, nil, func(r row) (v reading, err error) {
		return v, r.Scan(&v.high, &v.server)
	})
	if err != nil {
		return err
	}
	c := &db.clock
	c.mu.Lock()
	defer c.mu.Unlock()
	c.server, c.read = at(r.server), time.Now()
	mark := at(r.high)
	if mark.After(c.high) || mark.Before(c.stored) { // or an administrator has reset it
		c.high = mark
	}
	c.stored = mark
	return nil
}

// ClockOK compares this machine's clock with that of the server which all
// gateways share, as it must be by now: one that differs would open windows
// which are longer on other gateways than they are here. It asks nobody.
func (db *DB) ClockOK(context.Context) error {
	server, known := db.clock.serverTime()
	limit := db.dialect.ClockTolerance
	if limit <= 0 || !known {
		return nil
	}
	ahead := db.now().Sub(server)
	switch {
	case ahead > limit:
		return fmt.Errorf("the gateway's clock is %s ahead of its store's; nobody is admitted until that is mended", ahead.Round(time.Millisecond))
	case -ahead > limit:
		return fmt.Errorf("the gateway's clock is %s behind its store's; nobody is admitted until that is mended", -ahead.Round(time.Millisecond))
	}
	return nil
}

// ResetHighWater is for an administrator whose clock was wrongly ahead: times
// that were seen meanwhile no longer bar anyone.
func (db *DB) ResetHighWater(ctx context.Context, now time.Time, ev audit.Event) error {
	err := db.change(ctx, "reset the high-water mark of the clock", ev, func(t *tx) error {
		_, err := t.exec("UPDATE clock SET high = ?", ns(now))
		return err
	})
	if err != nil {
		return err
	}
	db.clock.mu.Lock()
	defer db.clock.mu.Unlock()
	db.clock.high, db.clock.stored = now.UTC().Round(0), now.UTC().Round(0)
	return nil
}
