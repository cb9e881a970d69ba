package search

import (
	"context"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"filippo.io/age"

	"jit-gateway/internal/audit"
	"jit-gateway/internal/store"
	"jit-gateway/recording"
)

// index is what the indexer wrote, by session.
type index struct {
	events  []audit.Event
	cursor  int64
	lines   map[string][]store.Line
	dropped []string
	stop    context.CancelFunc
}

func (x *index) Events(_ context.Context, after int64, limit int) ([]audit.Event, error) {
	rest := x.events[after+1:]
	return rest[:min(limit, len(rest))], nil
}
func (x *index) LastSeq(context.Context) (int64, error) { return int64(len(x.events)) - 1, nil }
func (x *index) WaitEvents(ctx context.Context, _ int64) error {
	x.stop() // there are no more
	return ctx.Err()
}
func (x *index) Cursor(context.Context, string) (int64, error) { return x.cursor, nil }
func (x *index) SaveCursor(_ context.Context, _ string, seq int64) error {
	x.cursor = seq
	return nil
}
func (x *index) IndexLines(_ context.Context, session string, lines []store.Line) error {
	x.lines[session] = append(x.lines[session], slices.Clone(lines)...)
	return nil
}
func (x *index) DropIndex(_ context.Context, session string) error {
	delete(x.lines, session)
	x.dropped = append(x.dropped, session)
	return nil
}

func (x *index) run(t *testing.T, d *recording.Dir) {
	t.Helper()
	var ctx context.Context
	ctx, x.stop = context.WithCancel(t.Context())
	defer x.stop()
	if err := (&Indexer{Store: x, Recordings: d, Logger: slog.New(slog.DiscardHandler)}).Run(ctx); err != nil {
		t.Fatal(err)
	}
}

// TestSeveralGateways: each has a cursor of its own, and what another one is
// indexing is left to it.
func TestSeveralGateways(t *testing.T) {
	d, err := recording.OpenDir(t.TempDir(), recording.DirOptions{Reserve: -1})
	if err != nil {
		t.Fatal(err)
	}
	x := &index{cursor: -1, lines: map[string][]store.Line{}}
	for i, session := range []string{"S1", "S2"} {
		record(t, d, session, recording.Options{Index: recording.IndexFull}, 1)
		x.events = append(x.events, audit.Event{Seq: int64(i), Type: audit.RecordingSealed, Session: session})
	}
	var ctx context.Context
	ctx, x.stop = context.WithCancel(t.Context())
	defer x.stop()
	in := &Indexer{Store: x, Recordings: d, Logger: slog.New(slog.DiscardHandler), Node: "gw-a",
		Alone: func(ctx context.Context, name string, fn func(context.Context) error) (bool, error) {
			if name == "index S1" {
				return false, nil // gw-b is at it
			}
			return true, fn(ctx)
		}}
	if err := in.Run(ctx); err != nil {
		t.Fatal(err)
	}
	if len(x.lines["S1"]) != 0 || len(x.lines["S2"]) == 0 {
		t.Errorf("indexed: %v", x.lines)
	}
	if in.cursor() != "search/gw-a" || (&Indexer{}).cursor() != "search" || x.cursor != 1 {
		t.Errorf("the cursor %s is at %d", in.cursor(), x.cursor)
	}
}

func record(t *testing.T, d *recording.Dir, session string, o recording.Options, output int) {
	t.Helper()
	w, err := d.Create(recording.Header{Session: session}, o)
	if err != nil {
		t.Fatal(err)
	}
	for _, ev := range []recording.Event{
		{Channel: 1, Payload: recording.Exec{Command: "restart the-command"}},
		{Channel: 1, Kind: recording.KindOutput, Stream: 1, Data: []byte(strings.Repeat("the-output\n", output))},
		{Channel: 2, Payload: recording.SQL{Op: "query", Statement: "select the_statement"}},
		{Channel: 3, Payload: recording.SFTP{Op: "open", Path: "/etc/the-path"}},
	} {
		if err := w.Event(ev); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := w.Seal("logout"); err != nil {
		t.Fatal(err)
	}
}

// TestG8IndexHoldsWhatTheRuleAllows: off is nothing, metadata no output, full
// everything, and of an encrypted recording nothing whatever the rule says.
func TestG8IndexHoldsWhatTheRuleAllows(t *testing.T) {
	id, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	d, err := recording.OpenDir(t.TempDir(), recording.DirOptions{Reserve: -1})
	if err != nil {
		t.Fatal(err)
	}
	for session, o := range map[string]recording.Options{
		"S1": {Index: recording.IndexOff}, "S2": {Index: recording.IndexMetadata}, "S3": {Index: recording.IndexFull},
		"S4": {Index: recording.IndexFull, Recipients: []string{id.Recipient().String()}},
	} {
		record(t, d, session, o, 3)
	}
	x := &index{cursor: -1, lines: map[string][]store.Line{}}
	for i, session := range []string{"S1", "S2", "S3", "S4", "S404"} { // the last one is gone
		x.events = append(x.events, audit.Event{Seq: int64(i), Type: audit.RecordingSealed, Session: session})
	}
	x.run(t, d)
	for session, want := range map[string]string{
		"S1": "", "S2": "restart the-command|select the_statement|open /etc/the-path",
		"S3": "restart the-command|the-output|the-output|the-output|select the_statement|open /etc/the-path", "S4": "",
	} {
		var got []string
		for _, l := range x.lines[session] {
			got = append(got, l.Text)
		}
		if s := strings.Join(got, "|"); s != want {
			t.Errorf("%s: indexed %q, want %q", session, s, want)
		}
	}
	if x.cursor != 4 {
		t.Errorf("the cursor is at %d: a recording that is gone holds up the others", x.cursor)
	}

	// What is deleted leaves the index; what is sealed once is not indexed again.
	x.dropped = nil
	x.events = append(x.events, audit.Event{Seq: 5, Type: audit.RecordingDeleted, Session: "S3"})
	x.run(t, d)
	if len(x.lines["S3"]) != 0 || !slices.Equal(x.dropped, []string{"S3"}) {
		t.Errorf("after the deletion of S3: %d lines, dropped %v", len(x.lines["S3"]), x.dropped)
	}
}

// TestIndexIsBounded: one recording takes no more than its share.
func TestIndexIsBounded(t *testing.T) {
	d, err := recording.OpenDir(t.TempDir(), recording.DirOptions{Reserve: -1})
	if err != nil {
		t.Fatal(err)
	}
	record(t, d, "S1", recording.Options{Index: recording.IndexFull}, maxLines+5000)
	x := &index{cursor: -1, lines: map[string][]store.Line{}, events: []audit.Event{{Type: audit.RecordingSealed, Session: "S1", Time: time.Now()}}}
	x.run(t, d)
	if n := len(x.lines["S1"]); n > maxLines || n < maxLines-batch {
		t.Errorf("%d lines are indexed, at most %d are allowed", n, maxLines)
	}
}
