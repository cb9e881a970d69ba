package postgres

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
)

// Alone runs fn while this gateway holds the named lock, which one gateway has
// at a time. ran is false if another has it: fn is not called then. The lock
// ends with the gateway's connection, so what fn does must bear being done
// twice.
func (db *DB) Alone(ctx context.Context, name string, fn func(context.Context) error) (ran bool, err error) {
	c, err := db.work.Conn(ctx)
	if err != nil {
		return false, fmt.Errorf("take the lock %q: %w", name, err)
	}
	defer c.Close()
	const key = "hashtextextended('jit-gateway ' || current_schema() || ' ' || $1, 0)"
	if err := c.QueryRowContext(ctx, "SELECT pg_try_advisory_lock("+key+")", name).Scan(&ran); err != nil || !ran {
		if err != nil {
			err = fmt.Errorf("take the lock %q: %w", name, err)
		}
		return false, err
	}
	defer func() {
		var had bool
		end := context.WithoutCancel(ctx)
		if uerr := c.QueryRowContext(end, "SELECT pg_advisory_unlock("+key+")", name).Scan(&had); uerr != nil || !had {
			// It must not go back to the pool with the lock.
			err = errors.Join(err, uerr, ignoreBad(c.Raw(func(any) error { return driver.ErrBadConn })))
		}
	}()
	return true, fn(ctx)
}

func ignoreBad(err error) error {
	if errors.Is(err, driver.ErrBadConn) {
		return nil
	}
	return err
}
