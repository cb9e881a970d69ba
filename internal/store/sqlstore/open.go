package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"jit-gateway/internal/audit"
	"jit-gateway/internal/store"
)

// Dialect is what differs between databases.
type Dialect struct {
	Begin []string // opens a change and, where others write too, takes the log's lock
	Wake  string   // says, in the change, that the log grew, with its size for "?"; empty: nobody listens

	Bind      func(query string) string // writes "?" as the database wants it; nil: as it is
	Text      func(string) string       // what the database can keep of a string; nil: all
	Translate func(error) error         // maps errors to those of package store
	Gone      func(error) bool          // the connection is lost, or in a state that nobody knows; nil: never
	Again     func(error) bool          // the change may succeed if it is made again; nil: never

	Shared  bool          // other gateways write to this database
	Group   int           // how many changes share a commit; 256 if zero
	Timeout time.Duration // bounds one group, and one query; zero: nothing does

	ServerTime     string        // where Shared: the query of the high-water mark and the server's time, in nanoseconds
	ClockTolerance time.Duration // how far a gateway's clock may be from the server's; zero: as far as it likes
}

// Options of New.
type Options struct {
	Connect func(context.Context) (*sql.Conn, error) // the connection that writes; called again when it was lost
	Read    *sql.DB                                  // the pool that reads
	Now     func() time.Time                         // time.Now if nil
	Dialect Dialect
	Lines   Lines // the search index; nil: there is none
}

// Lines is the full-text index over recordings.
type Lines interface {
	IndexLines(ctx context.Context, s LineSession, lines []store.Line) error
	SearchLines(ctx context.Context, query string, f store.LineFilter) ([]store.LineHit, error)
	DropIndex(ctx context.Context, session string) error
}

// DB is a store. It is safe for concurrent use. Close it before exit.
type DB struct {
	now     func() time.Time
	dialect Dialect
	bind    binder
	writer  *writer
	read    *pool
	lines   Lines
	feed    feed
	recent  recent
	clock   highWater
	closed  atomic.Bool
}

// New starts the writer of a store whose tables are up to date.
func New(ctx context.Context, o Options) (*DB, error) {
	db := newDB(o)
	var err error
	if db.writer, err = newWriter(ctx, o.Connect, db); err != nil {
		return nil, err
	}
	return db, nil
}

// NewReader is New without a writer: whatever would change the store fails.
// The log may be damaged: who reads it finds out where.
func NewReader(ctx context.Context, o Options) (*DB, error) {
	db := newDB(o)
	size, err := db.size(ctx, db.read)
	if err != nil {
		return nil, err
	}
	edge, _ := audit.LoadEdge(size, hashes{ctx, db.read}) // the root of a damaged log cannot be known
	db.feed.publish(size-1, edge.Tree())
	return db, nil
}

func newDB(o Options) *DB {
	db := &DB{now: o.Now, dialect: o.Dialect, lines: o.Lines, feed: feed{last: -1}}
	if db.now == nil {
		db.now = time.Now
	}
	if db.dialect.Group <= 0 {
		db.dialect.Group = maxGroup
	}
	db.bind.bind = o.Dialect.Bind
	db.read = &pool{db: o.Read, d: &db.dialect, bind: &db.bind}
	return db
}

// Close waits for changes that were handed over. The pool that reads is the
// caller's to close.
func (db *DB) Close() error {
	if db.closed.Swap(true) {
		return nil
	}
	db.feed.close()
	if db.writer == nil {
		return nil
	}
	return db.writer.close()
}

// size is the number of events.
func (db *DB) size(ctx context.Context, q querier) (size int64, err error) {
	if err := q.QueryRowContext(ctx, "SELECT coalesce(max(seq), -1) + 1 FROM events").Scan(&size); err != nil {
		return 0, fmt.Errorf("read the size of the audit log: %w", err)
	}
	return size, nil
}

// Refresh looks for events of other gateways and wakes who waits for them. A
// log that became shorter is an error, now and whenever something is written:
// see ErrLost.
func (db *DB) Refresh(ctx context.Context) error {
	before, _ := db.feed.state()
	var size int64
	err := db.read.patient(ctx, func(ctx context.Context) (err error) {
		size, err = db.size(ctx, db.read)
		return err
	})
	if err != nil {
		return err
	}
	if size-1 < before {
		return db.lost(fmt.Errorf("it has %d events, and had %d", size, before+1))
	}
	db.feed.saw(size - 1)
	return nil
}

// ErrLost says that the database has forgotten what it had acknowledged: a
// failover to a server that was behind, or an old backup. Nothing is written
// and nobody is told of events until the gateway is started again: readers of
// the log are past events that are to come once more, and would miss them.
var ErrLost = errors.New("the store has lost audit events that it had acknowledged: start this gateway again once it is clear which, see docs/several-gateways.md")

func (db *DB) lost(why error) error {
	err := fmt.Errorf("%w (%w)", ErrLost, why)
	db.feed.fail(err)
	return err
}
