package audit

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// ProblemKind says what sort of thing is wrong with a log.
type ProblemKind string

const (
	Changed   ProblemKind = "changed"   // an event's bytes are not those that were written
	Removed   ProblemKind = "removed"   // an event is missing from the middle, or moved
	Truncated ProblemKind = "truncated" // events are missing from the end
	Rewritten ProblemKind = "rewritten" // the log is another than the one that was signed
	Unsigned  ProblemKind = "unsigned"  // there is no checkpoint at all
	Forged    ProblemKind = "forged"    // a checkpoint that the key did not sign
	Malformed ProblemKind = "malformed" // bytes that are no event
	Missing   ProblemKind = "missing"   // what an event vouches for is not as it says
)

// A Problem is the first thing that is wrong with a log.
type Problem struct {
	Kind ProblemKind `json:"kind"`
	Seq  int64       `json:"seq"`            // the event, or the first of those that are concerned
	Last int64       `json:"last,omitempty"` // the last of those, where they are several
	Text string      `json:"text"`
}

// A Report says what Verify found.
type Report struct {
	Origin      string    `json:"origin"`
	Events      int64     `json:"events"` // that were read and are in order
	Root        tlog.Hash `json:"root"`   // of those
	Checkpoints int       `json:"checkpoints"`
	Signed      int64     `json:"signed"`  // events under a checkpoint that verified
	Outside     int64     `json:"outside"` // events under a checkpoint that was given from outside
	Newest      time.Time `json:"newest,omitzero"`
	Problem     *Problem  `json:"problem,omitempty"`
}

// Intact reports whether nothing was found wrong.
func (r Report) Intact() bool { return r.Problem == nil }

// String is the report for people.
func (r Report) String() string {
	if r.Problem != nil {
		return fmt.Sprintf("audit log %s is NOT intact: %s", r.Origin, r.Problem.Text)
	}
	s := fmt.Sprintf("audit log %s is intact: %d events, %d under %d signed checkpoints", r.Origin, r.Events, r.Signed, r.Checkpoints)
	if rest := r.Events - r.Signed; rest > 0 {
		s += fmt.Sprintf(" (the newest %d are not signed yet)", rest)
	}
	if r.Outside > 0 {
		return s + fmt.Sprintf("; the first %d are those of the checkpoint kept outside", r.Outside)
	}
	return s + "; not compared with a checkpoint kept outside the gateway"
}

// VerifyOptions adds to what Verify looks at.
type VerifyOptions struct {
	// Against holds signed checkpoints that were kept outside the gateway.
	// Only they show that the whole log was not replaced or cut by somebody
	// who has the key or root on the gateway.
	Against []string
	// Check is called with every event in order. An error means that what the
	// event vouches for, such as a sealed recording, is not as it says; it
	// becomes the Problem, and the reading ends.
	Check func(Event) error
	// Finish is called after the last event of a log in which nothing was
	// found wrong, for what can only be judged then: a recording that is
	// missing may have been deleted later, and properly. It may return an
	// *EventError to name the event.
	Finish func(ctx context.Context) error
}

// An EventError says that what an event vouches for is not as it says.
type EventError struct {
	Event Event
	Err   error
}

func (e *EventError) Error() string {
	return fmt.Sprintf("event %d (%s, session %s): %v", e.Event.Seq, e.Event.Type, cmp.Or(e.Event.Session, "none"), e.Err)
}

// Unwrap returns the error about what the event vouches for.
func (e *EventError) Unwrap() error { return e.Err }

// Verify reads the whole log and names the first thing that is wrong. Its
// error says that the log could not be read to the end; what is wrong with a
// log that could be read is in the Report.
func Verify(ctx context.Context, log LogReader, vkey string, o VerifyOptions) (Report, error) {
	key, err := NewVerifier(vkey)
	if err != nil {
		return Report{}, err
	}
	v := verifier{key: key, check: o.Check, report: Report{Origin: key.Name()}}
	for _, signed := range o.Against {
		c, err := open(signed, key)
		if err != nil {
			return Report{}, fmt.Errorf("checkpoint kept outside: %w", err)
		}
		v.outside = append(v.outside, c)
	}
	slices.SortFunc(v.outside, bySize)

	v.meetOutside() // an empty tree may have been signed
	for e, err := range log.Entries(ctx) {
		if err != nil {
			return v.done(), err
		}
		switch {
		case e.Leaf != nil:
			v.leaf(*e.Leaf)
		case e.Checkpoint != nil:
			v.checkpoint(*e.Checkpoint)
		}
		if v.report.Problem != nil {
			return v.done(), nil
		}
	}
	v.end()
	if o.Finish != nil && v.report.Problem == nil {
		if err := o.Finish(ctx); err != nil {
			if ctx.Err() != nil {
				return v.done(), err
			}
			v.vouched(err)
		}
	}
	return v.done(), nil
}

// verifier is the state after some entries.
type verifier struct {
	key     note.Verifier
	check   func(Event) error
	outside []Checkpoint // those not met yet, by size
	ahead   []Checkpoint // stored ones that came before all of their events did
	edge    Edge
	signed  tlog.Tree // the newest tree under a good checkpoint
	report  Report
}

func (v *verifier) done() Report {
	t := v.edge.Tree()
	v.report.Events, v.report.Root = t.N, t.Hash
	return v.report
}

func (v *verifier) fail(kind ProblemKind, seq, last int64, format string, args ...any) {
	if v.report.Problem == nil {
		v.report.Problem = &Problem{Kind: kind, Seq: seq, Last: last, Text: fmt.Sprintf(format, args...)}
	}
}

func (v *verifier) leaf(l Leaf) {
	want := v.edge.Size()
	switch {
	case l.Seq == want+1:
		v.fail(Removed, want, want, "event %d is missing; the log goes on with event %d", want, l.Seq)
		return
	case l.Seq != want:
		v.fail(Removed, want, l.Seq-1, "event %d should come next, but event %d does: events were removed or moved", want, l.Seq)
		return
	}
	var e Event
	if err := json.Unmarshal(l.Data, &e); err != nil {
		v.fail(Malformed, l.Seq, l.Seq, "event %d cannot be read: %v", l.Seq, err)
		return
	}
	hash := tlog.RecordHash(l.Data)
	switch {
	case len(l.Stored) > 0 && l.Stored[0] != hash:
		v.fail(Changed, l.Seq, l.Seq, "event %d (%s, %s) was changed after it was written: its bytes no longer have the hash that was stored with it", l.Seq, e.Type, e.Time.UTC().Format(time.RFC3339))
		return
	case e.Seq != l.Seq:
		v.fail(Removed, l.Seq, l.Seq, "the event in place %d says that it is event %d: events were removed, moved or changed", l.Seq, e.Seq)
		return
	}
	stored := v.edge.Append(hash)
	if len(l.Stored) > 0 && !slices.Equal(stored, l.Stored) {
		v.fail(Changed, l.Seq, l.Seq, "the tree hashes stored with event %d do not follow from the events: an earlier event and its own hash were changed together, or the tree was", l.Seq)
		return
	}
	v.meetOutside()
	v.meetAhead()
	if v.check != nil && v.report.Problem == nil {
		if err := v.check(e); err != nil {
			v.vouched(&EventError{Event: e, Err: err})
		}
	}
}

// vouched is the failure of what an event vouches for.
func (v *verifier) vouched(err error) {
	seq := v.edge.Size() - 1
	if e, ok := errors.AsType[*EventError](err); ok {
		seq = e.Event.Seq
	}
	v.fail(Missing, seq, seq, "%v", err)
}

// maxAhead bounds what a hostile file can make the verifier keep.
const maxAhead = 64

func (v *verifier) checkpoint(c Checkpoint) {
	opened, err := open(c.Note, v.key)
	if err != nil {
		v.fail(Forged, c.Size, c.Size, "the stored checkpoint of %d events is not good: %v", c.Size, err)
		return
	}
	if opened.Size != c.Size {
		// It would be met at another place than the events that it covers.
		v.fail(Forged, c.Size, c.Size, "a checkpoint of %d events is stored as one of %d", opened.Size, c.Size)
		return
	}
	opened.Time = c.Time
	switch t := v.edge.Tree(); {
	case opened.Size < t.N:
		// Stored while the log was being read, after later events were. It
		// vouches for less than what is known; it is not counted.
	case opened.Size > t.N:
		// Events are missing. If more come, they show from where; if none do,
		// the end was cut off.
		if len(v.ahead) < maxAhead {
			v.ahead = append(v.ahead, opened)
		} else if last := &v.ahead[maxAhead-1]; opened.Size > last.Size {
			*last = opened
		}
	default:
		v.meet(opened, t)
	}
}

// meet compares a checkpoint with the tree of its size.
func (v *verifier) meet(c Checkpoint, t tlog.Tree) {
	if c.Root != t.Hash {
		v.fail(Rewritten, v.signed.N, t.N-1, "the checkpoint of %d events%s was signed over other events: one of the events %d to %d was changed", t.N, when(c.Time), v.signed.N, t.N-1)
		return
	}
	v.signed = t
	v.report.Checkpoints++
	v.report.Signed, v.report.Newest = t.N, c.Time
}

func (v *verifier) meetAhead() {
	v.ahead = slices.DeleteFunc(v.ahead, func(c Checkpoint) bool {
		if c.Size != v.edge.Size() {
			return false
		}
		v.meet(c, v.edge.Tree())
		return true
	})
}

// meetOutside compares with the outside checkpoints of the size reached.
func (v *verifier) meetOutside() {
	for len(v.outside) > 0 && v.outside[0].Size == v.edge.Size() {
		if t := v.edge.Tree(); v.outside[0].Root != t.Hash {
			v.fail(Rewritten, v.report.Outside, t.N-1, "the checkpoint of %d events that was kept outside is of another log: one of the events %d to %d was changed or replaced since", t.N, v.report.Outside, t.N-1)
			return
		}
		v.report.Outside = v.outside[0].Size
		v.outside = v.outside[1:]
	}
}

func (v *verifier) end() {
	n := v.edge.Size()
	switch {
	case len(v.ahead) > 0:
		c := slices.MaxFunc(v.ahead, bySize)
		v.fail(Truncated, n, c.Size-1, "the log ends after %d events, but a checkpoint of %d was signed%s: %s removed at the end", n, c.Size, when(c.Time), were(c.Size-n))
	case len(v.outside) > 0:
		last := v.outside[len(v.outside)-1].Size
		v.fail(Truncated, n, last-1, "the log ends after %d events, but the checkpoint kept outside covers %d: %s removed at the end", n, last, were(last-n))
	case n > 0 && v.report.Checkpoints == 0:
		v.fail(Unsigned, 0, n-1, "none of the %d events is under a signed checkpoint: nothing vouches for them", n)
	}
}

func bySize(a, b Checkpoint) int { return cmp.Compare(a.Size, b.Size) }

func when(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return " at " + t.UTC().Format(time.RFC3339)
}

func were(n int64) string {
	if n == 1 {
		return "1 event was"
	}
	return fmt.Sprintf("%d events were", n)
}
