package recording

import (
	"bytes"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"

	"jit-gateway/recording/vt"
)

// TestReplayOfADamagedRecording: all that is intact is shown, with a line
// where it is broken, and the damage is the result, in every form.
func TestReplayOfADamagedRecording(t *testing.T) {
	path := terminalSession(t, 120, Options{}, 10)
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	intact, err := OpenFile(path)
	if err != nil {
		t.Fatal(err)
	}
	segs := intact.Segments()
	intact.Close()
	for name, change := range map[string]func(b []byte) []byte{
		"a bit in the second segment":    func(b []byte) []byte { b[segs[1].Offset+80] ^= 1; return b },
		"the second segment overwritten": func(b []byte) []byte { clear(b[segs[1].Offset : segs[1].Offset+segs[1].Length]); return b },
		"and no footer": func(b []byte) []byte {
			b[segs[1].Offset+80] ^= 1
			return b[:segs[2].Offset+segs[2].Length]
		},
	} {
		b := change(bytes.Clone(whole))
		play := func(f func(r *Reader, out *bytes.Buffer) error) {
			t.Helper()
			r, err := NewReader(bytes.NewReader(b), int64(len(b)))
			if err != nil {
				t.Fatal(err)
			}
			var out bytes.Buffer
			err = f(r, &out)
			var d *Damage
			if !errors.As(err, &d) || d.Segment != 1 {
				t.Errorf("%s: the result is %v, want the damage in segment 1", name, err)
			}
			text := out.String()
			first, broken, last := strings.Index(text, "line 3 "), strings.Index(text, "the recording is damaged at byte"), strings.Index(text, "line 119 ")
			if first < 0 || broken < first || last < broken {
				t.Errorf("%s: the first segment is at %d, the damage told at %d, the last segment at %d", name, first, broken, last)
			}
			if strings.Count(text, "the recording is damaged at byte") != 1 {
				t.Errorf("%s: the damage is told more than once", name)
			}
		}
		play(func(r *Reader, out *bytes.Buffer) error {
			return Replay(t.Context(), r, out, nil, ReplayOptions{Plain: true, Speed: 1e6})
		})
		play(func(r *Reader, out *bytes.Buffer) error { return ExportText(r, out, ExportOptions{}) })
		play(func(r *Reader, out *bytes.Buffer) error { return ExportCast(r, out, 2, ExportOptions{}) })
	}
}

// TestLeavingAReplay: after q the cursor is on a free line below what was
// shown, whatever the session had set, and the terminal draws as it should.
func TestLeavingAReplay(t *testing.T) {
	d, _ := testDir(t, DirOptions{})
	w, err := d.Create(Header{Session: "S1"}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Resize(1, 40, 10); err != nil {
		t.Fatal(err)
	}
	for i := range 9 {
		if err := w.Output(1, 1, []byte("a line of the session "+string(rune('0'+i))+"\r\n")); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Output(1, 1, []byte("\x1b[3;6r\x1b[?6h\x1b(0\x1b[?25l\x1b[4h\x1b[31m\x1b[2;4Hx")); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Seal("logout"); err != nil {
		t.Fatal(err)
	}
	for _, rows := range []int{10, 24} {
		for _, keys := range []string{"q", "Gq", " q", "G0 +-]q"} {
			r, err := d.Open("S1")
			if err != nil {
				t.Fatal(err)
			}
			term := vt.New(40, rows)
			var out bytes.Buffer
			if err := Replay(t.Context(), r, &out, strings.NewReader(keys), ReplayOptions{Cols: 40, Rows: rows}); err != nil {
				t.Fatal(err)
			}
			r.Close()
			term.Write(out.Bytes())
			_, y := term.Cursor()
			term.Write([]byte("\r$ prompt"))
			lines := term.Lines()
			if lines[y] != "$ prompt" || slices.ContainsFunc(lines[min(y+1, rows):], func(s string) bool { return s != "" }) {
				t.Errorf("%d rows, keys %q: the prompt is on line %d of\n%s", rows, keys, y, strings.Join(lines, "\n"))
			}
			if y < rows-1 {
				t.Errorf("%d rows, keys %q: the cursor is on line %d, within what was shown", rows, keys, y)
			}
		}
	}
}

// TestSearchInAReplay: it goes on from the beginning, and says when there is nothing.
func TestSearchInAReplay(t *testing.T) {
	r, err := OpenFile(terminalSession(t, 120, Options{}, 10))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	for keys, want := range map[string]string{
		"G/line 7 =\rq":         " 0:08.", // it is before the end
		"/line 90\r/line 9 \rq": " 0:10.", // and before this
		"/no such thing\rq":     "no line has no such thing",
	} {
		var out bytes.Buffer
		if err := Replay(t.Context(), r, &out, strings.NewReader(keys), ReplayOptions{Cols: 100, Rows: 30}); err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(out.String(), want) {
			t.Errorf("keys %q: %q is not on the screen", keys, want)
		}
	}
}
