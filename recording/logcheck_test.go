package recording

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"jit-gateway/internal/audit"
)

// TestG7LogVouchesForRecordings: a recording that is missing, cut, exchanged
// or changed is found by the audit log, also one that is intact in itself.
func TestG7LogVouchesForRecordings(t *testing.T) {
	remove := func(t *testing.T, path, s string) {
		if err := os.Remove(filepath.Join(path, s+suffix)); err != nil {
			t.Fatal(err)
		}
	}
	edit := func(t *testing.T, path, s string, f func([]byte) []byte) {
		name := filepath.Join(path, s+suffix)
		b, err := os.ReadFile(name)
		if err == nil {
			err = os.WriteFile(name, f(b), 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	for name, c := range map[string]struct {
		do   func(t *testing.T, path string)
		more []audit.Event
		want string // empty: intact
	}{
		"intact": {},
		"removed": {do: func(t *testing.T, path string) { remove(t, path, "S2") },
			want: "event 3 (recording.sealed, session S2): its recording is missing"},
		"removed while live": {do: func(t *testing.T, path string) { remove(t, path, "S3") }, want: "session S3): its recording is missing"},
		"deleted in order": {do: func(t *testing.T, path string) { remove(t, path, "S2") },
			more: []audit.Event{{Type: audit.RecordingDeleted, Outcome: audit.Success, Session: "S2"}}},
		"not deleted after all": {do: func(t *testing.T, path string) { remove(t, path, "S2") },
			more: []audit.Event{{Type: audit.RecordingDeleted, Outcome: audit.Denied, Session: "S2"}}, want: "session S2): its recording is missing"},
		"changed": {do: func(t *testing.T, path string) {
			edit(t, path, "S1", func(b []byte) []byte { b[len(b)/2] ^= 1; return b })
		}, want: "session S1): its recording"},
		"the end cut off": {do: func(t *testing.T, path string) {
			edit(t, path, "S1", func(b []byte) []byte { return b[:len(b)*2/3] })
		}, want: "session S1): its recording"},
		"exchanged for another": {do: func(t *testing.T, path string) {
			other := t.TempDir()
			d, err := OpenDir(other, DirOptions{Reserve: -1})
			if err != nil {
				t.Fatal(err)
			}
			w, err := d.Create(Header{Session: "S1"}, Options{})
			if err != nil {
				t.Fatal(err)
			}
			record(t, w, everything())
			if _, err := w.Seal("logout"); err != nil {
				t.Fatal(err)
			}
			if err := os.Rename(filepath.Join(other, "S1"+suffix), filepath.Join(path, "S1"+suffix)); err != nil {
				t.Fatal(err)
			}
		}, want: "is not the one that the audit log has"},
		"no name": {more: []audit.Event{{Type: audit.RecordingSealed, Session: "../etc/passwd"}}, want: "names no recording"},
		"no hash": {more: []audit.Event{{Type: audit.RecordingSegment, Session: "S1"}}, want: "names no segment"},
	} {
		t.Run(name, func(t *testing.T) {
			d, path := testDir(t, DirOptions{})
			var log []audit.Event
			add := func(e audit.Event) {
				e.Seq = int64(len(log))
				log = append(log, e)
			}
			for _, s := range []string{"S1", "S2", "S3"} {
				w, err := d.Create(Header{Session: s}, Options{
					OnSegment: func(i SegmentInfo) error {
						add(audit.Event{Type: audit.RecordingSegment, Session: s, Detail: map[string]string{"index": strconv.Itoa(i.Index), "hash": i.Hash}})
						return nil
					},
					OnSealed: func(seal Seal) error {
						add(audit.Event{Type: audit.RecordingSealed, Outcome: audit.Success, Session: s, Detail: map[string]string{"hash": seal.Hash}})
						return nil
					},
				})
				if err != nil {
					t.Fatal(err)
				}
				record(t, w, everything())
				if s == "S3" { // still live
					defer w.Seal("logout")
					continue
				}
				if _, err := w.Seal("logout"); err != nil {
					t.Fatal(err)
				}
			}
			if name == "removed while live" {
				add(audit.Event{Type: audit.RecordingSegment, Session: "S3", Detail: map[string]string{"index": "0", "hash": "x"}})
			}
			for _, e := range c.more {
				add(e)
			}
			if c.do != nil {
				c.do(t, path)
			}
			check := d.NewLogCheck()
			err := func() error {
				for _, e := range log {
					if err := check.Event(e); err != nil {
						return err
					}
				}
				return check.Finish(t.Context())
			}()
			var wrong *audit.EventError
			switch {
			case c.want == "" && err != nil:
				t.Errorf("found %v, and nothing is wrong", err)
			case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
				t.Errorf("found %v, want …%s…", err, c.want)
			case c.want != "" && c.do != nil && !errors.As(err, &wrong):
				t.Errorf("%v names no event", err)
			}
		})
	}
}
