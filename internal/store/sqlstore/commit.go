package sqlstore

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"jit-gateway/internal/audit"
)

// attempts is how often a group is tried again after a collision, and how
// often the fate of a COMMIT is asked for. Against a connection that is lost
// there is time instead: Dialect.Timeout, for a server that restarts.
const attempts = 4

// outcome of one attempt.
type outcome int

const (
	settled outcome = iota // every job has its answer
	undone                 // certainly nothing was changed, and it may be tried again
	unknown                // the connection was lost in COMMIT
)

// commit runs the group in one transaction and sets each job's err.
func (w *writer) commit(group []*job) {
	began, pause := time.Now(), 20*time.Millisecond
	for try := 1; ; try++ {
		first, got, err := w.attempt(group)
		if got == unknown {
			got, err = w.settle(began, first, err)
		}
		if got == settled {
			return
		}
		late := time.Since(began)+pause > w.db.dialect.Timeout
		again := w.db.dialect.Again
		if got == unknown || late || again != nil && again(err) && try == attempts || w.db.feed.failed() != nil {
			failAll(group, err)
			return
		}
		time.Sleep(pause) // the goroutine has nothing else to do
		pause = min(4*pause, 300*time.Millisecond)
	}
}

func failAll(group []*job, err error) {
	for _, j := range group {
		if j.err == nil {
			j.err = err
		}
	}
}

// attempt runs the group once. first is the group's first event, if it got one.
func (w *writer) attempt(group []*job) (first *audit.Leaf, got outcome, err error) {
	cancel := w.enter()
	defer cancel()
	for _, j := range group {
		j.err = nil
	}
	edge, err := w.begin()
	if err != nil {
		err = fmt.Errorf("begin a change of the store: %w", err)
		return nil, w.giveUp(group, err), err
	}
	t := &tx{w: w, edge: edge}
	for _, j := range group {
		if j.ctx.Err() != nil {
			j.err = fmt.Errorf("wait for the store: %w", j.ctx.Err())
			continue
		}
		if err := w.one(t, j, len(group) == 1); err != nil {
			return nil, w.giveUp(group, err), err
		}
	}
	grew := edge.Size() > w.edge.Size()
	if grew && w.db.dialect.Wake != "" {
		err = w.exec(w.db.dialect.Wake, edge.Size())
	}
	if err == nil {
		err = w.exec("COMMIT")
	}
	if err != nil {
		err = fmt.Errorf("make a change of the store durable: %w", err)
		if w.broken != nil {
			w.undo()
			return t.first(), unknown, err
		}
		return nil, w.giveUp(group, err), err
	}
	if grew {
		w.edge = *edge
		if !w.db.dialect.Shared {
			w.db.recent.add(t.leaves)
		}
		w.db.feed.publish(edge.Size()-1, edge.Tree())
	}
	return nil, settled, nil
}

// giveUp ends a transaction that failed as a whole: where trying again cannot
// help, every job has the error.
func (w *writer) giveUp(group []*job, err error) outcome {
	got := w.undo()
	if got == settled {
		failAll(group, err)
	}
	return got
}

// enter gives the connection's statements the time that a group may take.
func (w *writer) enter() context.CancelFunc {
	ctx, cancel := w.db.dialect.bound(context.Background())
	w.ctx = ctx
	return cancel
}

// begin opens a transaction, and knows the tree that it appends to. Where
// others write, it holds the log's lock from here on.
func (w *writer) begin() (*audit.Edge, error) {
	if err := w.db.feed.failed(); err != nil && !errors.Is(err, ErrClosed) {
		return nil, err
	}
	if err := w.dial(); err != nil {
		return nil, err
	}
	for _, q := range w.db.dialect.Begin {
		if err := w.exec(q); err != nil {
			return nil, err
		}
	}
	if w.db.dialect.Shared {
		if err := w.catchUp(); err != nil {
			return nil, err
		}
	}
	edge := w.edge.Clone()
	return &edge, nil
}

// catchUp moves the edge to what other gateways appended. On a new connection
// it also looks whether the tree is still the one that this process knew.
func (w *writer) catchUp() error {
	size, err := w.db.size(w.ctx, w)
	if err != nil {
		return err
	}
	known := w.edge.Size()
	if size < known {
		return w.db.lost(fmt.Errorf("it has %d events, and had %d", size, known))
	}
	if w.fresh && known > 0 {
		was, err := audit.LoadEdge(known, hashes{w.ctx, w})
		if err != nil {
			return err
		}
		if was.Tree() != w.edge.Tree() {
			return w.db.lost(fmt.Errorf("its first %d events are others than they were", known))
		}
	}
	w.fresh = false
	if size == known {
		return nil
	}
	edge, err := audit.LoadEdge(size, hashes{w.ctx, w})
	if err != nil {
		return err
	}
	w.edge = edge
	w.db.feed.saw(size - 1)
	return nil
}

// settle finds out what became of a COMMIT that nobody answered. On a new
// connection the log's lock is granted only when the old transaction has
// ended, so the event is there now, or never will be.
func (w *writer) settle(began time.Time, first *audit.Leaf, why error) (outcome, error) {
	if first == nil {
		return undone, why // no event: what is changed without one may be changed twice
	}
	var err error
	for try := range attempts {
		if try > 0 {
			time.Sleep(time.Duration(try) * 200 * time.Millisecond)
		}
		if t := w.db.dialect.Timeout; t > 0 && time.Since(began) > 3*t {
			break
		}
		var there bool
		if there, err = w.there(first); err != nil {
			continue
		}
		if !there {
			return undone, why
		}
		return settled, nil // those of the group that failed by themselves keep their errors
	}
	return unknown, fmt.Errorf("it is not known whether a change of the store was made: %w", errors.Join(why, err))
}

func (w *writer) there(first *audit.Leaf) (bool, error) {
	cancel := w.enter()
	defer cancel()
	if _, err := w.begin(); err != nil {
		w.undo()
		return false, err
	}
	defer w.undo()
	var leaf string
	rows, err := w.QueryContext(w.ctx, "SELECT leaf FROM events WHERE seq = ?", first.Seq)
	if err != nil {
		return false, err
	}
	defer rows.Close()
	if rows.Next() {
		err = rows.Scan(&leaf)
	}
	return leaf == string(first.Data), errors.Join(err, rows.Err())
}

// one runs a job in a savepoint, so that its failure undoes only itself; one
// that is alone needs none. Its error says that the whole transaction is lost.
func (w *writer) one(t *tx, j *job, alone bool) error {
	if alone {
		j.err = protect(j.fn, t)
		if again := w.db.dialect.Again; j.err != nil && again != nil && again(j.err) {
			w.broken = j.err // it is tried again
		}
		return j.err
	}
	if err := w.exec("SAVEPOINT change"); err != nil {
		return fmt.Errorf("begin a change of the store: %w", err)
	}
	before, had := t.edge.Clone(), len(t.leaves)
	if j.err = protect(j.fn, t); j.err != nil {
		*t.edge, t.leaves = before, t.leaves[:had]
		if w.broken != nil {
			return j.err
		}
		if again := w.db.dialect.Again; again != nil && again(j.err) {
			w.broken = j.err // the whole transaction is tried again
			return j.err
		}
		if err := w.exec("ROLLBACK TO SAVEPOINT change"); err != nil {
			// A full disk or an I/O error has undone everything already. %v:
			// the others' callers must not match this one's error.
			return fmt.Errorf("a change in the same commit failed: %v", j.err)
		}
	}
	if err := w.exec("RELEASE SAVEPOINT change"); err != nil {
		return fmt.Errorf("end a change of the store: %w", err)
	}
	return nil
}

// protect turns a panic of one change into its error: the others go on.
func protect(fn func(*tx) error, t *tx) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("a change of the store panicked: %v\n%s", p, debug.Stack())
		}
	}()
	return fn(t)
}

// undo ends a transaction that failed, and forgets what was assumed of it. It
// tells whether trying again may help.
func (w *writer) undo() outcome {
	w.db.recent.forget()
	if w.conn == nil || w.broken != nil {
		w.drop()
		return undone
	}
	// After some errors the database has rolled back by itself; then this fails.
	_ = w.exec("ROLLBACK")
	if w.broken != nil {
		w.drop()
		return undone
	}
	if !w.db.dialect.Shared {
		// w.edge is still that of the last commit that is known to be durable. A
		// COMMIT that reported an error may have happened all the same, so look;
		// where that fails, the next change fails on the same disk, and says so.
		_ = w.load()
	}
	return settled
}
