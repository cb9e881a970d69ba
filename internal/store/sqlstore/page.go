package sqlstore

import (
	"context"
	"fmt"
	"time"

	"jit-gateway/internal/audit"
	"jit-gateway/internal/store"
)

// CreatePageSession keeps a browser's sign-in, and forgets expired ones.
func (db *DB) CreatePageSession(ctx context.Context, s store.PageSession, ev audit.Event) error {
	return db.change(ctx, "sign in to the page", ev, func(t *tx) error {
		if _, err := t.exec("DELETE FROM page_sessions WHERE expires_at <= ?", ns(s.CreatedAt)); err != nil {
			return err
		}
		_, err := t.exec("INSERT INTO page_sessions (id, user_id, created_at, expires_at, last_seen, source, key_fingerprint, key_source) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
			s.ID, s.UserID, ns(s.CreatedAt), ns(s.ExpiresAt), ns(s.LastSeen), s.Source, s.KeyFingerprint, s.KeySource)
		return err
	})
}

// PageSession returns a browser's sign-in. The caller judges ExpiresAt.
func (db *DB) PageSession(ctx context.Context, id string) (store.PageSession, error) {
	return get(ctx, db.read, "page session", pageColumns+" WHERE id = ?", []any{id}, scanPage)
}

const pageColumns = "SELECT id, user_id, created_at, expires_at, last_seen, source, key_fingerprint, key_source FROM page_sessions"

func scanPage(r row) (s store.PageSession, err error) {
	var created, expires, seen int64
	err = r.Scan(&s.ID, &s.UserID, &created, &expires, &seen, &s.Source, &s.KeyFingerprint, &s.KeySource)
	s.CreatedAt, s.ExpiresAt, s.LastSeen = at(created), at(expires), at(seen)
	return s, err
}

// PageSessionsOf lists a user's signed-in browsers, newest first, expired ones
// too while they are not forgotten.
func (db *DB) PageSessionsOf(ctx context.Context, userID string) ([]store.PageSession, error) {
	return list(ctx, db.read, "list page sessions", pageColumns+" WHERE user_id = ? ORDER BY created_at DESC, id", []any{userID}, scanPage)
}

// TouchPageSession notes that it was used. No event.
func (db *DB) TouchPageSession(ctx context.Context, id string, seen time.Time) error {
	return db.write(ctx, func(t *tx) error {
		return t.found("UPDATE page_sessions SET last_seen = CASE WHEN last_seen < ? THEN ? ELSE last_seen END WHERE id = ?", ns(seen), ns(seen), id)
	})
}

// DeletePageSession signs a browser out; store.ErrNotFound if it was not in.
func (db *DB) DeletePageSession(ctx context.Context, id string, ev audit.Event) error {
	return db.change(ctx, "sign out of the page", ev, func(t *tx) error {
		return t.found("DELETE FROM page_sessions WHERE id = ?", id)
	})
}

// DeletePageSessionsOf signs all browsers of a user out and returns how many
// they were. Without any it appends no event.
func (db *DB) DeletePageSessionsOf(ctx context.Context, userID string, ev audit.Event) (int, error) {
	var n int64
	err := db.write(ctx, func(t *tx) (err error) {
		if n, err = t.exec("DELETE FROM page_sessions WHERE user_id = ?", userID); err != nil || n == 0 {
			return err
		}
		_, err = t.append(ev)
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("sign a user out of the page: %w", err)
	}
	return int(n), nil
}

// signOut ends a user's sign-ins to the page, and the links to more of them,
// as part of a change that they must not outlive.
func (t *tx) signOut(userID string) error {
	for _, table := range []string{"page_sessions", "page_links"} {
		if _, err := t.exec("DELETE FROM "+table+" WHERE user_id = ?", userID); err != nil {
			return err
		}
	}
	return nil
}

// CreateLink keeps the hash of a one-time sign-in link.
func (db *DB) CreateLink(ctx context.Context, l store.Link, ev audit.Event) error {
	return db.change(ctx, "keep a sign-in link", ev, func(t *tx) error {
		if _, err := t.exec("DELETE FROM page_links WHERE expires_at < ?", ns(l.ExpiresAt.Add(-24*time.Hour))); err != nil {
			return err
		}
		_, err := t.exec("INSERT INTO page_links (hash, user_id, key_fingerprint, source, expires_at, used_at) VALUES (?, ?, ?, ?, ?, 0)",
			l.Hash, l.UserID, l.KeyFingerprint, l.Source, ns(l.ExpiresAt))
		return err
	})
}

// Link finds a sign-in link that is neither used nor expired by now:
// store.ErrNotFound otherwise. It spends nothing.
func (db *DB) Link(ctx context.Context, hash []byte, now time.Time) (store.Link, error) {
	return get(ctx, db.read, "sign-in link", "SELECT hash, user_id, key_fingerprint, source, expires_at FROM page_links WHERE hash = ? AND used_at = 0 AND expires_at > ?",
		[]any{hash, ns(now)}, func(r row) (l store.Link, err error) {
			var expires int64
			err = r.Scan(&l.Hash, &l.UserID, &l.KeyFingerprint, &l.Source, &expires)
			l.ExpiresAt = at(expires)
			return l, err
		})
}

// UseLink spends a sign-in link: of two at once, one wins. store.ErrConflict
// if it was used or has expired.
func (db *DB) UseLink(ctx context.Context, hash []byte, now time.Time, ev audit.Event) error {
	return db.change(ctx, "use a sign-in link", ev, func(t *tx) error {
		n, err := t.exec("UPDATE page_links SET used_at = ? WHERE hash = ? AND used_at = 0 AND expires_at > ?", ns(now), hash, ns(now))
		if err != nil {
			return err
		}
		if n == 0 {
			return t.lost("SELECT 1 FROM page_links WHERE hash = ?", hash)
		}
		return nil
	})
}
