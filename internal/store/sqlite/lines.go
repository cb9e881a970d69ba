package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"sync"
	"unicode"

	"jit-gateway/internal/store"
)

// lineIndex is the full-text index over recordings, in a file of its own: it
// can be built again from the recordings, so it may lose its last seconds in a
// power cut, and indexing never delays a change of the store.
type lineIndex struct {
	mu    sync.Mutex // one writer
	write *sql.DB
	read  *sql.DB
}

func openLines(ctx context.Context, path string) (_ *lineIndex, err error) {
	x := &lineIndex{}
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

// maxLine bounds the text of one indexed line.
const maxLine = 8 << 10

// IndexLines adds lines of a session's recording to the full-text index. The
// session must be in the store: its user, target and time are what searches
// filter by.
func (db *DB) IndexLines(ctx context.Context, sessionID string, lines []store.Line) error {
	if db.lines == nil {
		return errReading
	}
	s, err := db.Session(ctx, sessionID)
	if err != nil {
		return fmt.Errorf("index a recording: %w", err)
	}
	db.lines.mu.Lock()
	defer db.lines.mu.Unlock()
	t, err := db.lines.write.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("index the recording of session %s: %w", sessionID, err)
	}
	defer t.Rollback() // does nothing after Commit
	if _, err := t.ExecContext(ctx, "INSERT INTO indexed_sessions (session, user_id, user_name, target, started_at) VALUES (?, ?, ?, ?, ?) ON CONFLICT (session) DO NOTHING",
		s.ID, s.UserID, s.User, s.Target, ns(s.StartedAt)); err != nil {
		return fmt.Errorf("index the recording of session %s: %w", sessionID, err)
	}
	var row int64
	if err := t.QueryRowContext(ctx, "SELECT id FROM indexed_sessions WHERE session = ?", s.ID).Scan(&row); err != nil {
		return fmt.Errorf("index the recording of session %s: %w", sessionID, err)
	}
	line, err := t.PrepareContext(ctx, "INSERT INTO lines (session, at, kind, text) VALUES (?, ?, ?, ?)")
	if err != nil {
		return fmt.Errorf("index the recording of session %s: %w", sessionID, err)
	}
	defer line.Close()
	words, err := t.PrepareContext(ctx, "INSERT INTO line_words (rowid, text) VALUES (?, ?)")
	if err != nil {
		return fmt.Errorf("index the recording of session %s: %w", sessionID, err)
	}
	defer words.Close()
	for _, l := range lines {
		text := indexable(l.Text)
		r, err := line.ExecContext(ctx, row, int64(l.At), l.Kind, text)
		if err != nil {
			return fmt.Errorf("index the recording of session %s: %w", sessionID, err)
		}
		n, err := r.LastInsertId()
		if err != nil {
			return fmt.Errorf("index the recording of session %s: %w", sessionID, err)
		}
		if _, err := words.ExecContext(ctx, n, text); err != nil {
			return fmt.Errorf("index the recording of session %s: %w", sessionID, err)
		}
	}
	if err := t.Commit(); err != nil {
		return fmt.Errorf("index the recording of session %s: %w", sessionID, err)
	}
	return nil
}

// indexable cuts a long line and drops what is no text, the marks of excerpts
// among it.
func indexable(s string) string {
	if len(s) > maxLine {
		s = s[:maxLine]
	}
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t':
			return ' '
		case unicode.IsControl(r):
			return -1
		}
		return r
	}, strings.ToValidUTF8(s, "�"))
}

// SearchLines finds lines that contain all words of the query, newest first.
// Words in double quotes must stand together; a word that ends in * is a
// beginning.
func (db *DB) SearchLines(ctx context.Context, query string, f store.LineFilter) ([]store.LineHit, error) {
	if db.lines == nil {
		return nil, errReading
	}
	match := ftsQuery(query)
	if match == "" {
		return nil, errors.New("search: give at least one word")
	}
	var w where
	w.add("line_words MATCH ?", match)
	w.is("s.user_id", f.UserID)
	w.is("s.target", f.Target)
	w.is("s.session", f.Session)
	w.is("l.kind", f.Kind)
	if !f.Since.IsZero() {
		w.add("s.started_at + l.at >= ?", ns(f.Since))
	}
	if !f.Until.IsZero() {
		w.add("s.started_at + l.at < ?", ns(f.Until))
	}
	return list(ctx, db.lines.read, "search recordings", `
		SELECT s.session, s.user_id, s.user_name, s.target, s.started_at, l.at, l.kind, l.text,
			snippet(line_words, 0, char(2), char(3), '…', 24)
		FROM line_words JOIN lines l ON l.id = line_words.rowid JOIN indexed_sessions s ON s.id = l.session`+
		w.String()+" ORDER BY s.started_at + l.at DESC, l.id DESC LIMIT ?", append(w.args, limit(f.Limit)), func(r row) (h store.LineHit, err error) {
		var started int64
		err = r.Scan(&h.Session, &h.UserID, &h.User, &h.Target, &started, &h.At, &h.Kind, &h.Text, &h.Excerpt)
		h.StartedAt = at(started)
		return h, err
	})
}

// ftsQuery turns what people type into an FTS5 query: every word a quoted
// string, so that no operator or syntax error can come from it.
func ftsQuery(s string) string {
	var terms []string
	for i, part := range strings.Split(s, `"`) {
		words := []string{part} // between quotes: together
		if i%2 == 0 {
			words = strings.Fields(part)
		}
		for _, word := range words {
			prefix := i%2 == 0 && strings.HasSuffix(word, "*")
			if !strings.ContainsFunc(word, func(r rune) bool { return unicode.IsLetter(r) || unicode.IsNumber(r) }) {
				continue // nothing that is indexed
			}
			term := `"` + strings.ReplaceAll(strings.TrimSuffix(word, "*"), "\x00", "") + `"`
			if prefix {
				term += "*"
			}
			terms = append(terms, term)
		}
	}
	return strings.Join(terms, " AND ")
}

// DropIndex takes a session out of the full-text index; it need not be in it.
func (db *DB) DropIndex(ctx context.Context, sessionID string) error {
	if db.lines == nil {
		return errReading
	}
	db.lines.mu.Lock()
	defer db.lines.mu.Unlock()
	t, err := db.lines.write.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("drop the index of session %s: %w", sessionID, err)
	}
	defer t.Rollback() // does nothing after Commit
	for _, q := range []string{
		"INSERT INTO line_words (line_words, rowid, text) SELECT 'delete', l.id, l.text FROM lines l JOIN indexed_sessions s ON s.id = l.session WHERE s.session = ?",
		"DELETE FROM lines WHERE session = (SELECT id FROM indexed_sessions WHERE session = ?)",
		"DELETE FROM indexed_sessions WHERE session = ?",
	} {
		if _, err := t.ExecContext(ctx, q, sessionID); err != nil {
			return fmt.Errorf("drop the index of session %s: %w", sessionID, err)
		}
	}
	if err := t.Commit(); err != nil {
		return fmt.Errorf("drop the index of session %s: %w", sessionID, err)
	}
	return nil
}
