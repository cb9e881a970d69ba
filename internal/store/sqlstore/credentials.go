package sqlstore

import (
	"context"
	"time"

	"jit-gateway/internal/audit"
	"jit-gateway/session"
)

// AddCredential implements session.Credentials.
func (db *DB) AddCredential(ctx context.Context, c session.Credential, ev audit.Event) error {
	return db.change(ctx, "keep the intent to mint "+c.Kind+" "+c.Name, ev, func(t *tx) error {
		text, err := encode(c)
		if err != nil {
			return err
		}
		_, err = t.exec("INSERT INTO credentials (id, session_id, grant_id, kind, created_at, dead_at, tries, last_error, doc) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
			c.ID, c.SessionID, c.GrantID, c.Kind, ns(c.CreatedAt), ns(c.DeadAt), c.Tries, c.LastError, text)
		return err
	})
}

const credentialDead = "UPDATE credentials SET dead_at = ? WHERE id = ? AND dead_at = 0"

// CredentialDead implements session.Credentials: store.ErrConflict if it was
// dead before.
func (db *DB) CredentialDead(ctx context.Context, id string, when time.Time, ev audit.Event) error {
	return db.change(ctx, "note that credential "+id+" is dead", ev, func(t *tx) error {
		n, err := t.exec(credentialDead, ns(when), id)
		if err != nil || n > 0 {
			return err
		}
		return t.lost("SELECT 1 FROM credentials WHERE id = ?", id)
	})
}

// CredentialFailed implements session.Credentials.
func (db *DB) CredentialFailed(ctx context.Context, id, lastError string, ev audit.Event) error {
	return db.change(ctx, "note that credential "+id+" could not be ended", ev, func(t *tx) error {
		return t.found("UPDATE credentials SET tries = tries + 1, last_error = ? WHERE id = ?", lastError, id)
	})
}

const credentialColumns = "SELECT dead_at, tries, last_error, doc FROM credentials"

func scanCredential(r row) (session.Credential, error) {
	var dead int64
	var tries int
	var last, text string
	if err := r.Scan(&dead, &tries, &last, &text); err != nil {
		return session.Credential{}, err
	}
	c, err := decode[session.Credential](text)
	c.DeadAt, c.Tries, c.LastError = at(dead), tries, last
	return c, err
}

// LiveCredentials implements session.Credentials, oldest first.
func (db *DB) LiveCredentials(ctx context.Context, f session.CredentialFilter) ([]session.Credential, error) {
	w := where{}
	w.add("dead_at = 0")
	w.is("session_id", f.SessionID)
	w.is("grant_id", f.GrantID)
	w.is("kind", f.Kind)
	return list(ctx, db.read, "list live credentials", credentialColumns+w.String()+" ORDER BY created_at, rowid", w.args, scanCredential)
}

// CredentialsOf returns all that was ever minted under a grant, oldest first.
func (db *DB) CredentialsOf(ctx context.Context, grantID string) ([]session.Credential, error) {
	return list(ctx, db.read, "list credentials", credentialColumns+" WHERE grant_id = ? ORDER BY created_at, rowid", []any{grantID}, scanCredential)
}
