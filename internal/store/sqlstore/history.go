package sqlstore

import (
	"context"
	"time"

	"jit-gateway/approval"
	"jit-gateway/approval/risk"
	"jit-gateway/internal/audit"
	"jit-gateway/session"
)

// PastSessions implements risk.History.
func (db *DB) PastSessions(ctx context.Context, userID string, since time.Time, n int) ([]risk.PastSession, error) {
	return list(ctx, db.read, "read past sessions", "SELECT doc FROM sessions WHERE user_id = ? AND started_at >= ? ORDER BY started_at DESC LIMIT ?", []any{userID, ns(since), limit(n)}, func(r row) (risk.PastSession, error) {
		s, err := doc[session.Row](r)
		return risk.PastSession{Target: s.Target, Login: s.Login, Source: s.Source, StartedAt: s.StartedAt, EndedAt: s.EndedAt, Bytes: s.BytesIn + s.BytesOut}, err
	})
}

// PastRequests implements risk.History.
func (db *DB) PastRequests(ctx context.Context, userID string, since time.Time, n int) ([]risk.PastRequest, error) {
	return list(ctx, db.read, "read past requests", "SELECT doc FROM requests WHERE user_id = ? AND filed_at >= ? ORDER BY filed_at DESC LIMIT ?", []any{userID, ns(since), limit(n)}, func(r row) (risk.PastRequest, error) {
		q, err := doc[approval.Request](r)
		p := risk.PastRequest{ID: q.ID, Targets: q.Targets, Login: q.Login, State: string(q.State), FiledAt: q.FiledAt}
		if q.Decision != nil {
			p.DecidedAt = q.Decision.At
		}
		return p, err
	})
}

// PastVotes implements risk.History.
func (db *DB) PastVotes(ctx context.Context, userID string, since time.Time, n int) ([]risk.PastVote, error) {
	return list(ctx, db.read, "read past votes", "SELECT request_id, filed_at, at FROM request_votes WHERE user_id = ? AND at >= ? ORDER BY at DESC LIMIT ?", []any{userID, ns(since), limit(n)}, func(r row) (v risk.PastVote, err error) {
		var filed, when int64
		err = r.Scan(&v.RequestID, &filed, &when)
		v.FiledAt, v.At = at(filed), at(when)
		return v, err
	})
}

// PastGrants implements risk.History.
func (db *DB) PastGrants(ctx context.Context, userID string, since time.Time, n int) ([]risk.PastGrant, error) {
	return list(ctx, db.read, "read past grants", `
		SELECT g.doc, count(s.id), coalesce(max(s.started_at), 0)
		FROM grants g LEFT JOIN sessions s ON s.grant_id = g.id
		WHERE g.user_id = ? AND g.activated_at >= ?
		GROUP BY g.id ORDER BY g.activated_at DESC LIMIT ?`, []any{userID, max(ns(since), 1), limit(n)}, func(r row) (risk.PastGrant, error) {
		var text string
		var p risk.PastGrant
		var last int64
		if err := r.Scan(&text, &p.Sessions, &last); err != nil {
			return p, err
		}
		g, err := decode[approval.Grant](text)
		p.ID, p.Start, p.End, p.Ended, p.LastSession = g.ID, g.Start, g.End, g.EndedAt, at(last)
		return p, err
	})
}

// FactorFailures implements risk.History. A failure that begins a wait is one too.
func (db *DB) FactorFailures(ctx context.Context, userID string, since time.Time) (int, error) {
	return get(ctx, db.read, "count failed codes", "SELECT count(*) FROM events WHERE user_id = ? AND user_id <> '' AND type IN (?, ?) AND time >= ?", []any{userID, string(audit.FactorFailed), string(audit.FactorLocked), ns(since)}, func(r row) (n int, err error) {
		return n, r.Scan(&n)
	})
}
