package recording

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strconv"

	"jit-gateway/internal/audit"
	"jit-gateway/internal/display"
)

// A LogCheck compares the recordings of a directory with what the audit log
// says of them: one that is missing, shorter, exchanged or changed is found.
// Its methods are the hooks of audit.VerifyOptions.
type LogCheck struct {
	// Elsewhere, if not nil, says that a recording which is not here lies on
	// another gateway, which has to be asked. Away counts these.
	Elsewhere func(ctx context.Context, session string) bool
	Away      int

	dir  *Dir
	all  map[string]*logged
	list []*logged // in the order of their first event
}

// logged is what the log has of one recording. Segment hashes are chained, so
// the last one vouches for those before it.
type logged struct {
	event   audit.Event // the last that tells of it
	last    *SegmentInfo
	seal    string
	deleted bool
	ordered bool // it may be gone already: the event that says so comes after the fact
}

// NewLogCheck begins a comparison.
func (d *Dir) NewLogCheck() *LogCheck { return &LogCheck{dir: d, all: map[string]*logged{}} }

// Event takes note of what an event says. It is audit.VerifyOptions.Check.
func (c *LogCheck) Event(e audit.Event) error {
	switch e.Type {
	case audit.RecordingSegment, audit.RecordingSealed, audit.RecordingDeleteOrdered, audit.RecordingDeleted:
	default:
		return nil
	}
	if err := checkName(e.Session); err != nil {
		return fmt.Errorf("the event names no recording: %w", err)
	}
	l := c.all[e.Session]
	if l == nil {
		l = &logged{}
		c.all[e.Session] = l
		c.list = append(c.list, l)
	}
	l.event = audit.Event{Seq: e.Seq, Type: e.Type, Session: e.Session}
	switch e.Type {
	case audit.RecordingSegment:
		n, err := strconv.Atoi(e.Detail["index"])
		if err != nil || n < 0 || e.Detail["hash"] == "" {
			return errors.New("the event names no segment")
		}
		l.last = &SegmentInfo{Session: e.Session, Index: n, Hash: e.Detail["hash"]}
	case audit.RecordingSealed:
		l.seal = e.Detail["hash"]
	case audit.RecordingDeleteOrdered:
		l.ordered = true
	case audit.RecordingDeleted:
		l.deleted = e.Outcome == audit.Success
	}
	return nil
}

// Finish reads the recordings and returns the first that is not as the log
// says, as an *audit.EventError. It is audit.VerifyOptions.Finish.
func (c *LogCheck) Finish(ctx context.Context) error {
	for _, l := range c.list {
		if err := ctx.Err(); err != nil {
			return err
		}
		if l.deleted {
			continue
		}
		if err := c.one(ctx, l); err != nil {
			return &audit.EventError{Event: l.event, Err: err}
		}
	}
	return nil
}

func (c *LogCheck) one(ctx context.Context, l *logged) error {
	r, err := c.dir.Open(l.event.Session)
	if errors.Is(err, fs.ErrNotExist) && l.ordered {
		return nil
	}
	if errors.Is(err, fs.ErrNotExist) && c.Elsewhere != nil && c.Elsewhere(ctx, l.event.Session) {
		c.Away++
		return nil
	}
	if errors.Is(err, fs.ErrNotExist) {
		return errors.New("its recording is missing, and no event says that it was deleted")
	}
	if err != nil {
		return err
	}
	defer r.Close()
	rep := r.Verify()
	if l.seal != "" && !rep.OK {
		return damaged(rep.Problems[0])
	}
	var leaves []SegmentInfo
	if l.last != nil {
		leaves = append(leaves, *l.last)
	}
	if bad := rep.Compare(leaves, l.seal); len(bad) > 0 {
		return fmt.Errorf("its recording, segment %d: %s", bad[0].Segment, display.Line(bad[0].What, 0))
	}
	// One that is not sealed ends in the middle. What the log has of it must be
	// whole all the same: a trailer says its hash, it does not prove it.
	for _, p := range rep.Problems {
		if l.last != nil && p.Segment <= l.last.Index {
			return damaged(p)
		}
	}
	return nil
}

func damaged(p Damage) error {
	return fmt.Errorf("its recording is damaged at byte %d: %s", p.Offset, display.Line(p.What, 0))
}
