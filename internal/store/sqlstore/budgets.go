package sqlstore

import (
	"context"
	"fmt"

	"jit-gateway/internal/store"
)

// Spend adds to what was used of the grant's budget, on every gateway, and
// returns the sum. No event: it is a counter.
func (db *DB) Spend(ctx context.Context, grantID string, add store.Spent) (sum store.Spent, err error) {
	err = db.write(ctx, func(t *tx) error {
		if _, err := t.exec(`INSERT INTO budgets (grant_id, "rows", bytes, statements) VALUES (?, ?, ?, ?) ON CONFLICT (grant_id) DO UPDATE
			SET "rows" = budgets."rows" + excluded."rows", bytes = budgets.bytes + excluded.bytes, statements = budgets.statements + excluded.statements`,
			grantID, add.Rows, add.Bytes, add.Statements); err != nil {
			return err
		}
		return t.one([]any{&sum.Rows, &sum.Bytes, &sum.Statements}, `SELECT "rows", bytes, statements FROM budgets WHERE grant_id = ?`, grantID)
	})
	if err != nil {
		return store.Spent{}, fmt.Errorf("count the budget of grant %s: %w", grantID, err)
	}
	return sum, nil
}
