package postgres

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"time"
)

// lockKey is the advisory lock's number, for a name as $1.
const lockKey = "hashtextextended('jit-gateway ' || current_schema() || ' ' || $1, 0)"

// Lock waits, as long as a query may take, until this gateway holds the named
// lock, which one gateway has at a time.
func (db *DB) Lock(ctx context.Context, name string) (release func(), err error) {
	ctx, cancel := context.WithTimeout(ctx, db.o.Timeout)
	defer cancel()
	c, err := db.work.Conn(ctx)
	if err != nil {
		return nil, fmt.Errorf("take the lock %q: %w", name, err)
	}
	if _, err := c.ExecContext(ctx, "SELECT pg_advisory_lock("+lockKey+")", name); err != nil {
		return nil, errors.Join(fmt.Errorf("take the lock %q: %w", name, err), c.Close())
	}
	return func() {
		end, cancel := context.WithTimeout(context.WithoutCancel(ctx), db.o.Timeout)
		defer cancel()
		var had bool
		if err := c.QueryRowContext(end, "SELECT pg_advisory_unlock("+lockKey+")", name).Scan(&had); err != nil || !had {
			c.Raw(func(any) error { return driver.ErrBadConn }) // it must not go back to the pool with the lock
		}
		c.Close()
	}, nil
}

// Alone runs fn while this gateway holds the named lock, which one gateway has
// at a time. ran is false if another has it: fn is not called then. The lock
// ends with the gateway's connection, and fn's context soon after; what fn
// does must bear being done twice for that long.
func (db *DB) Alone(ctx context.Context, name string, fn func(context.Context) error) (ran bool, err error) {
	c, err := db.work.Conn(ctx)
	if err != nil {
		return false, fmt.Errorf("take the lock %q: %w", name, err)
	}
	defer c.Close()
	if err := c.QueryRowContext(ctx, "SELECT pg_try_advisory_lock("+lockKey+")", name).Scan(&ran); err != nil || !ran {
		if err != nil {
			err = fmt.Errorf("take the lock %q: %w", name, err)
		}
		return false, err
	}
	held, lost := context.WithCancelCause(ctx)
	defer lost(nil)
	watched := make(chan struct{})
	go func() { // whoever lost the connection lost the lock
		defer close(watched)
		tick := time.NewTicker(3 * time.Second)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
			case <-held.Done():
				return
			}
			if err := db.still(held, c); err != nil && held.Err() == nil {
				lost(fmt.Errorf("the lock %q is lost: %w", name, err))
				return
			}
		}
	}()
	defer func() {
		lost(nil)
		<-watched
		var had bool
		end, cancel := context.WithTimeout(context.WithoutCancel(ctx), db.o.Timeout)
		defer cancel()
		if uerr := c.QueryRowContext(end, "SELECT pg_advisory_unlock("+lockKey+")", name).Scan(&had); uerr != nil || !had {
			// It must not go back to the pool with the lock.
			err = errors.Join(err, uerr, ignoreBad(c.Raw(func(any) error { return driver.ErrBadConn })))
		}
	}()
	return true, fn(held)
}

// still asks for anything on a lock's connection.
func (db *DB) still(ctx context.Context, c *sql.Conn) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), db.o.Timeout) // a question that is broken off breaks the connection
	defer cancel()
	var one int
	return c.QueryRowContext(ctx, "SELECT 1").Scan(&one)
}

func ignoreBad(err error) error {
	if errors.Is(err, driver.ErrBadConn) {
		return nil
	}
	return err
}
