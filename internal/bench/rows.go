package bench

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"jit-gateway/internal/audit"
	"jit-gateway/internal/store/postgres"
	"jit-gateway/internal/store/sqlite"
	"jit-gateway/internal/store/sqlstore"
)

// manyRows fills the stopped gateway's store up to o.Events audit events, and
// tells what a start costs then: on the file, and on PostgreSQL after
// `store migrate`, with the same requests as before on both.
func (s *scale) manyRows(ctx context.Context) error {
	if s.Events == 0 {
		return nil
	}
	if err := s.stack.StopGateway(); err != nil {
		return err
	}
	rate, err := s.fill(ctx)
	if err != nil {
		return err
	}
	size, err := s.fileSize()
	if err != nil {
		return err
	}
	took, err := s.restart(ctx)
	if err != nil {
		return err
	}
	fmt.Fprintf(s.Out, "\nWith %d audit events (%.0f MB):\n\n| store | events a second, from many sides | restart until ready | caught up after | requests a second, one after the other | filed to approved p50 | p99 |\n|---|---:|---:|---:|---:|---:|---:|\n", s.Events, float64(size)/1e6)
	row := func(name string, rate float64, took time.Duration) error {
		caught, err := s.quiet(ctx)
		if err != nil {
			return err
		}
		r, err := s.requests(ctx, 100)
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(s.Out, "| %s | %.0f | %.2f s | %.0f s | %.0f | %.1f ms | %.1f ms |\n", name, rate, took.Seconds(), caught.Seconds(), r.rate, r.p50, r.p99)
		return err
	}
	if err := row("SQLite", rate, took); err != nil {
		return err
	}
	copied, rate, err := s.toPostgres(ctx)
	if err != nil {
		return err
	}
	if took, err = s.restart(ctx); err != nil {
		return err
	}
	if err := row("PostgreSQL", rate, took); err != nil {
		return err
	}
	_, err = fmt.Fprintf(s.Out, "\n`store migrate` copied and verified it in %.0f s.\n", copied.Seconds())
	return err
}

// quiet waits until those who follow the log in the gateway have read what was
// appended while it was stopped.
func (s *scale) quiet(ctx context.Context) (time.Duration, error) {
	start := time.Now()
	cpu := processCPU(s.stack.GatewayPID.ID)
	before, calm := -1.0, 0
	for {
		used, err := cpu()
		if err != nil {
			return 0, err
		}
		if calm++; before < 0 || used-before > 0.03 {
			calm = 0
		}
		if calm == 3 { // on a busy machine one second says little
			return time.Since(start), nil
		}
		before = used
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
}

// fill appends until there are enough, and returns how many a second.
func (s *scale) fill(ctx context.Context) (rate float64, err error) {
	db, err := sqlite.Open(ctx, filepath.Join(s.stack.Dir, "gateway", "jit-gateway.db"), sqlite.Options{})
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	last, err := db.LastSeq(ctx)
	if err != nil {
		return 0, err
	}
	return appendMany(ctx, db.DB, int64(s.Events)-last-1)
}

// appendMany appends events such as a failed login leaves, from many sides at
// once, as the writer groups them.
func appendMany(ctx context.Context, db *sqlstore.DB, n int64) (rate float64, err error) {
	start := time.Now()
	var next atomic.Int64
	var wg sync.WaitGroup
	var once sync.Once
	for range 512 {
		wg.Go(func() {
			for i := next.Add(1); i <= n; i = next.Add(1) {
				_, aerr := db.Append(ctx, audit.Event{Type: audit.LoginFailed, Outcome: audit.Failure, Reason: "the key is not registered",
					Actor: audit.Actor{Source: "192.0.2.7", Via: "ssh"}, Detail: map[string]string{"fingerprint": fmt.Sprintf("SHA256:%043d", i), "client": "SSH-2.0-OpenSSH_9.2p1 Debian-2"}})
				if aerr != nil {
					once.Do(func() { err = aerr })
					return
				}
			}
		})
	}
	wg.Wait()
	return float64(n) / time.Since(start).Seconds(), err
}

// toPostgres moves the stopped store to a database of the stack's server, and
// tells how long that took and how many events a second go there.
func (s *scale) toPostgres(ctx context.Context) (took time.Duration, rate float64, err error) {
	if err := s.stack.StopGateway(); err != nil {
		return 0, 0, err
	}
	db := s.stack.Database()
	if err := db.Exec(ctx, "postgres", "CREATE DATABASE jit_store"); err != nil {
		return 0, 0, err
	}
	dsn := filepath.Join(s.stack.Dir, "store.dsn")
	text := fmt.Sprintf("postgres://%s:%s@%s/jit_store?sslmode=disable\n", db.User, db.Password, net.JoinHostPort(db.Host, fmt.Sprint(db.Port)))
	if err := os.WriteFile(dsn, []byte(text), 0o600); err != nil {
		return 0, 0, err
	}
	start := time.Now()
	if out, err := s.stack.Local(ctx, "store", "migrate", "--to", "file:"+dsn); err != nil {
		return 0, 0, fmt.Errorf("store migrate: %w: %s", err, out)
	}
	took = time.Since(start)
	shared, err := postgres.Open(ctx, text, postgres.Options{})
	if err != nil {
		return 0, 0, err
	}
	rate, err = appendMany(ctx, shared.DB, 20_000)
	if err = errors.Join(err, shared.Close()); err != nil {
		return 0, 0, err
	}
	f, err := os.OpenFile(s.stack.Config(), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return 0, 0, err
	}
	_, err = fmt.Fprintf(f, "\nstore:\n  postgres:\n    dsn: file:%s\n", dsn)
	return took, rate, errors.Join(err, f.Close())
}

// restart starts the gateway, stopped or not, and returns how long it took
// until it was ready.
func (s *scale) restart(ctx context.Context) (time.Duration, error) {
	if err := s.stack.StopGateway(); err != nil {
		return 0, err
	}
	start := time.Now()
	err := s.stack.StartGateway(ctx)
	return time.Since(start), err
}
