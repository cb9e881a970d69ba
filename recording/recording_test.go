package recording

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"filippo.io/age"
)

// testDir opens a directory of recordings that holds nothing in reserve.
func testDir(t testing.TB, o DirOptions) (*Dir, string) {
	t.Helper()
	path := t.TempDir()
	if o.Reserve == 0 {
		o.Reserve = -1
	}
	d, err := OpenDir(path, o)
	if err != nil {
		t.Fatal(err)
	}
	return d, path
}

// collect returns all events, and fails on damage.
func collect(t testing.TB, r *Reader) []Event {
	t.Helper()
	var out []Event
	for ev, err := range r.Events() {
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, ev)
	}
	return out
}

// everything is one event of each kind, with strings and data of all sorts.
func everything() []Event {
	odd := "caf\u00e9 \xff\xfe \x00\x1b[31m \"quoted\\\" \ufdd0\u0100 \xed\xaf\xbf \U0001F600\n"
	return []Event{
		{Channel: 1, Payload: Open{Type: "session", Term: odd}},
		{Channel: 1, Payload: Resize{80, 24}},
		{Channel: 1, Payload: Env{Name: "LANG", Value: odd, Refused: true}},
		{Channel: 1, Payload: Shell{}},
		{Channel: 1, Kind: KindOutput, Stream: 1, Data: []byte("hello\r\n")},
		{Channel: 1, Kind: KindOutput, Stream: 2, Data: []byte("\xff\x00\n{\"d\":1}\n")},
		{Channel: 1, Kind: KindInput, Data: []byte("\x03")},
		{Channel: 1, Payload: Exec{Command: odd, Subsystem: true, PTY: true}},
		{Channel: 1, Payload: Signal{Name: "INT"}},
		{Channel: 1, Payload: Exit{Status: 130, Signal: "INT", Message: odd}},
		{Channel: 2, Payload: SFTP{Op: "open", Path: odd, To: odd, Flags: "rw", Mode: "0644", Bytes: 1 << 40, SHA256: "ab", Result: odd, Denied: true}},
		{Channel: 2, Payload: File{Via: "scp", Direction: "upload", Path: odd, Mode: "0600", Bytes: 5, SHA256: "cd", Partial: true, Result: "ok"}},
		{Channel: 3, Payload: Forward{Type: "local", Dest: odd, Origin: "a", In: 1, Out: 2, Ended: true, Result: "r", Denied: true}},
		{Channel: 4, Payload: SQL{Op: "execute", Statement: odd, Name: "s1", Portal: "p", Tag: "SELECT 2", Rows: 2, Bytes: 3, SHA256: "ef",
			Params:   []Param{{Type: 25, Text: odd}, {Null: true}, {Binary: []byte{0, 255}, Bytes: 99}, {Redacted: true}},
			SQLSTATE: "42P01", Error: odd, Duration: time.Second, TxStatus: "T", Redacted: true, Full: 77, Started: time.Minute}},
		{Payload: Marker{Text: odd, By: "carol"}},
		{Payload: Notice{Text: odd}},
		{Payload: Termination{Cause: "expired", Reason: odd, By: "bob"}},
		{Payload: Viewer{Name: odd, Joined: true}},
		{Channel: 1, Payload: Bulk{Stream: 1, Bytes: 1 << 33, SHA256: "00", Why: "beyond 64 MiB"}},
		{Channel: 1, Payload: Close{In: 1, Out: 2}},
	}
}

func record(t testing.TB, w *Writer, evs []Event) {
	t.Helper()
	for _, ev := range evs {
		if err := w.Event(ev); err != nil {
			t.Fatal(err)
		}
	}
}

func sameEvents(t testing.TB, got, want []Event) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%d events came back, %d were recorded", len(got), len(want))
	}
	last := time.Duration(0)
	for i, g := range got {
		w := want[i]
		if w.Kind == "" {
			w.Kind = w.Payload.Kind()
		}
		if g.T < last {
			t.Fatalf("event %d is at %v, after one at %v", i, g.T, last)
		}
		last, g.T = g.T, 0
		if !reflect.DeepEqual(g, w) {
			t.Fatalf("event %d came back as\n%#v, was\n%#v", i, g, w)
		}
	}
}

// TestG2EveryEventSurvives: whatever is handed over comes back, in order,
// bytes that are not UTF-8 included, in each mode, encrypted or not.
func TestG2EveryEventSurvives(t *testing.T) {
	id, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	for _, strict := range []bool{false, true} {
		for _, to := range [][]string{nil, {id.Recipient().String()}} {
			t.Run(fmt.Sprintf("strict=%v,encrypted=%v", strict, to != nil), func(t *testing.T) {
				d, path := testDir(t, DirOptions{})
				var leaves []SegmentInfo
				w, err := d.Create(Header{Session: "S1", User: "alice"}, Options{Strict: strict, Recipients: to,
					OnSegment: func(s SegmentInfo) error { leaves = append(leaves, s); return nil }})
				if err != nil {
					t.Fatal(err)
				}
				want := everything()
				record(t, w, want)
				seal, err := w.Seal("logout")
				if err != nil {
					t.Fatal(err)
				}
				again, err := w.Seal("other")
				if err != nil || again != seal {
					t.Errorf("a second Seal returned %+v, %v; want the first one's", again, err)
				}
				if err := w.Output(1, 1, []byte("late")); !errors.Is(err, ErrSealed) {
					t.Errorf("Output after Seal: %v, want ErrSealed", err)
				}
				r, err := d.Open("S1")
				if err != nil {
					t.Fatal(err)
				}
				defer r.Close()
				if to != nil {
					for _, err := range r.Events() {
						if !errors.Is(err, ErrLocked) {
							t.Fatalf("events of a locked recording: %v, want ErrLocked", err)
						}
					}
					if rep := r.Verify(); !rep.OK || !rep.Locked {
						t.Errorf("verify without an identity:\n%s", rep)
					}
					if err := r.Unlock(id); err != nil {
						t.Fatal(err)
					}
				}
				sameEvents(t, collect(t, r), want)
				rep := r.Verify()
				if !rep.OK {
					t.Errorf("%s", rep)
				}
				if bad := rep.Compare(leaves, seal.Hash); len(bad) > 0 || len(leaves) != 1 {
					t.Errorf("%d leaves; compared with the recording: %v", len(leaves), bad)
				}
				if left, _ := filepath.Glob(path + "/*"); len(left) != 1 {
					t.Errorf("files after the seal: %v, want the recording alone", left)
				}
			})
		}
	}
}

// TestG2ManyWriters: channels record at once; each one's events stay in order.
func TestG2ManyWriters(t *testing.T) {
	for _, strict := range []bool{false, true} {
		t.Run(fmt.Sprintf("strict=%v", strict), func(t *testing.T) {
			d, _ := testDir(t, DirOptions{})
			w, err := d.Create(Header{Session: "S1"}, Options{Strict: strict})
			if err != nil {
				t.Fatal(err)
			}
			const writers, each = 8, 200
			noise := make([]byte, 3000)
			rand.Read(noise)
			var wg sync.WaitGroup
			for c := range writers {
				wg.Add(1)
				go func() {
					defer wg.Done()
					for i := range each {
						p := fmt.Appendf(nil, "%d:%d:%x\n", c, i, noise[:i])
						if err := w.Output(uint32(c), 1, p); err != nil {
							t.Error(err)
							return
						}
					}
				}()
			}
			wg.Wait()
			if _, err := w.Seal("logout"); err != nil {
				t.Fatal(err)
			}
			r, err := d.Open("S1")
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			next := make([]int, writers)
			for _, ev := range collect(t, r) {
				want := fmt.Sprintf("%d:%d:%x\n", ev.Channel, next[ev.Channel], noise[:next[ev.Channel]])
				if string(ev.Data) != want {
					t.Fatalf("channel %d: event %d is %.40q", ev.Channel, next[ev.Channel], ev.Data)
				}
				next[ev.Channel]++
			}
			for c, n := range next {
				if n != each {
					t.Errorf("channel %d has %d events, want %d", c, n, each)
				}
			}
			if rep := r.Verify(); !rep.OK {
				t.Errorf("%s", rep)
			}
		})
	}
}

// TestLargeRecording: many segments; random and compressible bytes; long
// writes are split and nothing is lost.
func TestLargeRecording(t *testing.T) {
	d, _ := testDir(t, DirOptions{})
	w, err := d.Create(Header{Session: "S1"}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	noise := make([]byte, 12<<20)
	rand.Read(noise)
	text := []byte(strings.Repeat("all work and no play makes jack a dull boy\n", 200<<10))
	for _, p := range [][]byte{noise, text} {
		if err := w.Output(7, 1, p); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := w.Seal("logout"); err != nil {
		t.Fatal(err)
	}
	r, err := d.Open("S1")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	var got bytes.Buffer
	for _, ev := range collect(t, r) {
		got.Write(ev.Data)
	}
	if !bytes.Equal(got.Bytes(), append(noise, text...)) {
		t.Error("the bytes that came back are not those that were recorded")
	}
	if n := len(r.Segments()); n < 3 {
		t.Errorf("%d segments for 20 MiB", n)
	}
	if rep := r.Verify(); !rep.OK {
		t.Errorf("%s", rep)
	}
	t.Logf("%d MiB random and %d MiB text in %d bytes, %d segments", len(noise)>>20, len(text)>>20, r.size, len(r.segments))
}

// TestTorrent: what comes faster than anybody reads is compressed by Snappy,
// what comes slower by zstd, and both come back, encrypted or not.
func TestTorrent(t *testing.T) {
	id, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	text := logLines(2 << 20)
	for _, c := range []struct {
		name string
		step time.Duration // between 64 KiB
		want byte
		to   []string
	}{{"torrent", time.Millisecond, flagSnappy, nil}, {"river", 20 * time.Millisecond, flagZstd, nil}, {"encrypted torrent", 0, flagSnappy, []string{id.Recipient().String()}}} {
		d, _ := testDir(t, DirOptions{})
		now := time.Date(2026, 11, 22, 6, 0, 0, 0, time.UTC)
		w, err := d.Create(Header{Session: "S1"}, Options{Recipients: c.to, Now: func() time.Time { return now }})
		if err != nil {
			t.Fatal(err)
		}
		for i := 0; i < len(text); i += maxData {
			w.mu.Lock() // the worker reads the clock too
			now = now.Add(c.step)
			w.mu.Unlock()
			if err := w.Output(1, 1, text[i:i+maxData]); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := w.Seal("logout"); err != nil {
			t.Fatal(err)
		}
		r, err := d.Open("S1")
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		if err := r.Unlock(id); err != nil {
			t.Fatal(err)
		}
		var got []byte
		for _, ev := range collect(t, r) {
			got = append(got, ev.Data...)
		}
		if rep := r.Verify(); !bytes.Equal(got, text) || !rep.OK {
			t.Errorf("%s: %d bytes of %d came back; %s", c.name, len(got), len(text), rep)
		}
		n := 0
		err = r.walk(r.body, r.size, checkAll, func(_ int64, h head, _ []byte) error {
			if h.typ == blockChunk && h.flags&c.want != 0 {
				n++
			}
			return nil
		}, func(int64, int64, error) error { return nil })
		if err != nil || n < 6 {
			t.Errorf("%s: %d chunks have flag %d, %v", c.name, n, c.want, err)
		}
	}
}
