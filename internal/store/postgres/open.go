package postgres

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"

	"jit-gateway/internal/store/sqlstore"
)

// Options of Open.
type Options struct {
	Now     func() time.Time // time.Now if nil
	Readers int              // connections that read at once; 8 if zero
	Poll    time.Duration    // how often to look for events of other gateways, however loud they are: 1 s if zero
	Timeout time.Duration    // of one query and one group of changes: 5 s if zero
	// ClockTolerance is how far this machine's clock may be from the server's:
	// 2 s if zero, negative for as far as it likes.
	ClockTolerance time.Duration
	// Log is told of trouble that passes by itself; nil: nobody.
	Log func(msg string, err error)
}

// DB is the store: what sqlstore does, in a database that others use too.
type DB struct {
	*sqlstore.DB
	o     Options
	conf  *pgx.ConnConfig
	write *sql.DB // of one connection, which the writer holds
	read  *sql.DB
	work  *sql.DB // for what may take long or is held long: the search index, locks

	stop context.CancelFunc // ends poll and listen
	deaf context.CancelFunc // ends listen
	wg   sync.WaitGroup
	bus  bus
}

// beginChange takes the log's lock, which ends with the transaction.
const beginChange = "SELECT pg_advisory_xact_lock(hashtextextended('jit-gateway log ' || current_schema(), 0))"

const serverTime = "SELECT high, (extract(epoch FROM clock_timestamp()) * 1000000000)::bigint FROM clock"

// Open opens the store in the database that dsn names, a URL or key=value
// string as libpq's, and brings its tables up to date. Several gateways may
// have it open.
func Open(ctx context.Context, dsn string, o Options) (*DB, error) {
	db, err := connect(dsn, o)
	if err != nil {
		return nil, err
	}
	if err := db.open(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("open store %s: %w", db.name(), err), db.Close())
	}
	return db, nil
}

// connect makes the pools. Nothing is dialled yet.
func connect(dsn string, o Options) (*DB, error) {
	conf, err := parse(dsn)
	if err != nil {
		return nil, err
	}
	for field, value := range map[*time.Duration]time.Duration{&o.Poll: time.Second, &o.Timeout: 5 * time.Second, &o.ClockTolerance: 2 * time.Second} {
		if *field == 0 {
			*field = value
		}
	}
	if o.Readers <= 0 {
		o.Readers = 8
	}
	if o.Log == nil {
		o.Log = func(string, error) {}
	}
	db := &DB{o: o, conf: conf}
	limits(conf, o.Timeout)
	db.read, db.write = pool(conf, o.Readers), pool(conf, 1)
	slow := conf.Copy()
	limits(slow, time.Minute)
	db.work = pool(slow, 16)
	return db, nil
}

func pool(conf *pgx.ConnConfig, n int) *sql.DB {
	db := stdlib.OpenDB(*conf)
	db.SetMaxOpenConns(n)
	db.SetMaxIdleConns(n)
	db.SetConnMaxIdleTime(5 * time.Minute)
	return db
}

func (db *DB) open(ctx context.Context) (err error) {
	if err := migrate(ctx, db.conf); err != nil {
		return err
	}
	db.DB, err = sqlstore.New(ctx, sqlstore.Options{Connect: db.writer, Read: db.read, Now: db.o.Now, Dialect: db.dialect(), Lines: lineIndex{db.work}})
	if err != nil {
		return err
	}
	ctx, db.stop = context.WithCancel(context.WithoutCancel(ctx))
	db.wg.Go(func() { db.poll(ctx) })
	hearing, deaf := context.WithCancel(ctx)
	db.deaf = deaf
	db.wg.Go(func() { db.listen(hearing) })
	return nil
}

func (db *DB) dialect() sqlstore.Dialect {
	return sqlstore.Dialect{
		Begin: []string{"BEGIN ISOLATION LEVEL READ COMMITTED", beginChange},
		Wake:  "SELECT pg_notify('" + eventsChannel + "', CAST(? AS bigint)::text)",
		Bind:  bind, Text: storable, Translate: translate, Gone: gone, Again: again,
		Shared: true, Group: 64, Timeout: db.o.Timeout, ServerTime: serverTime, ClockTolerance: db.o.ClockTolerance,
	}
}

// writer makes the connection that writes. What it acknowledges must be
// durable, whatever the server's default is.
func (db *DB) writer(ctx context.Context) (*sql.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, db.o.Timeout)
	defer cancel()
	c, err := db.write.Conn(ctx)
	if err != nil {
		return nil, err
	}
	var sync string
	if err := c.QueryRowContext(ctx, "SHOW synchronous_commit").Scan(&sync); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	if sync == "off" {
		if _, err := c.ExecContext(ctx, "SET synchronous_commit = on"); err != nil {
			return nil, errors.Join(err, c.Close())
		}
	}
	return c, nil
}

// Close waits for changes that were handed over, and closes the store.
func (db *DB) Close() error {
	var errs []error
	if db.stop != nil {
		db.stop()
		db.wg.Wait()
	}
	if db.DB != nil {
		errs = append(errs, db.DB.Close())
	}
	db.bus.close()
	for _, p := range []*sql.DB{db.write, db.read, db.work} {
		p.Close() // what was acknowledged is durable, and connections may be broken already
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("close store %s: %w", db.name(), err)
	}
	return nil
}

// name is the database without user and password, for messages.
func (db *DB) name() string {
	return fmt.Sprintf("%s on %s", db.conf.Database, net.JoinHostPort(db.conf.Host, fmt.Sprint(db.conf.Port)))
}

// parse reads a connection string and holds it to what a store needs.
func parse(dsn string) (*pgx.ConnConfig, error) {
	conf, err := pgx.ParseConfig(strings.TrimSpace(dsn))
	if err != nil {
		var bad *pgconn.ParseConfigError
		if errors.As(err, &bad) {
			// Its text may quote the string, and with it the password.
			return nil, errors.New("the connection string of the store cannot be read: want postgres://user:password@host/database?sslmode=verify-full&sslrootcert=… or key=value pairs")
		}
		return nil, errors.New("the connection string of the store cannot be read")
	}
	if conf.Database == "" {
		return nil, errors.New("the connection string of the store names no database")
	}
	ways := append([]*pgconn.FallbackConfig{{Host: conf.Host, TLSConfig: conf.TLSConfig}}, conf.Fallbacks...)
	for _, w := range ways {
		if local(w.Host) {
			continue
		}
		if w.TLSConfig == nil || w.TLSConfig.InsecureSkipVerify || w.TLSConfig.ServerName != w.Host {
			return nil, fmt.Errorf("the connection string of the store allows connections to %q that are not verified: say sslmode=verify-full (and sslrootcert, unless the system knows the CA)", w.Host)
		}
	}
	if conf.ValidateConnect == nil { // with several hosts: the one that writes
		conf.ValidateConnect = pgconn.ValidateConnectTargetSessionAttrsReadWrite
	}
	if conf.ConnectTimeout == 0 || conf.ConnectTimeout > 3*time.Second {
		conf.ConnectTimeout = 3 * time.Second
	}
	if conf.RuntimeParams["application_name"] == "" {
		conf.RuntimeParams["application_name"] = "jit-gateway"
	}
	conf.DialFunc = (&net.Dialer{Timeout: 3 * time.Second, KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 5 * time.Second, Interval: 2 * time.Second, Count: 3}}).DialContext
	return conf, nil
}

// local says that a host is this machine: a path is a unix socket's.
func local(host string) bool {
	if strings.HasPrefix(host, "/") || strings.HasPrefix(host, "@") || host == "localhost" {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}

// limits tells the server what this gateway will not wait for, and that a
// gateway which is gone or hangs must not keep the log's lock.
func limits(conf *pgx.ConnConfig, statement time.Duration) {
	for name, d := range map[string]time.Duration{
		"statement_timeout": statement, "lock_timeout": statement, "idle_in_transaction_session_timeout": 5 * time.Second,
		"client_connection_check_interval": time.Second, "tcp_user_timeout": 10 * time.Second,
	} {
		conf.RuntimeParams[name] = fmt.Sprint(d.Milliseconds())
	}
}
