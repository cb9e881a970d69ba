package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	_ "github.com/mattn/go-sqlite3" // the driver "sqlite3"

	"jit-gateway/internal/audit"
)

// Options of Open.
type Options struct {
	Now     func() time.Time // time.Now if nil
	Readers int              // connections that read at once; 8 if zero
}

// DB is the store. It is safe for concurrent use. Close it before exit.
type DB struct {
	path   string
	now    func() time.Time
	lock   *os.File
	writer *writer
	read   *sql.DB
	lines  *lineIndex
	feed   feed
	clock  highWater
	closed atomic.Bool
}

// Open opens the store in the file at path, which it creates with mode 0600,
// and brings its tables up to date. A store has one gateway: a second Open
// fails, also in another process, until the first is closed.
func Open(ctx context.Context, path string, o Options) (_ *DB, err error) {
	path, err = filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("open store %s: %w", path, err)
	}
	db := &DB{path: path, now: o.Now}
	if db.now == nil {
		db.now = time.Now
	}
	if o.Readers <= 0 {
		o.Readers = 8
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, db.close())
		}
	}()
	if db.lock, err = lockFile(path + ".lock"); err != nil {
		return nil, fmt.Errorf("open store %s: %w", path, err)
	}
	if err := touchPrivate(path); err != nil {
		return nil, fmt.Errorf("open store: %w", err)
	}
	w, err := connect(ctx, path, "FULL", 1, false)
	if err != nil {
		return nil, fmt.Errorf("open store %s: %w", path, err)
	}
	// Pages that are written again and again are copied from the log to the
	// file less often: every 16 MiB of log.
	if _, err := w.ExecContext(ctx, "PRAGMA wal_autocheckpoint = 4096"); err != nil {
		return nil, errors.Join(fmt.Errorf("open store %s: %w", path, err), w.Close())
	}
	if err := migrate(ctx, w, "main"); err != nil {
		return nil, errors.Join(fmt.Errorf("store %s: %w", path, err), w.Close())
	}
	if db.writer, err = newWriter(ctx, w, db); err != nil {
		return nil, errors.Join(fmt.Errorf("open store %s: %w", path, err), w.Close())
	}
	if db.read, err = connect(ctx, path, "FULL", o.Readers, true); err != nil {
		return nil, fmt.Errorf("open store %s for reading: %w", path, err)
	}
	if db.lines, err = openLines(ctx, strings.TrimSuffix(path, ".db")+"-search.db"); err != nil {
		return nil, err
	}
	return db, nil
}

// OpenForReading opens a store as it is, without its lock and without bringing
// its tables up to date: beside a running gateway, or when the log is so
// damaged that Open refuses it. Whatever would change it fails; there is no
// full-text search.
func OpenForReading(ctx context.Context, path string) (*DB, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("open store %s: %w", path, err)
	}
	if _, err := os.Stat(path); err != nil {
		return nil, fmt.Errorf("open store for reading: %w", err)
	}
	db := &DB{path: path, now: time.Now}
	if db.read, err = connect(ctx, path, "FULL", 1, true); err != nil {
		return nil, fmt.Errorf("open store %s for reading: %w", path, err)
	}
	var size int64
	if err := db.read.QueryRowContext(ctx, "SELECT coalesce(max(seq), -1) + 1 FROM events").Scan(&size); err != nil {
		return nil, errors.Join(fmt.Errorf("read the audit log of store %s: %w", path, err), db.close())
	}
	// The root of a damaged log cannot be known; its reader finds out where.
	edge, _ := audit.LoadEdge(size, hashes{ctx, db.read})
	db.feed.publish(size-1, edge.Tree())
	return db, nil
}

// Close waits for changes that were handed over, and closes the store.
func (db *DB) Close() error {
	if db.closed.Swap(true) {
		return nil
	}
	return db.close()
}

func (db *DB) close() error {
	var errs []error
	db.feed.close()
	if db.writer != nil {
		errs = append(errs, db.writer.close())
	}
	if db.read != nil {
		errs = append(errs, db.read.Close())
	}
	if db.lines != nil {
		errs = append(errs, db.lines.close())
	}
	if db.lock != nil {
		errs = append(errs, db.lock.Close()) // releases the lock
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("close store %s: %w", db.path, err)
	}
	return nil
}

// connect opens a pool of n connections to the file.
func connect(ctx context.Context, path, synchronous string, n int, readOnly bool) (*sql.DB, error) {
	v := url.Values{
		"_journal_mode": {"WAL"},
		"_synchronous":  {synchronous},
		"_txlock":       {"immediate"},
		"_busy_timeout": {"5000"},
		"_foreign_keys": {"on"},
		"_cache_size":   {"-32768"}, // KiB for each connection: the inner pages of every index
	}
	if readOnly {
		v.Set("_query_only", "on")
	}
	dsn := (&url.URL{Scheme: "file", Path: path}).String() + "?" + v.Encode()
	db, err := sql.Open("sqlite3", dsn)
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(n)
	db.SetMaxIdleConns(n)
	if err := db.PingContext(ctx); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return db, nil
}

// touchPrivate creates the file with mode 0600, which SQLite also gives to the
// files that it keeps beside it.
func touchPrivate(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	return f.Close()
}
