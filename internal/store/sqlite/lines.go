package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"sync"

	"jit-gateway/internal/store"
	"jit-gateway/internal/store/sqlstore"
)

// lineIndex is the full-text index over recordings, in a file of its own: it
// can be built again from the recordings, so it may lose its last seconds in a
// power cut, and indexing never delays a change of the store.
type lineIndex struct {
	mu    sync.Mutex // one writer
	write *sql.DB
	read  *sql.DB
	// stale: the log of changes may still have pages of what was dropped, since
	// a search was in the way, or the process that dropped it was killed.
	stale bool
}

func openLines(ctx context.Context, path string) (_ *lineIndex, err error) {
	x := &lineIndex{stale: true}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("open search index %s (it may be deleted and built again): %w", path, err), x.close())
		}
	}()
	if err := touchPrivate(path); err != nil {
		return nil, err
	}
	if x.write, err = connect(ctx, path, "NORMAL", 1, false); err != nil {
		return nil, err
	}
	if err := migrate(ctx, x.write, "search"); err != nil {
		if strings.Contains(err.Error(), "no such module: fts5") {
			err = errors.New("this program was built without full-text search: build it with -tags sqlite_fts5")
		}
		return nil, err
	}
	// What is dropped is overwritten, and its words leave the index at once: it
	// may be of a recording that was deleted because of what it showed.
	for _, q := range []string{"PRAGMA secure_delete = ON", "INSERT INTO line_words (line_words, rank) VALUES ('secure-delete', 1)"} {
		if _, err := x.write.ExecContext(ctx, q); err != nil {
			return nil, err
		}
	}
	if x.read, err = connect(ctx, path, "NORMAL", 2, true); err != nil {
		return nil, err
	}
	return x, nil
}

func (x *lineIndex) close() error {
	var errs []error
	for _, db := range []*sql.DB{x.write, x.read} {
		if db != nil {
			errs = append(errs, db.Close())
		}
	}
	return errors.Join(errs...)
}

// IndexLines implements sqlstore.Lines.
func (x *lineIndex) IndexLines(ctx context.Context, s sqlstore.LineSession, lines []store.Line) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	t, err := x.write.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("index the recording of session %s: %w", s.ID, err)
	}
	defer t.Rollback() // does nothing after Commit
	if _, err := t.ExecContext(ctx, "INSERT INTO indexed_sessions (session, user_id, user_name, target, started_at) VALUES (?, ?, ?, ?, ?) ON CONFLICT (session) DO NOTHING",
		s.ID, s.UserID, s.User, s.Target, s.StartedAt.UnixNano()); err != nil {
		return fmt.Errorf("index the recording of session %s: %w", s.ID, err)
	}
	var row int64
	if err := t.QueryRowContext(ctx, "SELECT id FROM indexed_sessions WHERE session = ?", s.ID).Scan(&row); err != nil {
		return fmt.Errorf("index the recording of session %s: %w", s.ID, err)
	}
	line, err := t.PrepareContext(ctx, "INSERT INTO lines (session, at, kind, text) VALUES (?, ?, ?, ?)")
	if err != nil {
		return fmt.Errorf("index the recording of session %s: %w", s.ID, err)
	}
	defer line.Close()
	words, err := t.PrepareContext(ctx, "INSERT INTO line_words (rowid, text) VALUES (?, ?)")
	if err != nil {
		return fmt.Errorf("index the recording of session %s: %w", s.ID, err)
	}
	defer words.Close()
	for _, l := range lines {
		text := sqlstore.Indexable(l.Text)
		r, err := line.ExecContext(ctx, row, int64(l.At), l.Kind, text)
		if err != nil {
			return fmt.Errorf("index the recording of session %s: %w", s.ID, err)
		}
		n, err := r.LastInsertId()
		if err != nil {
			return fmt.Errorf("index the recording of session %s: %w", s.ID, err)
		}
		if _, err := words.ExecContext(ctx, n, text); err != nil {
			return fmt.Errorf("index the recording of session %s: %w", s.ID, err)
		}
	}
	if err := t.Commit(); err != nil {
		return fmt.Errorf("index the recording of session %s: %w", s.ID, err)
	}
	return nil
}

// SearchLines implements sqlstore.Lines. A condition whose value is empty
// holds for every line.
func (x *lineIndex) SearchLines(ctx context.Context, query string, f store.LineFilter) ([]store.LineHit, error) {
	match := ftsQuery(query)
	if match == "" {
		return nil, errors.New("search: give at least one word")
	}
	if f.Limit <= 0 {
		f.Limit = 100
	}
	rows, err := x.read.QueryContext(ctx, `
		SELECT s.session, s.user_id, s.user_name, s.target, s.started_at, l.at, l.kind, l.text,
			snippet(line_words, 0, char(2), char(3), '…', 24)
		FROM line_words JOIN lines l ON l.id = line_words.rowid JOIN indexed_sessions s ON s.id = l.session
		WHERE line_words MATCH ?1 AND (?2 = '' OR s.user_id = ?2) AND (?3 = '' OR s.target = ?3) AND (?4 = '' OR s.session = ?4)
			AND (?5 = '' OR l.kind = ?5) AND (?6 = 0 OR s.started_at + l.at >= ?6) AND (?7 = 0 OR s.started_at + l.at < ?7)
		ORDER BY s.started_at + l.at DESC, l.id DESC LIMIT ?8`,
		match, f.UserID, f.Target, f.Session, f.Kind, sqlstore.Nanoseconds(f.Since), sqlstore.Nanoseconds(f.Until), f.Limit)
	if err != nil {
		return nil, fmt.Errorf("search recordings: %w", err)
	}
	defer rows.Close()
	var out []store.LineHit
	for rows.Next() {
		var h store.LineHit
		var started int64
		if err := rows.Scan(&h.Session, &h.UserID, &h.User, &h.Target, &started, &h.At, &h.Kind, &h.Text, &h.Excerpt); err != nil {
			return nil, fmt.Errorf("search recordings: %w", err)
		}
		h.StartedAt = sqlstore.Time(started)
		out = append(out, h)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("search recordings: %w", err)
	}
	return out, nil
}

// ftsQuery turns what people type into an FTS5 query: every word a quoted
// string, so that no operator or syntax error can come from it.
func ftsQuery(s string) string {
	var terms []string
	for _, t := range sqlstore.Terms(s) {
		term := `"` + t.Text + `"`
		if t.Prefix {
			term += "*"
		}
		terms = append(terms, term)
	}
	return strings.Join(terms, " AND ")
}

// DropIndex implements sqlstore.Lines. Each recording that is to be indexed is
// dropped first, and hardly any has been indexed before.
func (x *lineIndex) DropIndex(ctx context.Context, sessionID string) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	if err := x.drop(ctx, sessionID); err != nil {
		return fmt.Errorf("drop the index of session %s: %w", sessionID, err)
	}
	return nil
}

func (x *lineIndex) drop(ctx context.Context, sessionID string) error {
	var indexed bool
	if err := x.write.QueryRowContext(ctx, "SELECT EXISTS (SELECT 1 FROM indexed_sessions WHERE session = ?)", sessionID).Scan(&indexed); err != nil {
		return err
	}
	if indexed {
		t, err := x.write.BeginTx(ctx, nil)
		if err != nil {
			return err
		}
		defer t.Rollback() // does nothing after Commit
		for _, q := range []string{
			"INSERT INTO line_words (line_words, rowid, text) SELECT 'delete', l.id, l.text FROM lines l JOIN indexed_sessions s ON s.id = l.session WHERE s.session = ?",
			"DELETE FROM lines WHERE session = (SELECT id FROM indexed_sessions WHERE session = ?)",
			"DELETE FROM indexed_sessions WHERE session = ?",
		} {
			if _, err := t.ExecContext(ctx, q, sessionID); err != nil {
				return err
			}
		}
		if err := t.Commit(); err != nil {
			return err
		}
		x.stale = true
	}
	if !x.stale {
		return nil
	}
	// While somebody searches the log of changes cannot be emptied; then a
	// later call does it.
	var busy, pages, moved int
	if err := x.write.QueryRowContext(ctx, "PRAGMA wal_checkpoint(TRUNCATE)").Scan(&busy, &pages, &moved); err != nil {
		return err
	}
	x.stale = busy != 0
	return nil
}
