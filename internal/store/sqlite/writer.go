package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"

	"jit-gateway/internal/audit"
)

// maxGroup bounds how many changes share a commit.
const maxGroup = 256

// writer owns the one connection that writes. Its goroutine takes changes from
// jobs, runs those that have come in one transaction, and answers them when it
// is durable.
type writer struct {
	pool *sql.DB
	conn *sql.Conn
	db   *DB
	jobs chan *job
	wg   sync.WaitGroup

	mu     sync.RWMutex // guards closing: senders hold it shared
	closed bool

	// Owned by the goroutine.
	stmts map[string]*sql.Stmt
	edge  audit.Edge // of the tree as committed
}

// job is one change.
type job struct {
	ctx  context.Context
	fn   func(*tx) error
	err  error
	done chan struct{}
}

var (
	errClosed  = errors.New("the store is closed")
	errReading = errors.New("the store was opened for reading")
)

func newWriter(ctx context.Context, pool *sql.DB, db *DB) (*writer, error) {
	conn, err := pool.Conn(ctx)
	if err != nil {
		return nil, err
	}
	w := &writer{pool: pool, conn: conn, db: db, jobs: make(chan *job, maxGroup), stmts: map[string]*sql.Stmt{}}
	if err := w.load(); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	if err := w.loadClock(); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	w.wg.Go(w.run)
	return w, nil
}

func (w *writer) close() error {
	w.mu.Lock()
	if !w.closed {
		w.closed = true
		close(w.jobs)
	}
	w.mu.Unlock()
	w.wg.Wait()
	var errs []error
	for _, s := range w.stmts {
		errs = append(errs, s.Close())
	}
	return errors.Join(append(errs, w.conn.Close(), w.pool.Close())...)
}

// write runs fn in a transaction and returns when what it did is durable, or
// its error. A change that has begun is not abandoned when ctx ends: the
// caller would not know what became of it.
func (db *DB) write(ctx context.Context, fn func(*tx) error) error {
	if db.writer == nil {
		return errReading
	}
	j := &job{ctx: ctx, fn: fn, done: make(chan struct{})}
	if err := db.writer.send(j); err != nil {
		return err
	}
	<-j.done
	return j.err
}

func (w *writer) send(j *job) error {
	w.mu.RLock()
	defer w.mu.RUnlock()
	if w.closed {
		return errClosed
	}
	select {
	case w.jobs <- j:
		return nil
	case <-j.ctx.Done():
		return fmt.Errorf("wait for the store: %w", j.ctx.Err())
	}
}

func (w *writer) run() {
	group := make([]*job, 0, maxGroup)
	for j := range w.jobs {
		group = append(group[:0], j)
	more:
		for len(group) < maxGroup {
			select {
			case j, ok := <-w.jobs:
				if !ok {
					break more
				}
				group = append(group, j)
			default:
				break more
			}
		}
		w.commit(group)
		for _, j := range group {
			close(j.done)
		}
	}
}

// commit runs the group in one transaction and sets each job's err.
func (w *writer) commit(group []*job) {
	edge := w.edge.Clone()
	t := &tx{w: w, edge: &edge}
	failAll := func(err error) {
		for _, j := range group {
			if j.err == nil {
				j.err = err
			}
		}
		w.rollback()
	}
	if err := w.exec("BEGIN IMMEDIATE"); err != nil {
		failAll(fmt.Errorf("begin a change of the store: %w", err))
		return
	}
	for _, j := range group {
		if j.ctx.Err() != nil {
			j.err = fmt.Errorf("wait for the store: %w", j.ctx.Err())
			continue
		}
		if err := w.one(t, j); err != nil {
			failAll(err)
			return
		}
	}
	if err := w.exec("COMMIT"); err != nil {
		failAll(fmt.Errorf("make a change of the store durable: %w", err))
		return
	}
	if grew := edge.Size() > w.edge.Size(); grew {
		w.edge = edge
		w.db.feed.publish(edge.Size()-1, edge.Tree())
	}
}

// one runs a job in a savepoint, so that its failure undoes only itself. Its
// error says that the whole transaction is lost.
func (w *writer) one(t *tx, j *job) error {
	if err := w.exec("SAVEPOINT change"); err != nil {
		return fmt.Errorf("begin a change of the store: %w", err)
	}
	before := t.edge.Clone()
	if j.err = protect(j.fn, t); j.err != nil {
		*t.edge = before
		if err := w.exec("ROLLBACK TO change"); err != nil {
			// A full disk or an I/O error has undone everything already. %v:
			// the others' callers must not match this one's error.
			return fmt.Errorf("a change in the same commit failed: %v", j.err)
		}
	}
	if err := w.exec("RELEASE change"); err != nil {
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

// rollback ends a transaction that failed, and forgets what was assumed of it.
func (w *writer) rollback() {
	// After some errors SQLite has rolled back by itself; then this fails.
	_ = w.exec("ROLLBACK")
	// w.edge is still that of the last commit that is known to be durable. A
	// COMMIT that reported an error may have happened all the same, so look;
	// where that fails, the next change fails on the same disk, and says so.
	_ = w.load()
}

// load reads the edge of the tree.
func (w *writer) load() error {
	var size int64
	if err := w.conn.QueryRowContext(background, "SELECT coalesce(max(seq), -1) + 1 FROM events").Scan(&size); err != nil {
		return fmt.Errorf("read the size of the audit log: %w", err)
	}
	edge, err := audit.LoadEdge(size, hashes{background, w.conn})
	if err != nil {
		return err
	}
	w.edge = edge
	w.db.feed.publish(size-1, edge.Tree())
	return nil
}

// background is used on the writer: a statement that has begun is not
// interrupted in the middle of a transaction that others share.
var background = context.Background()

func (w *writer) stmt(query string) (*sql.Stmt, error) {
	if s, ok := w.stmts[query]; ok {
		return s, nil
	}
	s, err := w.conn.PrepareContext(background, query)
	if err != nil {
		return nil, fmt.Errorf("prepare %.60q: %w", query, err)
	}
	w.stmts[query] = s // queries are constants of this package, so this is bounded
	return s, nil
}

func (w *writer) exec(query string) error {
	s, err := w.stmt(query)
	if err != nil {
		return err
	}
	_, err = s.ExecContext(background)
	return err
}
