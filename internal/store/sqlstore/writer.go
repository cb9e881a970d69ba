package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"runtime"
	"sync"

	"jit-gateway/internal/audit"
)

// maxGroup bounds how many changes share a commit.
const maxGroup = 256

// writer owns the one connection that writes. Its goroutine takes changes from
// jobs, runs those that have come in one transaction, and answers them when it
// is durable.
type writer struct {
	connect func(context.Context) (*sql.Conn, error)
	db      *DB
	jobs    chan *job
	wg      sync.WaitGroup

	mu     sync.RWMutex // guards closed: senders hold it shared
	closed bool

	// Owned by the goroutine.
	conn   *sql.Conn // nil: lost
	stmts  map[string]*sql.Stmt
	ctx    context.Context // of the group that runs
	edge   audit.Edge      // of the tree as last known to be committed
	fresh  bool            // conn is new, perhaps to another server: is edge its tree's?
	broken error           // conn is lost, found in the transaction that runs
}

// job is one change.
type job struct {
	ctx  context.Context
	fn   func(*tx) error
	err  error
	done chan struct{}
}

var (
	// ErrClosed: the store was closed.
	ErrClosed = errors.New("the store is closed")
	// ErrReading: a change of a store that was opened for reading.
	ErrReading = errors.New("the store was opened for reading")
)

func newWriter(ctx context.Context, connect func(context.Context) (*sql.Conn, error), db *DB) (*writer, error) {
	w := &writer{connect: connect, db: db, jobs: make(chan *job, db.dialect.Group), ctx: ctx}
	err := w.dial()
	if err == nil {
		err = w.load()
	}
	if err == nil {
		err = w.loadClock()
	}
	if err != nil {
		w.drop()
		return nil, err
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
	return w.drop()
}

// dial connects, unless there is a connection.
func (w *writer) dial() (err error) {
	if w.conn != nil {
		return nil
	}
	if w.conn, err = w.connect(w.ctx); err != nil {
		w.conn = nil
		return fmt.Errorf("connect to the store: %w", err)
	}
	w.stmts, w.fresh, w.broken = map[string]*sql.Stmt{}, true, nil
	return nil
}

// drop gives the connection up.
func (w *writer) drop() error {
	if w.conn == nil {
		return nil
	}
	var errs []error
	for _, s := range w.stmts {
		errs = append(errs, s.Close())
	}
	errs = append(errs, w.conn.Close())
	w.conn = nil
	if w.broken != nil {
		return nil // and these errors are of no interest
	}
	return errors.Join(errs...)
}

// write runs fn in a transaction and returns when what it did is durable, or
// its error. A change that has begun is not abandoned when ctx ends: the
// caller would not know what became of it. Where transactions may fail by
// chance fn runs again, so it must not keep what it did before.
func (db *DB) write(ctx context.Context, fn func(*tx) error) error {
	if db.writer == nil {
		return ErrReading
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
		return ErrClosed
	}
	select {
	case w.jobs <- j:
		return nil
	case <-j.ctx.Done():
		return fmt.Errorf("wait for the store: %w", j.ctx.Err())
	}
}

func (w *writer) run() {
	group := make([]*job, 0, w.db.dialect.Group)
	for j := range w.jobs {
		group = append(group[:0], j)
		// Goroutines that can run may be about to bring more: they come first,
		// and share the commit. Where nothing else runs this takes no time.
		runtime.Gosched()
	more:
		for len(group) < cap(group) {
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

// load reads the edge of the tree.
func (w *writer) load() error {
	size, err := w.db.size(w.ctx, w)
	if err != nil {
		return err
	}
	edge, err := audit.LoadEdge(size, hashes{w.ctx, w})
	if err != nil {
		return err
	}
	w.edge, w.fresh = edge, false
	w.db.feed.publish(size-1, edge.Tree())
	return nil
}

// stmt returns a prepared statement. Queries are constants of this package, so
// they are few.
func (w *writer) stmt(query string) (*sql.Stmt, error) {
	if s, ok := w.stmts[query]; ok {
		return s, nil
	}
	s, err := w.conn.PrepareContext(w.ctx, w.db.bind.of(query))
	if err != nil {
		return nil, fmt.Errorf("prepare %.60q: %w", query, w.saw(err))
	}
	w.stmts[query] = s
	return s, nil
}

func (w *writer) exec(query string, args ...any) error {
	s, err := w.stmt(query)
	if err != nil {
		return err
	}
	_, err = s.ExecContext(w.ctx, args...)
	return w.saw(err)
}

// saw notes whether an error of the database means that conn is lost.
func (w *writer) saw(err error) error {
	if gone := w.db.dialect.Gone; err != nil && gone != nil && !errors.Is(err, sql.ErrNoRows) && gone(err) {
		w.broken = err
	}
	return err
}

// QueryContext makes the writer's connection a querier.
func (w *writer) QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	rows, err := w.conn.QueryContext(ctx, w.db.bind.of(query), args...)
	return rows, w.saw(err)
}

// QueryRowContext likewise.
func (w *writer) QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row {
	row := w.conn.QueryRowContext(ctx, w.db.bind.of(query), args...)
	w.saw(row.Err())
	return row
}
