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

	"github.com/mattn/go-sqlite3" // also the driver "sqlite3"

	"jit-gateway/internal/store"
	"jit-gateway/internal/store/sqlstore"
)

// Options of Open.
type Options struct {
	Now     func() time.Time // time.Now if nil
	Readers int              // connections that read at once; 8 if zero
}

// DB is the store: what sqlstore does, in a file.
type DB struct {
	*sqlstore.DB
	path   string
	lock   *os.File
	write  *sql.DB   // of one connection,
	conn   *sql.Conn // which the writer holds
	read   *sql.DB
	lines  *lineIndex
	closed atomic.Bool
}

// dialect is what SQLite does in its own way.
var dialect = sqlstore.Dialect{Begin: []string{"BEGIN IMMEDIATE"}, Translate: translate}

// Open opens the store in the file at path, which it creates with mode 0600,
// and brings its tables up to date. A store has one gateway: a second Open
// fails, also in another process, until the first is closed.
func Open(ctx context.Context, path string, o Options) (_ *DB, err error) {
	path, err = filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("open store %s: %w", path, err)
	}
	db := &DB{path: path}
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
	if db.write, err = connect(ctx, path, "FULL", 1, false); err != nil {
		return nil, fmt.Errorf("open store %s: %w", path, err)
	}
	// Pages that are written again and again are copied from the log to the
	// file less often: every 16 MiB of log.
	if _, err := db.write.ExecContext(ctx, "PRAGMA wal_autocheckpoint = 4096"); err != nil {
		return nil, fmt.Errorf("open store %s: %w", path, err)
	}
	if err := migrate(ctx, db.write, "main"); err != nil {
		return nil, fmt.Errorf("store %s: %w", path, err)
	}
	if db.read, err = connect(ctx, path, "FULL", o.Readers, true); err != nil {
		return nil, fmt.Errorf("open store %s for reading: %w", path, err)
	}
	if db.lines, err = openLines(ctx, strings.TrimSuffix(path, ".db")+"-search.db"); err != nil {
		return nil, err
	}
	connect := func(ctx context.Context) (_ *sql.Conn, err error) {
		db.conn, err = db.write.Conn(ctx)
		return db.conn, err
	}
	db.DB, err = sqlstore.New(ctx, sqlstore.Options{Connect: connect, Read: db.read, Now: o.Now, Dialect: dialect, Lines: db.lines})
	if err != nil {
		return nil, fmt.Errorf("open store %s: %w", path, err)
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
	db := &DB{path: path}
	if db.read, err = connect(ctx, path, "FULL", 1, true); err != nil {
		return nil, fmt.Errorf("open store %s for reading: %w", path, err)
	}
	db.DB, err = sqlstore.NewReader(ctx, sqlstore.Options{Read: db.read, Dialect: dialect})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("read the audit log of store %s: %w", path, err), db.close())
	}
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
	if db.DB != nil {
		errs = append(errs, db.DB.Close())
	}
	for _, pool := range []*sql.DB{db.write, db.read} {
		if pool != nil {
			errs = append(errs, pool.Close())
		}
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
		// Queries stay prepared: to prepare one costs more than most take.
		"_stmt_cache_size": {"64"},
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

// translate maps SQLite's errors to those of package store.
func translate(err error) error {
	var e sqlite3.Error
	if errors.As(err, &e) {
		switch e.ExtendedCode {
		case sqlite3.ErrConstraintUnique, sqlite3.ErrConstraintPrimaryKey, sqlite3.ErrConstraintRowID:
			return fmt.Errorf("%w (%s)", store.ErrExists, e.Error())
		case sqlite3.ErrConstraintForeignKey:
			return fmt.Errorf("what it belongs to: %w", store.ErrNotFound)
		}
	}
	return err
}
