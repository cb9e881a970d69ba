package sqlstore

import (
	"context"
	"fmt"
	"strings"
	"time"
	"unicode"

	"jit-gateway/internal/store"
)

// LineSession is what searches filter by of the session that a line is from.
type LineSession struct {
	ID        string
	UserID    string
	User      string
	Target    string
	StartedAt time.Time
}

// IndexLines adds lines of a session's recording to the full-text index. The
// session must be in the store: its user, target and time are what searches
// filter by.
func (db *DB) IndexLines(ctx context.Context, sessionID string, lines []store.Line) error {
	if db.lines == nil {
		return ErrReading
	}
	s, err := db.Session(ctx, sessionID)
	if err != nil {
		return fmt.Errorf("index a recording: %w", err)
	}
	return db.lines.IndexLines(ctx, LineSession{ID: s.ID, UserID: s.UserID, User: s.User, Target: s.Target, StartedAt: s.StartedAt}, lines)
}

// SearchLines finds lines that contain all words of the query, newest first.
// Words in double quotes must stand together; a word that ends in * is a
// beginning.
func (db *DB) SearchLines(ctx context.Context, query string, f store.LineFilter) ([]store.LineHit, error) {
	if db.lines == nil {
		return nil, ErrReading
	}
	return db.lines.SearchLines(ctx, query, f)
}

// DropIndex takes a session out of the full-text index; it need not be in it.
func (db *DB) DropIndex(ctx context.Context, sessionID string) error {
	if db.lines == nil {
		return ErrReading
	}
	return db.lines.DropIndex(ctx, sessionID)
}

// maxLine bounds the text of one indexed line.
const maxLine = 8 << 10

// Indexable cuts a long line and drops what is no text, the marks of excerpts
// among it.
func Indexable(s string) string {
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

// Terms reads what people type into a search: words, and between double
// quotes words that must stand together. A word that ends in * is a beginning.
// What has no letter and no digit is nothing that is indexed.
func Terms(s string) []Term {
	var out []Term
	for i, part := range strings.Split(s, `"`) {
		words := []string{part} // between quotes: together
		if i%2 == 0 {
			words = strings.Fields(part)
		}
		for _, word := range words {
			if !strings.ContainsFunc(word, func(r rune) bool { return unicode.IsLetter(r) || unicode.IsNumber(r) }) {
				continue
			}
			prefix := i%2 == 0 && strings.HasSuffix(word, "*")
			out = append(out, Term{strings.ReplaceAll(strings.TrimSuffix(word, "*"), "\x00", ""), prefix})
		}
	}
	return out
}

// Term is one of Terms.
type Term struct {
	Text   string // no double quotes in it
	Prefix bool
}
