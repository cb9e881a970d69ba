package postgres

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"

	"jit-gateway/internal/store"
	"jit-gateway/internal/store/sqlstore"
)

// lineIndex is the full-text index over recordings: a tsvector that this
// package makes itself (see words.go), under a GIN index. It can be built
// again from the recordings.
type lineIndex struct{ db *sql.DB }

// lineBatch is how many lines go in one statement.
const lineBatch = 500

// IndexLines implements sqlstore.Lines.
func (x lineIndex) IndexLines(ctx context.Context, s sqlstore.LineSession, lines []store.Line) error {
	fail := func(err error) error {
		return fmt.Errorf("index the recording of session %s: %w", s.ID, translate(err))
	}
	t, err := x.db.BeginTx(ctx, nil)
	if err != nil {
		return fail(err)
	}
	defer t.Rollback() // does nothing after Commit
	var row int64
	// An update that changes nothing, so that the row is returned when it is there.
	err = t.QueryRowContext(ctx, `INSERT INTO indexed_sessions (session, user_id, user_name, target, started_at) VALUES ($1, $2, $3, $4, $5)
		ON CONFLICT (session) DO UPDATE SET session = excluded.session RETURNING id`,
		storable(s.ID), storable(s.UserID), storable(s.User), storable(s.Target), sqlstore.Nanoseconds(s.StartedAt)).Scan(&row)
	if err != nil {
		return fail(err)
	}
	for part := range slices.Chunk(lines, lineBatch) {
		at, kinds, texts, words := make([]int64, len(part)), make([]string, len(part)), make([]string, len(part)), make([]string, len(part))
		for i, l := range part {
			at[i], kinds[i], texts[i] = int64(l.At), storable(l.Kind), storable(sqlstore.Indexable(l.Text))
			words[i] = vector(texts[i])
		}
		_, err := t.ExecContext(ctx, `INSERT INTO lines (session, at, kind, text, words)
			SELECT $1, l.at, l.kind, l.text, l.words::tsvector
			FROM unnest($2::bigint[], $3::text[], $4::text[], $5::text[]) WITH ORDINALITY AS l (at, kind, text, words, n) ORDER BY l.n`,
			row, at, kinds, texts, words)
		if err != nil {
			return fail(err)
		}
	}
	if err := t.Commit(); err != nil {
		return fail(err)
	}
	return nil
}

// SearchLines implements sqlstore.Lines.
func (x lineIndex) SearchLines(ctx context.Context, query string, f store.LineFilter) ([]store.LineHit, error) {
	terms := parseTerms(query)
	if len(terms) == 0 {
		return nil, errors.New("search: give at least one word")
	}
	if f.Limit <= 0 {
		f.Limit = 100
	}
	rows, err := x.db.QueryContext(ctx, `
		SELECT s.session, s.user_id, s.user_name, s.target, s.started_at, l.at, l.kind, l.text
		FROM lines l JOIN indexed_sessions s ON s.id = l.session
		WHERE l.words @@ $1::tsquery AND ($2::text = '' OR s.user_id = $2) AND ($3::text = '' OR s.target = $3) AND ($4::text = '' OR s.session = $4)
			AND ($5::text = '' OR l.kind = $5) AND ($6::bigint = 0 OR s.started_at + l.at >= $6) AND ($7::bigint = 0 OR s.started_at + l.at < $7)
		ORDER BY s.started_at + l.at DESC, l.id DESC LIMIT $8`,
		tsquery(terms), storable(f.UserID), storable(f.Target), storable(f.Session), storable(f.Kind),
		sqlstore.Nanoseconds(f.Since), sqlstore.Nanoseconds(f.Until), f.Limit)
	if err != nil {
		return nil, fmt.Errorf("search recordings: %w", err)
	}
	defer rows.Close()
	var out []store.LineHit
	for rows.Next() {
		var h store.LineHit
		var started int64
		if err := rows.Scan(&h.Session, &h.UserID, &h.User, &h.Target, &started, &h.At, &h.Kind, &h.Text); err != nil {
			return nil, fmt.Errorf("search recordings: %w", err)
		}
		h.StartedAt, h.Excerpt = sqlstore.Time(started), excerpt(h.Text, terms)
		out = append(out, h)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("search recordings: %w", err)
	}
	return out, nil
}

// DropIndex implements sqlstore.Lines.
func (x lineIndex) DropIndex(ctx context.Context, sessionID string) error {
	fail := func(err error) error { return fmt.Errorf("drop the index of session %s: %w", sessionID, err) }
	t, err := x.db.BeginTx(ctx, nil)
	if err != nil {
		return fail(err)
	}
	defer t.Rollback() // does nothing after Commit
	for _, q := range []string{
		"DELETE FROM lines WHERE session = (SELECT id FROM indexed_sessions WHERE session = $1)",
		"DELETE FROM indexed_sessions WHERE session = $1",
	} {
		if _, err := t.ExecContext(ctx, q, storable(sessionID)); err != nil {
			return fail(err)
		}
	}
	if err := t.Commit(); err != nil {
		return fail(err)
	}
	return nil
}
