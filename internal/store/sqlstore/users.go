package sqlstore

import (
	"context"
	"fmt"
	"time"

	"jit-gateway/internal/audit"
	"jit-gateway/internal/identity"
	"jit-gateway/internal/store"
)

const userColumns = "SELECT u.version, u.last_seen, u.doc FROM users u"

func scanUser(r row) (identity.User, error) {
	var version int
	var seen int64
	var text string
	if err := r.Scan(&version, &seen, &text); err != nil {
		return identity.User{}, err
	}
	u, err := decode[identity.User](text)
	u.Version, u.LastSeen = version, at(seen)
	return u, err
}

// User implements identity.Store.
func (db *DB) User(ctx context.Context, id string) (identity.User, error) {
	return get(ctx, db.read, fmt.Sprintf("user %q", id), userColumns+" WHERE u.id = ?", []any{id}, scanUser)
}

// UserByName implements identity.Store.
func (db *DB) UserByName(ctx context.Context, name string) (identity.User, error) {
	return get(ctx, db.read, fmt.Sprintf("user %q", name), userColumns+" WHERE u.name = ?", []any{name}, scanUser)
}

// UserBySubject finds the user of an OIDC issuer and subject.
func (db *DB) UserBySubject(ctx context.Context, issuer, subject string) (identity.User, error) {
	if subject == "" {
		return identity.User{}, fmt.Errorf("user without a subject: %w", store.ErrNotFound)
	}
	return get(ctx, db.read, fmt.Sprintf("user %q of %q", subject, issuer), userColumns+" WHERE u.issuer = ? AND u.subject = ? AND u.subject <> ''", []any{issuer, subject}, scanUser)
}

// UserBySCIM finds the user that a SCIM client named.
func (db *DB) UserBySCIM(ctx context.Context, scimID string) (identity.User, error) {
	if scimID == "" {
		return identity.User{}, fmt.Errorf("user without a SCIM id: %w", store.ErrNotFound)
	}
	return get(ctx, db.read, fmt.Sprintf("user with SCIM id %q", scimID), userColumns+" WHERE u.scim_id = ? AND u.scim_id <> ''", []any{scimID}, scanUser)
}

// UserByKey implements identity.Store.
func (db *DB) UserByKey(ctx context.Context, fingerprint string) (identity.User, identity.Key, error) {
	key, err := get(ctx, db.read, "key "+fingerprint, keyColumns+" WHERE fingerprint = ?", []any{fingerprint}, scanKey)
	if err != nil {
		return identity.User{}, key, err
	}
	u, err := db.User(ctx, key.UserID)
	return u, key, err
}

// Users implements identity.Store.
func (db *DB) Users(ctx context.Context) ([]identity.User, error) {
	return list(ctx, db.read, "list users", userColumns+" ORDER BY u.name", nil, scanUser)
}

const keyColumns = "SELECT fingerprint, user_id, authorized, comment, created_at FROM user_keys"

func scanKey(r row) (k identity.Key, err error) {
	var created int64
	err = r.Scan(&k.Fingerprint, &k.UserID, &k.Authorized, &k.Comment, &created)
	k.CreatedAt = at(created)
	return k, err
}

// Keys implements identity.Store, oldest first.
func (db *DB) Keys(ctx context.Context, userID string) ([]identity.Key, error) {
	return list(ctx, db.read, "list keys", keyColumns+" WHERE user_id = ? ORDER BY created_at, fingerprint", []any{userID}, scanKey)
}

// userDoc is the document of a user: without what has columns of its own.
func userDoc(u identity.User) (string, error) {
	u.Version, u.LastSeen = 0, time.Time{}
	return encode(u)
}

// CreateUser implements identity.Writer. The new user has version 1.
func (db *DB) CreateUser(ctx context.Context, u identity.User, ev audit.Event) error {
	return db.change(ctx, fmt.Sprintf("add user %q", u.Name), ev, func(t *tx) error {
		text, err := userDoc(u)
		if err != nil {
			return err
		}
		_, err = t.exec("INSERT INTO users (id, name, issuer, subject, scim_id, user_name, version, last_seen, doc) VALUES (?, ?, ?, ?, ?, ?, 1, ?, ?)",
			u.ID, u.Name, u.Issuer, u.Subject, u.SCIMID, u.UserName, ns(u.LastSeen), text)
		return err
	})
}

// UpdateUser implements identity.Writer.
func (db *DB) UpdateUser(ctx context.Context, u identity.User, ev audit.Event) error {
	return db.change(ctx, fmt.Sprintf("update user %q", u.Name), ev, func(t *tx) error {
		text, err := userDoc(u)
		if err != nil {
			return err
		}
		n, err := t.exec("UPDATE users SET name = ?, issuer = ?, subject = ?, scim_id = ?, user_name = ?, version = version + 1, doc = ? WHERE id = ? AND version = ?",
			u.Name, u.Issuer, u.Subject, u.SCIMID, u.UserName, text, u.ID, u.Version)
		if err == nil && n > 0 && u.State == identity.Disabled {
			return t.signOut(u.ID) // for good: enabling brings no browser back
		}
		if err != nil || n > 0 {
			return err
		}
		return t.lost("SELECT 1 FROM users WHERE id = ?", u.ID)
	})
}

// AddKey implements identity.Writer.
func (db *DB) AddKey(ctx context.Context, k identity.Key, ev audit.Event) error {
	return db.change(ctx, "add key "+k.Fingerprint, ev, func(t *tx) error {
		_, err := t.exec("INSERT INTO user_keys (fingerprint, user_id, authorized, comment, created_at) VALUES (?, ?, ?, ?, ?)",
			k.Fingerprint, k.UserID, k.Authorized, k.Comment, ns(k.CreatedAt))
		return err
	})
}

// RemoveKey implements identity.Writer.
func (db *DB) RemoveKey(ctx context.Context, userID, fingerprint string, ev audit.Event) error {
	return db.change(ctx, "remove key "+fingerprint, ev, func(t *tx) error {
		return t.found("DELETE FROM user_keys WHERE fingerprint = ? AND user_id = ?", fingerprint, userID)
	})
}

// TouchUser implements identity.Writer.
func (db *DB) TouchUser(ctx context.Context, id string, seen time.Time) error {
	return db.write(ctx, func(t *tx) error {
		return t.found("UPDATE users SET last_seen = CASE WHEN last_seen < ? THEN ? ELSE last_seen END WHERE id = ?", ns(seen), ns(seen), id)
	})
}

// CreateInvite implements identity.Invites.
func (db *DB) CreateInvite(ctx context.Context, inv identity.Invite, ev audit.Event) error {
	return db.change(ctx, "keep an invite", ev, func(t *tx) error {
		_, err := t.exec("INSERT INTO invites (id, user_id, code_hash, created_by, created_at, expires_at, used_at) VALUES (?, ?, ?, ?, ?, ?, ?)",
			inv.ID, inv.UserID, inv.CodeHash, inv.CreatedBy, ns(inv.CreatedAt), ns(inv.ExpiresAt), ns(inv.UsedAt))
		return err
	})
}

// InviteByHash implements identity.Invites.
func (db *DB) InviteByHash(ctx context.Context, codeHash []byte) (identity.Invite, error) {
	return get(ctx, db.read, "invite", "SELECT id, user_id, code_hash, created_by, created_at, expires_at, used_at FROM invites WHERE code_hash = ?", []any{codeHash}, func(r row) (inv identity.Invite, err error) {
		var created, expires, used int64
		err = r.Scan(&inv.ID, &inv.UserID, &inv.CodeHash, &inv.CreatedBy, &created, &expires, &used)
		inv.CreatedAt, inv.ExpiresAt, inv.UsedAt = at(created), at(expires), at(used)
		return inv, err
	})
}

// UseInvite implements identity.Invites: of two at once, one wins. Whoever
// needed one may have lost a device, so every browser is signed out with it.
func (db *DB) UseInvite(ctx context.Context, id string, when time.Time, ev audit.Event) error {
	return db.change(ctx, "use an invite", ev, func(t *tx) error {
		n, err := t.exec("UPDATE invites SET used_at = ? WHERE id = ? AND used_at = 0 AND expires_at > ?", ns(when), id, ns(when))
		if err != nil {
			return err
		}
		if n == 0 {
			return t.lost("SELECT 1 FROM invites WHERE id = ?", id)
		}
		var user string
		if err := t.one([]any{&user}, "SELECT user_id FROM invites WHERE id = ?", id); err != nil {
			return err
		}
		return t.signOut(user)
	})
}
