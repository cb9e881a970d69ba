// Package search fills the full-text index with what sealed recordings show:
// rendered terminal lines, commands, SQL and paths, each with its moment.
//
// It is a cursor on the audit log: a recording is indexed when its seal is
// logged, and again never. A rule decides how much (recording.index: off,
// metadata, full); of an encrypted recording nothing is indexed, since the
// index is in clear. The index can be deleted: it is a convenience, the
// recordings are the record.
package search

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"time"
	"unicode/utf8"

	"jit-gateway/internal/audit"
	"jit-gateway/internal/store"
	"jit-gateway/recording"
)

// Store keeps the index and the cursor.
type Store interface {
	audit.Source
	Cursor(ctx context.Context, name string) (int64, error)
	SaveCursor(ctx context.Context, name string, seq int64) error
	IndexLines(ctx context.Context, session string, lines []store.Line) error
	DropIndex(ctx context.Context, session string) error
}

// Indexer follows the log.
type Indexer struct {
	Store      Store
	Recordings *recording.Dir
	Logger     *slog.Logger
	// For gateways that share a store. Node tells this one's cursor from the
	// others', since each indexes the recordings that it has. Of those that
	// several have, Alone lets one at a time do each.
	Node  string
	Alone func(ctx context.Context, name string, fn func(context.Context) error) (ran bool, err error)
}

// cursor is how far this gateway has come.
func (x *Indexer) cursor() string {
	if x.Node == "" {
		return cursorName
	}
	return cursorName + "/" + x.Node
}

// alone indexes a session's recording, unless another gateway is at it.
func (x *Indexer) alone(ctx context.Context, session string) error {
	if x.Alone == nil {
		return x.index(ctx, session)
	}
	_, err := x.Alone(ctx, "index "+session, func(ctx context.Context) error { return x.index(ctx, session) })
	return err
}

const (
	cursorName = "search"
	batch      = 500
	// Of one recording; what lies behind is found by replaying it. A transfer
	// through a pipe can be gigabytes of bytes that nobody will ever search.
	maxLines = 50_000
	maxText  = 4 << 20
	// maxNoise is how much output that is no text is looked through for some.
	maxNoise = 512 << 10
	// pause after each batch, and at least so many times as long as it took:
	// sessions come first, the index can wait. A statement costs as much here as
	// its relay did.
	pause      = 10 * time.Millisecond
	pauseTimes = 4
)

// Run indexes until ctx is done. A recording that cannot be read is logged and
// passed over: it blocks nothing else.
func (x *Indexer) Run(ctx context.Context) (err error) {
	after, err := x.Store.Cursor(ctx, x.cursor())
	if err != nil {
		return err
	}
	mark := audit.Bookmark{Save: func(ctx context.Context, seq int64) error { return x.Store.SaveCursor(ctx, x.cursor(), seq) }}
	defer func() { err = errors.Join(err, mark.Close(ctx)) }()
	for ev, err := range audit.Tail(ctx, x.Store, after) {
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return fmt.Errorf("follow the audit log for the search index: %w", err)
		}
		switch ev.Type {
		case audit.RecordingSealed:
			if err := x.alone(ctx, ev.Session); err != nil && ctx.Err() == nil {
				x.Logger.Warn("a recording is not in the search index", "session", ev.Session, "error", err)
			}
		case audit.RecordingDeleted:
			if err := x.Store.DropIndex(ctx, ev.Session); err != nil && ctx.Err() == nil {
				return err
			}
		default:
			continue // the cursor moves with what matters here
		}
		if ctx.Err() != nil {
			return nil
		}
		if err := mark.At(ctx, ev.Seq); err != nil {
			return err
		}
	}
	return nil
}

func (x *Indexer) index(ctx context.Context, session string) error {
	r, err := x.Recordings.Open(session)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // deleted meanwhile
	} else if err != nil {
		return err
	}
	defer r.Close()
	level := r.Header().Index
	if r.Header().Encrypted() || level == recording.IndexOff {
		return nil
	}
	if err := x.Store.DropIndex(ctx, session); err != nil { // after a crash in the middle of it
		return err
	}
	var lines []store.Line
	n, size, skipped := 0, 0, 0
	for l, err := range r.Lines() {
		if err != nil {
			x.Logger.Warn("a damaged recording is indexed as far as it goes", "session", session, "error", err)
			break
		}
		if level == recording.IndexMetadata && (l.Kind == recording.KindOutput || l.Kind == recording.KindInput) {
			continue
		}
		if l.Kind == recording.KindOutput && noise(l.Text) {
			if skipped += len(l.Text); skipped > maxNoise {
				x.Logger.Info("a recording is indexed up to where it is no text any more", "session", session, "lines", n)
				break
			}
			continue
		}
		if n, size = n+1, size+len(l.Text); n > maxLines || size > maxText {
			x.Logger.Info("a recording is indexed up to the limit", "session", session, "lines", n-1)
			break
		}
		lines = append(lines, store.Line{At: l.T, Kind: string(l.Kind), Text: l.Text})
		if len(lines) == batch {
			began := time.Now()
			if err := x.Store.IndexLines(ctx, session, lines); err != nil {
				return err
			}
			lines = lines[:0]
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(max(pause, pauseTimes*time.Since(began))):
			}
		}
	}
	if len(lines) == 0 {
		return nil
	}
	return x.Store.IndexLines(ctx, session, lines)
}

// noise reports whether a line is a piece of a file that is no text: a fifth
// of it does not belong into any.
func noise(line string) bool {
	bad, all := 0, 0
	for _, r := range line {
		if all++; r == utf8.RuneError || r < ' ' && r != '\t' && r != '\x1b' && r != '\b' && r != '\r' {
			bad++
		}
	}
	return bad*5 > all
}
