package backup

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"jit-gateway/internal/audit"
)

// Log is the restored log.
type Log interface {
	audit.LogReader
	Leaves(ctx context.Context, from int64, limit int) ([]audit.Leaf, error)
	LastSeq(ctx context.Context) (int64, error)
}

// Comparison is what a copy of the log that was kept outside has more, or has
// otherwise.
type Comparison struct {
	Copy    string             `json:"copy"`        // its name
	Events  int64              `json:"events"`      // of the restored log
	Reaches int64              `json:"copy_events"` // of the log that the copy is of
	Missing int64              `json:"missing"`     // that the copy shows and the restored log has not
	Differs []int64            `json:"differs"`     // events that are not the same: one of the two was changed
	Types   map[audit.Type]int `json:"types,omitempty"`
	Lost    []audit.Event      `json:"lost,omitempty"` // the missing ones, where the copy has them; at most maxLost
	Torn    int                `json:"torn,omitempty"` // lines of the copy that are no JSON
	Problem string             `json:"problem,omitempty"`
	seen    map[int64]bool
}

const (
	maxLost    = 10_000
	maxDiffers = 100
	batch      = 500
)

// Compare compares the log with a copy: JSON Lines, as a file sink or `audit
// export` writes them, or one signed checkpoint.
func Compare(ctx context.Context, log Log, r io.Reader, name, vkey string) (*Comparison, error) {
	last, err := log.LastSeq(ctx)
	if err != nil {
		return nil, err
	}
	c := &Comparison{Copy: name, Events: last + 1, Differs: []int64{}, Types: map[audit.Type]int{}, seen: map[int64]bool{}}
	b := bufio.NewReaderSize(r, 64<<10)
	head, err := b.Peek(1)
	if err != nil {
		return nil, fmt.Errorf("read the copy %q: %w", name, err)
	}
	if head[0] != '{' {
		return c, c.checkpoint(ctx, log, b, vkey)
	}
	return c, c.lines(ctx, log, b)
}

// checkpoint: the log may have fewer events; those that it has must lead to it.
func (c *Comparison) checkpoint(ctx context.Context, log Log, r io.Reader, vkey string) error {
	note, err := io.ReadAll(io.LimitReader(r, 64<<10))
	if err != nil {
		return fmt.Errorf("read the checkpoint %q: %w", c.Copy, err)
	}
	point, err := audit.OpenCheckpoint(string(note), vkey)
	if err != nil {
		return fmt.Errorf("%q is no copy of this log, neither JSON lines nor a signed checkpoint: %w", c.Copy, err)
	}
	c.Reaches = point.Size
	if c.Missing = max(point.Size-c.Events, 0); c.Missing > 0 {
		return nil // it says how many, not which
	}
	rep, err := audit.Verify(ctx, log, vkey, audit.VerifyOptions{Against: []string{string(note)}})
	if err != nil {
		return err
	}
	if rep.Problem != nil {
		c.Problem = rep.Problem.Text
	}
	return nil
}

// lines reads a copy in whatever order and as often as it has each event.
func (c *Comparison) lines(ctx context.Context, log Log, r io.Reader) error {
	s := bufio.NewScanner(r)
	s.Buffer(make([]byte, 64<<10), 2*audit.MaxLeaf)
	var window []audit.Leaf // of the restored log, around where the copy is
	for n := 1; s.Scan(); n++ {
		if err := ctx.Err(); err != nil {
			return context.Cause(ctx)
		}
		line := bytes.TrimSpace(s.Bytes())
		var e audit.Event
		var other struct {
			Checkpoint json.RawMessage `json:"checkpoint"`
			Seq        *int64          `json:"seq"`
		}
		if err := errors.Join(json.Unmarshal(line, &other), json.Unmarshal(line, &e)); err != nil {
			if n == 1 {
				return fmt.Errorf("%q, line %d: it is no event of this log: %w", c.Copy, n, err)
			}
			c.Torn++ // by a full disk or a power cut; the sink wrote it again below
			continue
		}
		if other.Seq == nil && other.Checkpoint != nil {
			continue
		}
		if other.Seq == nil || e.Type == "" || e.Seq < 0 {
			return fmt.Errorf("%q, line %d: it is no event of this log; a sink must write its native format", c.Copy, n)
		}
		c.Reaches = max(c.Reaches, e.Seq+1)
		if e.Seq >= c.Events {
			c.lost(e)
			continue
		}
		if len(window) == 0 || e.Seq < window[0].Seq || e.Seq > window[len(window)-1].Seq {
			var err error
			if window, err = log.Leaves(ctx, e.Seq, batch); err != nil {
				return err
			}
		}
		if i := int(e.Seq - window[0].Seq); (i >= len(window) || !same(window[i].Data, line)) && len(c.Differs) < maxDiffers && !slices.Contains(c.Differs, e.Seq) {
			c.Differs = append(c.Differs, e.Seq)
		}
	}
	if err := s.Err(); err != nil {
		return fmt.Errorf("read the copy %q: %w", c.Copy, err)
	}
	slices.SortFunc(c.Lost, func(a, b audit.Event) int { return int(a.Seq - b.Seq) })
	return nil
}

// same compares two forms of an event: a copy may have been encoded again.
func same(a, b []byte) bool {
	if bytes.Equal(a, b) {
		return true
	}
	var x, y audit.Event
	if json.Unmarshal(a, &x) != nil || json.Unmarshal(b, &y) != nil {
		return false
	}
	ax, errX := audit.Encode(x)
	ay, errY := audit.Encode(y)
	return errX == nil && errY == nil && bytes.Equal(ax, ay) && bytes.Equal(ax, a) // nor may the log's own have more than an event
}

// lost takes note of an event that the restored log has not.
func (c *Comparison) lost(e audit.Event) {
	if c.seen[e.Seq] {
		return // sinks deliver at least once
	}
	c.seen[e.Seq] = true
	c.Missing++
	c.Types[e.Type]++
	if len(c.Lost) < maxLost {
		c.Lost = append(c.Lost, e)
	}
}

// Good reports whether the copy and the restored log are the same.
func (c *Comparison) Good() bool {
	return c.Missing == 0 && len(c.Differs) == 0 && c.Problem == ""
}

// String says what was found, for people.
func (c *Comparison) String() string {
	s := c.found()
	if c.Torn > 0 {
		s += fmt.Sprintf("; lines of the copy that were cut short and passed over: %d", c.Torn)
	}
	return s
}

func (c *Comparison) found() string {
	switch {
	case c.Problem != "":
		return fmt.Sprintf("%s: the restored log is NOT the one that it is of: %s", c.Copy, c.Problem)
	case len(c.Differs) > 0:
		return fmt.Sprintf("%s: event %d is NOT the same in both: the backup or the copy was changed (%d such events)", c.Copy, c.Differs[0], len(c.Differs))
	case c.Missing > 0 && len(c.Lost) > 0:
		return fmt.Sprintf("%s: it has %d events that the restored log has not, number %d to %d, from %s to %s", c.Copy, c.Missing,
			c.Lost[0].Seq, c.Reaches-1, c.Lost[0].Time.UTC().Format(time.RFC3339), c.Lost[len(c.Lost)-1].Time.UTC().Format(time.RFC3339))
	case c.Missing > 0:
		return fmt.Sprintf("%s: it was signed over %d events, and the restored log has %d: %d are missing", c.Copy, c.Reaches, c.Events, c.Missing)
	}
	return fmt.Sprintf("%s: the restored log has everything that it has, %d events", c.Copy, c.Reaches)
}
