package sqlstore

import (
	"context"
	"fmt"
	"time"

	"jit-gateway/ca"
	"jit-gateway/internal/audit"
)

// maxTokens is how many live tokens of one user and target a login tries.
const maxTokens = 64

// AddToken implements ca.TokenStore.
func (db *DB) AddToken(ctx context.Context, k ca.Token, ev audit.Event) error {
	return db.change(ctx, "keep token "+k.ID, ev, func(t *tx) error {
		text, err := encode(k)
		if err != nil {
			return err
		}
		_, err = t.exec("INSERT INTO tokens (id, grant_id, user_id, user_name, target, salt, stored_key, server_key, created_at, dead_at, doc) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
			k.ID, k.GrantID, k.UserID, k.User, k.Target, blob(k.Salt), blob(k.StoredKey), blob(k.ServerKey), ns(k.CreatedAt), ns(k.DeadAt), text)
		return err
	})
}

const tokenColumns = "SELECT k.salt, k.stored_key, k.server_key, k.dead_at, k.doc FROM tokens k"

func scanToken(r row) (ca.Token, error) {
	var salt, stored, server []byte
	var dead int64
	var text string
	if err := r.Scan(&salt, &stored, &server, &dead, &text); err != nil {
		return ca.Token{}, err
	}
	k, err := decode[ca.Token](text)
	k.Salt, k.StoredKey, k.ServerKey, k.DeadAt = salt, stored, server, at(dead)
	return k, err
}

// TokensFor implements ca.TokenStore.
func (db *DB) TokensFor(ctx context.Context, userName, target string, now time.Time) ([]ca.Token, error) {
	return list(ctx, db.read, "find tokens", tokenColumns+` JOIN grants g ON g.id = k.grant_id
		WHERE k.user_name = ? AND k.target = ? AND k.dead_at = 0 AND g.state = 'active' AND g.end_at > ?
		ORDER BY k.created_at DESC, k.rowid DESC LIMIT ?`, []any{userName, target, ns(now), maxTokens}, scanToken)
}

// TokensOf implements ca.TokenStore.
func (db *DB) TokensOf(ctx context.Context, grantID string) ([]ca.Token, error) {
	return list(ctx, db.read, "find tokens", tokenColumns+" WHERE k.grant_id = ? AND k.dead_at = 0 ORDER BY k.created_at, k.rowid", []any{grantID}, scanToken)
}

// KillTokens implements ca.TokenStore.
func (db *DB) KillTokens(ctx context.Context, grantID string, when time.Time, ev audit.Event) error {
	err := db.write(ctx, func(t *tx) error {
		n, err := t.exec("UPDATE tokens SET dead_at = ? WHERE grant_id = ? AND dead_at = 0", ns(when), grantID)
		if err != nil || n == 0 {
			return err
		}
		_, err = t.append(ev)
		return err
	})
	if err != nil {
		return fmt.Errorf("end the tokens of grant %s: %w", grantID, err)
	}
	return nil
}
