package sqlstore

import (
	"context"
	"database/sql"
	"fmt"
	"iter"
	"slices"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"jit-gateway/internal/audit"
)

// Append adds an event that tells of no change in the store, such as a
// refusal, and returns it as it was written.
func (db *DB) Append(ctx context.Context, ev audit.Event) (audit.Event, error) {
	out, err := db.AppendAll(ctx, []audit.Event{ev})
	if err != nil {
		return ev, err
	}
	return out[0], nil
}

// AppendAll adds events in one transaction: all or none.
func (db *DB) AppendAll(ctx context.Context, evs []audit.Event) ([]audit.Event, error) {
	out := make([]audit.Event, len(evs))
	err := db.write(ctx, func(t *tx) (err error) {
		for i, e := range evs {
			if out[i], err = t.append(e); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("append to the audit log: %w", err)
	}
	return out, nil
}

// Events implements audit.Source. Who follows a log that several gateways
// share waits while the store cannot be reached: that passes, or the gateway
// ends its sessions for it (G5), which is not for every reader to decide.
func (db *DB) Events(ctx context.Context, after int64, n int) ([]audit.Event, error) {
	if db.feed.failed() == nil && ctx.Err() == nil {
		if evs, ok, err := db.recent.after(after, limit(n)); ok || err != nil {
			return evs, err
		}
	}
	for pause := 100 * time.Millisecond; ; pause = min(2*pause, time.Second) {
		evs, err := list(ctx, db.read, "read audit events", "SELECT leaf FROM events WHERE seq > ? ORDER BY seq LIMIT ?", []any{after, limit(n)}, doc[audit.Event])
		if err == nil || !db.dialect.Shared || ctx.Err() != nil || !db.dialect.Gone(err) || db.feed.failed() != nil {
			return evs, err
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return nil, err
		}
	}
}

// LastSeq implements audit.Source: of the log as committed, on any gateway.
func (db *DB) LastSeq(ctx context.Context) (int64, error) {
	if db.dialect.Shared {
		if err := db.Refresh(ctx); err != nil {
			return 0, err
		}
	}
	last, _ := db.feed.state()
	return last, nil
}

// WaitEvents implements audit.Source: it returns as soon as the commit of an
// event after the cursor is durable.
func (db *DB) WaitEvents(ctx context.Context, after int64) error { return db.feed.wait(ctx, after) }

// FindEvents returns events that fit the filter, newest first.
func (db *DB) FindEvents(ctx context.Context, f audit.Filter) ([]audit.Event, error) {
	var w where
	in(&w, "type", f.Types)
	w.is("target", f.Target)
	for column, value := range map[string]string{"user_id": f.User, "request_id": f.Request, "grant_id": f.Grant, "session_id": f.Session} {
		if value != "" {
			w.add(column+" = ? AND "+column+" <> ''", value) // the second so that the partial index is used
		}
	}
	if !f.Since.IsZero() {
		w.add("time >= ?", ns(f.Since))
	}
	if !f.Until.IsZero() {
		w.add("time < ?", ns(f.Until))
	}
	if f.Before > 0 {
		w.add("seq < ?", f.Before)
	}
	return list(ctx, db.read, "find audit events", "SELECT leaf FROM events"+w.String()+" ORDER BY seq DESC LIMIT ?", append(w.args, limit(f.Limit)), doc[audit.Event])
}

// Leaf returns the bytes of one event: what is hashed and proved.
func (db *DB) Leaf(ctx context.Context, seq int64) (audit.Leaf, error) {
	return get(ctx, db.read, fmt.Sprintf("read audit event %d", seq), "SELECT seq, leaf, hashes FROM events WHERE seq = ?", []any{seq}, scanLeaf)
}

// Leaves implements audit.Log.
func (db *DB) Leaves(ctx context.Context, from int64, n int) ([]audit.Leaf, error) {
	return list(ctx, db.read, "read the audit log", "SELECT seq, leaf, hashes FROM events WHERE seq >= ? ORDER BY seq LIMIT ?", []any{from, limit(n)}, scanLeaf)
}

func scanLeaf(r row) (audit.Leaf, error) {
	var l audit.Leaf
	var text string
	var flat []byte
	if err := r.Scan(&l.Seq, &text, &flat); err != nil {
		return l, err
	}
	l.Data = []byte(text)
	for h := range slices.Chunk(flat, tlog.HashSize) {
		// A hash that was cut short is not that of the event, and so is found.
		var hash tlog.Hash
		copy(hash[:], h)
		l.Stored = append(l.Stored, hash)
	}
	if len(flat) == 0 {
		l.Stored = []tlog.Hash{{}} // likewise
	}
	return l, nil
}

// Entries implements audit.LogReader over the live log.
func (db *DB) Entries(ctx context.Context) iter.Seq2[audit.Entry, error] { return audit.Merge(ctx, db) }

// Checkpoints implements audit.Log.
func (db *DB) Checkpoints(ctx context.Context, from int64, n int) ([]audit.Checkpoint, error) {
	return list(ctx, db.read, "read checkpoints", "SELECT size, root, note, time FROM checkpoints WHERE size >= ? ORDER BY size LIMIT ?", []any{from, limit(n)}, scanCheckpoint)
}

// LastCheckpoint implements audit.Log.
func (db *DB) LastCheckpoint(ctx context.Context) (audit.Checkpoint, error) {
	cs, err := list(ctx, db.read, "read the newest checkpoint", "SELECT size, root, note, time FROM checkpoints ORDER BY size DESC LIMIT 1", nil, scanCheckpoint)
	if err != nil || len(cs) == 0 {
		return audit.Checkpoint{}, err
	}
	return cs[0], nil
}

func scanCheckpoint(r row) (audit.Checkpoint, error) {
	var c audit.Checkpoint
	var root []byte
	var t int64
	err := r.Scan(&c.Size, &root, &c.Note, &t)
	copy(c.Root[:], root)
	c.Time = at(t)
	return c, err
}

// SaveCheckpoint implements audit.Log. It is about the log and not in it.
func (db *DB) SaveCheckpoint(ctx context.Context, c audit.Checkpoint) error {
	return db.write(ctx, func(t *tx) error {
		_, err := t.exec("INSERT INTO checkpoints (size, root, note, time) VALUES (?, ?, ?, ?) ON CONFLICT (size) DO NOTHING", c.Size, c.Root[:], c.Note, ns(c.Time))
		return err
	})
}

// Tree implements audit.Log: of the log as committed, on any gateway.
func (db *DB) Tree(ctx context.Context) (tlog.Tree, error) {
	if !db.dialect.Shared {
		_, tree := db.feed.state()
		return tree, nil
	}
	last, err := db.LastSeq(ctx)
	if err != nil {
		return tlog.Tree{}, err
	}
	edge, err := audit.LoadEdge(last+1, hashes{ctx, db.read})
	return edge.Tree(), err
}

// Hashes implements audit.Log.
func (db *DB) Hashes(ctx context.Context) tlog.HashReader { return hashes{ctx, db.read} }

// hashes reads stored hashes by tlog's index.
type hashes struct {
	ctx context.Context
	db  querier
}

// ReadHashes implements tlog.HashReader. It asks for all rows at once: a proof
// needs two for each level of the tree, a few dozen.
func (h hashes) ReadHashes(indexes []int64) (out []tlog.Hash, err error) {
	p, ok := h.db.(*pool)
	if !ok {
		return h.readHashes(indexes)
	}
	err = p.patient(h.ctx, func(ctx context.Context) (err error) {
		out, err = hashes{ctx, p}.readHashes(indexes)
		return err
	})
	return out, err
}

func (h hashes) readHashes(indexes []int64) ([]tlog.Hash, error) {
	need := make(map[int64]bool)
	for _, i := range indexes {
		seq, _ := audit.StoredAt(i)
		need[seq] = true
	}
	seqs := make([]any, 0, len(need))
	for seq := range need {
		seqs = append(seqs, seq)
	}
	stored := make(map[int64][]byte, len(need))
	for part := range slices.Chunk(seqs, 500) {
		rows, err := h.db.QueryContext(h.ctx, "SELECT seq, hashes FROM events WHERE seq IN (?"+strings.Repeat(", ?", len(part)-1)+")", part...)
		if err != nil {
			return nil, fmt.Errorf("read tree hashes: %w", err)
		}
		for rows.Next() {
			var seq int64
			var flat []byte
			if err := rows.Scan(&seq, &flat); err != nil {
				return nil, fmt.Errorf("read tree hashes: %w", joinClose(err, rows))
			}
			stored[seq] = flat
		}
		if err := joinClose(rows.Err(), rows); err != nil {
			return nil, fmt.Errorf("read tree hashes: %w", err)
		}
	}
	out := make([]tlog.Hash, len(indexes))
	for n, i := range indexes {
		seq, place := audit.StoredAt(i)
		flat := stored[seq]
		if len(flat) < (place+1)*tlog.HashSize {
			return nil, fmt.Errorf("the audit log has no tree hash %d with event %d: it is damaged; jit-gateway audit verify tells where", place, seq)
		}
		copy(out[n][:], flat[place*tlog.HashSize:])
	}
	return out, nil
}

// Cursor returns how far the named reader of the log has come, -1 at first.
func (db *DB) Cursor(ctx context.Context, name string) (int64, error) {
	seqs, err := list(ctx, db.read, "read cursor "+name, "SELECT seq FROM cursors WHERE name = ?", []any{name}, func(r row) (seq int64, err error) {
		return seq, r.Scan(&seq)
	})
	if err != nil || len(seqs) == 0 {
		return -1, err
	}
	return seqs[0], nil
}

// SaveCursor keeps how far the named reader has come. No event: sinks would
// then have one more event to carry for each that they carried.
func (db *DB) SaveCursor(ctx context.Context, name string, seq int64) error {
	return db.write(ctx, func(t *tx) error {
		_, err := t.exec("INSERT INTO cursors (name, seq) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET seq = excluded.seq", name, seq)
		return err
	})
}

func joinClose(err error, rows *sql.Rows) error {
	if cerr := rows.Close(); err == nil {
		err = cerr
	}
	return err
}
