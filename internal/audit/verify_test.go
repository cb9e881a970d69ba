package audit

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/tlog"
)

// signedLog is a log of n events with a checkpoint every third.
func signedLog(t *testing.T, n int) (*memLog, *Signer, string) {
	t.Helper()
	s, vkey := newSigner(t)
	l := newLog(t, 0)
	for i := range n {
		l.add(t)
		if i%3 == 2 {
			l.sign(t, s)
		}
	}
	return l, s, vkey
}

// rehash makes the stored hashes follow from the events again, as somebody
// who knows the format would.
func (l *memLog) rehash() {
	l.edge = Edge{}
	for i := range l.leaves {
		l.leaves[i].Stored = l.edge.Append(tlog.RecordHash(l.leaves[i].Data))
	}
}

// renumber makes the events count from 0 again.
func (l *memLog) renumber(t *testing.T) {
	t.Helper()
	for i := range l.leaves {
		old := fmt.Sprintf(`{"seq":%d,`, l.leaves[i].Seq)
		l.leaves[i].Data = append([]byte(fmt.Sprintf(`{"seq":%d,`, i)), bytes.TrimPrefix(l.leaves[i].Data, []byte(old))...)
		l.leaves[i].Seq = int64(i)
	}
	l.rehash()
}

func (l *memLog) edit(i int, old, new string) {
	l.leaves[i].Data = bytes.Replace(l.leaves[i].Data, []byte(old), []byte(new), 1)
}

// TestG7VerifyNamesTheFirstThingWrong plays what somebody could do to the log
// who has the store and not the key.
func TestG7VerifyNamesTheFirstThingWrong(t *testing.T) {
	foreign, _ := newSigner(t)
	for _, c := range []struct {
		name string
		do   func(t *testing.T, l *memLog)
		kind ProblemKind
		seq  int64
		text string
	}{
		{"an event changed", func(t *testing.T, l *memLog) { l.edit(4, `"success"`, `"denied"`) }, Changed, 4, "event 4 (session.started, 2026-03-04T05:06:11Z) was changed"},
		{"an event and its own hash changed", func(t *testing.T, l *memLog) {
			l.edit(4, `"success"`, `"denied"`)
			l.leaves[4].Stored[0] = tlog.RecordHash(l.leaves[4].Data)
		}, Changed, 5, "stored with event 5"},
		{"an event changed and all hashes made new", func(t *testing.T, l *memLog) {
			l.edit(4, `"success"`, `"denied"`)
			l.rehash()
		}, Rewritten, 3, "one of the events 3 to 5 was changed"},
		{"two events changed, the first is named", func(t *testing.T, l *memLog) {
			l.edit(7, `"success"`, `"denied"`)
			l.edit(2, `"success"`, `"denied"`)
		}, Changed, 2, "event 2 "},
		{"an event removed", func(t *testing.T, l *memLog) { l.leaves = append(l.leaves[:4], l.leaves[5:]...) }, Removed, 4, "event 4 is missing"},
		{"several events removed", func(t *testing.T, l *memLog) { l.leaves = append(l.leaves[:2], l.leaves[7:]...) }, Removed, 2, "events were removed"},
		{"an event removed, the rest numbered and hashed anew", func(t *testing.T, l *memLog) {
			l.leaves = append(l.leaves[:4], l.leaves[5:]...)
			l.renumber(t)
		}, Rewritten, 3, "one of the events 3 to 5"},
		{"an event removed, the rest moved but not rewritten", func(t *testing.T, l *memLog) {
			l.leaves = append(l.leaves[:4], l.leaves[5:]...)
			for i := range l.leaves {
				l.leaves[i].Seq = int64(i)
			}
			l.rehash()
		}, Removed, 4, "the event in place 4 says that it is event 5"},
		{"two events swapped", func(t *testing.T, l *memLog) { l.leaves[4], l.leaves[5] = l.leaves[5], l.leaves[4] }, Removed, 4, "event 4 is missing"},
		{"an event put in", func(t *testing.T, l *memLog) {
			l.leaves = append(l.leaves[:5], append([]Leaf{l.leaves[4]}, l.leaves[5:]...)...)
			l.renumber(t)
		}, Rewritten, 3, "one of the events 3 to 5"},
		{"the end removed", func(t *testing.T, l *memLog) { l.leaves = l.leaves[:7] }, Truncated, 7, "the log ends after 7 events, but a checkpoint of 9 was signed at 2026-03-04T05:06:07Z: 2 events were removed at the end"},
		{"everything removed but the checkpoints", func(t *testing.T, l *memLog) { l.leaves = nil }, Truncated, 0, "the log ends after 0 events"},
		{"the checkpoints removed", func(t *testing.T, l *memLog) { l.points = nil }, Unsigned, 0, "none of the 10 events"},
		{"a checkpoint by another key", func(t *testing.T, l *memLog) {
			s, err := foreign.Sign(l.edge.Tree())
			if err != nil {
				t.Fatal(err)
			}
			l.points = append(l.points, s)
		}, Forged, 10, "not signed by gw.example.org/audit"},
		{"a checkpoint's text changed", func(t *testing.T, l *memLog) {
			l.points[0].Note = strings.Replace(l.points[0].Note, "\n3\n", "\n2\n", 1)
		}, Forged, 3, "checkpoint of 3 events is not good"},
		{"no JSON", func(t *testing.T, l *memLog) { l.leaves[4].Data = []byte("x") }, Malformed, 4, "event 4 cannot be read"},
	} {
		t.Run(c.name, func(t *testing.T) {
			l, _, vkey := signedLog(t, 10)
			c.do(t, l)
			r, err := Verify(t.Context(), l, vkey, VerifyOptions{})
			if err != nil {
				t.Fatal(err)
			}
			if r.Intact() {
				t.Fatalf("nothing was found: %s", r)
			}
			if p := r.Problem; p.Kind != c.kind || p.Seq != c.seq || !strings.Contains(p.Text, c.text) {
				t.Errorf("found %s at %d: %s\nwant  %s at %d: …%s…", p.Kind, p.Seq, p.Text, c.kind, c.seq, c.text)
			}
		})
	}
}

// TestG7OutsideCheckpoint: what the log alone cannot show is found by whoever
// kept a checkpoint.
func TestG7OutsideCheckpoint(t *testing.T) {
	l, s, vkey := signedLog(t, 10)
	kept := l.points[1].Note // of 6 events
	empty, err := s.Sign((&Edge{}).Tree())
	if err != nil {
		t.Fatal(err)
	}
	verify := func(against ...string) Report {
		t.Helper()
		r, err := Verify(t.Context(), l, vkey, VerifyOptions{Against: against})
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	if r := verify(kept, l.points[0].Note, empty.Note); !r.Intact() || r.Outside != 6 || !strings.Contains(r.String(), "the first 6 are those of the checkpoint kept outside") {
		t.Errorf("an intact log: %s", r)
	}
	if r := verify(); !r.Intact() || !strings.Contains(r.String(), "not compared") {
		t.Errorf("without an outside copy: %s", r)
	}

	// Events and the checkpoints over them cut off together: intact by itself.
	full := append([]Leaf(nil), l.leaves...)
	l.leaves, l.points = l.leaves[:4], l.points[:1]
	l.rehash()
	if r := verify(); !r.Intact() {
		t.Errorf("a log that was cut with its checkpoints: %s", r)
	}
	if r := verify(kept); r.Intact() || r.Problem.Kind != Truncated || !strings.Contains(r.Problem.Text, "ends after 4 events, but the checkpoint kept outside covers 6: 2 events were removed at the end") {
		t.Errorf("cut, against the kept checkpoint: %+v", r.Problem)
	}

	// The whole log rewritten and signed anew by somebody who has the key.
	l.leaves, l.points = full, nil
	l.edit(4, `"success"`, `"denied"`)
	l.rehash()
	l.sign(t, s)
	if r := verify(); !r.Intact() {
		t.Errorf("a log rewritten with the key: %s", r)
	}
	if r := verify(kept); r.Intact() || r.Problem.Kind != Rewritten || !strings.Contains(r.Problem.Text, "kept outside is of another log") {
		t.Errorf("rewritten, against the kept checkpoint: %+v", r.Problem)
	}

	other, _ := newSigner(t)
	forged, err := other.Sign(l.edge.Tree())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Verify(t.Context(), l, vkey, VerifyOptions{Against: []string{forged.Note}}); err == nil {
		t.Error("an outside checkpoint of another key was accepted")
	}
}

// TestVerifyAsksAboutEveryEvent: the caller's check sees each event once, and
// its error is the finding.
func TestVerifyAsksAboutEveryEvent(t *testing.T) {
	l, _, vkey := signedLog(t, 10)
	var seen []int64
	r, err := Verify(t.Context(), l, vkey, VerifyOptions{Check: func(e Event) error {
		seen = append(seen, e.Seq)
		if e.Seq == 7 {
			return errors.New("the recording is gone")
		}
		return nil
	}})
	if err != nil || len(seen) != 8 {
		t.Fatalf("%v, %v", seen, err)
	}
	if p := r.Problem; p == nil || p.Kind != Missing || p.Seq != 7 || p.Text != "event 7 (session.started, session S7): the recording is gone" {
		t.Errorf("problem: %+v", p)
	}
}

// TestVerifyFinishes: what can only be judged at the end is asked for then,
// and not about a log that is wrong in itself.
func TestVerifyFinishes(t *testing.T) {
	l, _, vkey := signedLog(t, 10)
	var seen []Event
	o := VerifyOptions{
		Check: func(e Event) error { seen = append(seen, e); return nil },
		Finish: func(context.Context) error {
			return &EventError{Event: seen[4], Err: errors.New("the recording is gone")}
		},
	}
	r, err := Verify(t.Context(), l, vkey, o)
	if err != nil {
		t.Fatal(err)
	}
	if p := r.Problem; p == nil || p.Kind != Missing || p.Seq != 4 || p.Text != "event 4 (session.started, session S4): the recording is gone" || len(seen) != 10 {
		t.Errorf("problem: %+v after %d events", p, len(seen))
	}
	l.leaves = l.leaves[:7]
	o.Check = nil
	o.Finish = func(context.Context) error { t.Error("asked about a log that was cut"); return nil }
	if r, err := Verify(t.Context(), l, vkey, o); err != nil || r.Problem.Kind != Truncated {
		t.Errorf("%s, %v", r, err)
	}
}

// TestVerifyWhileTheLogGrows: events and checkpoints that come while it reads
// are part of it, and a checkpoint that comes late is no problem.
func TestVerifyWhileTheLogGrows(t *testing.T) {
	s, vkey := newSigner(t)
	l := newLog(t, 3*readBatch)
	early := newLog(t, 600).edge.Tree() // events are made alike, so this was its tree
	r, err := Verify(t.Context(), l, vkey, VerifyOptions{Check: func(e Event) error {
		switch e.Seq {
		case 700: // signed and stored when more was read already
			c, err := s.Sign(early)
			if err != nil {
				return err
			}
			l.points = append(l.points, c)
		case 3*readBatch - 1, 3 * readBatch, 3*readBatch + 3:
			l.add(t)
			l.add(t)
			l.sign(t, s)
		}
		return nil
	}})
	if err != nil || !r.Intact() || r.Events != 3*readBatch+6 || r.Signed != r.Events {
		t.Errorf("%s, %v", r, err)
	}
}

func TestExportVerifiesOffline(t *testing.T) {
	l, _, vkey := signedLog(t, 10)
	var file bytes.Buffer
	if n, err := Export(t.Context(), l, &file); err != nil || n != 10 {
		t.Fatalf("Export = %d, %v", n, err)
	}
	lines := strings.SplitAfter(strings.TrimSpace(file.String()), "\n")
	if len(lines) != 13 || !strings.HasPrefix(lines[3], `{"checkpoint":{"size":3,`) {
		t.Fatalf("the export:\n%s", file.String())
	}
	if strings.TrimSpace(lines[0]) != string(l.leaves[0].Data) {
		t.Error("an event's line is not the bytes of its leaf")
	}
	verify := func(text string, against ...string) Report {
		t.Helper()
		r, err := Verify(t.Context(), File{strings.NewReader(text)}, vkey, VerifyOptions{Against: against})
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	if r := verify(file.String(), l.points[1].Note); !r.Intact() || r.Events != 10 || r.Signed != 9 || r.Checkpoints != 3 || r.Outside != 6 {
		t.Errorf("intact: %+v", r)
	}
	for name, c := range map[string]struct {
		text string
		kind ProblemKind
		seq  int64
	}{
		"changed":   {strings.Replace(file.String(), `"S4"`, `"S5"`, 1), Rewritten, 3},
		"removed":   {strings.Join(append(append([]string(nil), lines[:5]...), lines[6:]...), ""), Removed, 4},
		"truncated": {strings.Join(append(append([]string(nil), lines[:10]...), lines[11]), ""), Truncated, 8},
		"garbage":   {strings.Replace(file.String(), lines[5], "garbage\n", 1), Malformed, 4},
	} {
		if r := verify(c.text); r.Intact() || r.Problem.Kind != c.kind || r.Problem.Seq != c.seq {
			t.Errorf("%s: %+v, want %s at %d", name, r.Problem, c.kind, c.seq)
		}
	}
	for name, text := range map[string]string{"neither": `{"a":1}`, "both": `{"checkpoint":{},"seq":1}`, "long": strings.Repeat("x", MaxLeaf+maxCheckpoint+1)} {
		if _, err := Verify(t.Context(), File{strings.NewReader(text)}, vkey, VerifyOptions{}); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
