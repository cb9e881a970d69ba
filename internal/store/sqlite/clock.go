package sqlite

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
}

const highWaterStep = time.Second

func (h *highWater) saw(t time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if t.After(h.high) {
		h.high = t
	}
}

func (w *writer) loadClock() error {
	var high, newest int64
	err := w.conn.QueryRowContext(background, `SELECT high, coalesce((SELECT max(time) FROM (SELECT time FROM events ORDER BY seq DESC LIMIT 100)), 0) FROM clock`).Scan(&high, &newest)
	if err != nil {
		return fmt.Errorf("read the high-water mark of the clock: %w", err)
	}
	w.db.clock.high, w.db.clock.stored = at(max(high, newest)), at(high)
	return nil
}

// HighWater implements session.Instances.
func (db *DB) HighWater(ctx context.Context, now time.Time) (time.Time, error) {
	c := &db.clock
	c.saw(now.UTC().Round(0))
	c.mu.Lock()
	high, due := c.high, c.high.Sub(c.stored) >= highWaterStep
	c.mu.Unlock()
	if !due {
		return high, nil
	}
	if err := db.write(ctx, func(t *tx) error {
		_, err := t.exec("UPDATE clock SET high = max(high, ?)", ns(high))
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
