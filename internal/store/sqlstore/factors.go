package sqlstore

import (
	"context"
	"time"

	"jit-gateway/approval/mfa"
	"jit-gateway/internal/audit"
)

const factorColumns = "SELECT id, user_id, kind, name, sealed, last_step, sign_count, created_at FROM factors"

func scanFactor(r row) (f mfa.Factor, err error) {
	var created int64
	err = r.Scan(&f.ID, &f.UserID, &f.Kind, &f.Name, &f.Sealed, &f.LastStep, &f.SignCount, &created)
	f.CreatedAt = at(created)
	return f, err
}

// Factors implements mfa.Store, oldest first.
func (db *DB) Factors(ctx context.Context, userID string) ([]mfa.Factor, error) {
	return list(ctx, db.read, "list second factors", factorColumns+" WHERE user_id = ? ORDER BY created_at, id", []any{userID}, scanFactor)
}

// AddFactor implements mfa.Store.
func (db *DB) AddFactor(ctx context.Context, f mfa.Factor, ev audit.Event) error {
	return db.change(ctx, "add a second factor", ev, func(t *tx) error {
		_, err := t.exec("INSERT INTO factors (id, user_id, kind, name, sealed, last_step, sign_count, created_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
			f.ID, f.UserID, string(f.Kind), f.Name, blob(f.Sealed), f.LastStep, f.SignCount, ns(f.CreatedAt))
		return err
	})
}

// RemoveFactor implements mfa.Store: of two at once, one finds it.
func (db *DB) RemoveFactor(ctx context.Context, userID, factorID string, ev audit.Event) error {
	return db.change(ctx, "remove a second factor", ev, func(t *tx) error {
		return t.found("DELETE FROM factors WHERE id = ? AND user_id = ?", factorID, userID)
	})
}

// RenameFactor implements mfa.Store.
func (db *DB) RenameFactor(ctx context.Context, userID, factorID, name string, ev audit.Event) error {
	return db.change(ctx, "rename a second factor", ev, func(t *tx) error {
		return t.found("UPDATE factors SET name = ? WHERE id = ? AND user_id = ?", name, factorID, userID)
	})
}

// UseStep implements mfa.Store: each code once, also when it is given twice at once.
func (db *DB) UseStep(ctx context.Context, factorID string, step int64, ev audit.Event) error {
	return db.change(ctx, "use a code", ev, func(t *tx) error {
		n, err := t.exec("UPDATE factors SET last_step = ? WHERE id = ? AND last_step < ?", step, factorID, step)
		if err != nil {
			return err
		}
		if n == 0 {
			return t.lost("SELECT 1 FROM factors WHERE id = ?", factorID)
		}
		_, err = t.exec("DELETE FROM factor_attempts WHERE user_id = (SELECT user_id FROM factors WHERE id = ?)", factorID)
		return err
	})
}

// FactorAttempts implements mfa.Store.
func (db *DB) FactorAttempts(ctx context.Context, userID string) (mfa.Attempts, error) {
	as, err := list(ctx, db.read, "read failed codes", "SELECT failures, locked_until FROM factor_attempts WHERE user_id = ?", []any{userID}, scanAttempts)
	if err != nil || len(as) == 0 {
		return mfa.Attempts{}, err
	}
	return as[0], nil
}

func scanAttempts(r row) (a mfa.Attempts, err error) {
	var until int64
	err = r.Scan(&a.Failures, &until)
	a.LockedUntil = at(until)
	return a, err
}

// RecordFailure implements mfa.Store. A lock is never shortened.
func (db *DB) RecordFailure(ctx context.Context, userID string, lockedUntil time.Time, ev audit.Event) (mfa.Attempts, error) {
	var a mfa.Attempts
	err := db.change(ctx, "record a failed code", ev, func(t *tx) error {
		_, err := t.exec(`INSERT INTO factor_attempts (user_id, failures, locked_until) VALUES (?, 1, ?)
			ON CONFLICT (user_id) DO UPDATE SET failures = factor_attempts.failures + 1,
				locked_until = CASE WHEN factor_attempts.locked_until < excluded.locked_until THEN excluded.locked_until ELSE factor_attempts.locked_until END`, userID, ns(lockedUntil))
		if err != nil {
			return err
		}
		var until int64
		if err := t.one([]any{&a.Failures, &until}, "SELECT failures, locked_until FROM factor_attempts WHERE user_id = ?", userID); err != nil {
			return err
		}
		a.LockedUntil = at(until)
		return nil
	})
	return a, err
}
