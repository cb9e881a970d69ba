package recording

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"jit-gateway/recording/vt"
)

// hostile records what a compromised host would send an auditor.
func hostile(t *testing.T) *Reader {
	t.Helper()
	d, _ := testDir(t, DirOptions{})
	w, err := d.Create(Header{Session: "S1", User: "al\x1bice", Target: "web01"}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	record(t, w, []Event{
		{Channel: 1, Payload: Resize{40, 6}},
		{Channel: 1, Kind: KindOutput, Stream: 1, Data: []byte("$ cat x\r\n\x1b]52;c;ZXZpbA==\x07\x1b]0;own\x07\x1b[6n\x1b[cdone \xff\xc3")},
		{Channel: 1, Kind: KindOutput, Stream: 1, Data: []byte("\xa9\r\n\x1b[31mred\x1b[0m\r\n")},
		{Channel: 2, Payload: SQL{Op: "query", Statement: "select 1;\n\\! rm -rf /", Rows: 1, Params: []Param{{Text: "it's\nx"}}}},
		{Channel: 2, Payload: SQL{Op: "query", Statement: "select \x1b[2J'a'", Error: "bad\n\\! x", SQLSTATE: "42601"}},
		{Channel: 3, Payload: SFTP{Op: "remove", Path: "=cmd\t\x1b]0;x\x07/etc/passwd", Result: "ok"}},
		{Channel: 1, Payload: Marker{Text: "here\x1b[2J"}},
	})
	if _, err := w.Seal("logout"); err != nil {
		t.Fatal(err)
	}
	r, err := d.Open("S1")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	return r
}

// TestG11ExportsAreHarmless: no export lets a recorded escape sequence, a psql
// command or a formula through to whoever looks at it.
func TestG11ExportsAreHarmless(t *testing.T) {
	r := hostile(t)
	for _, c := range []struct {
		name string
		f    func(w io.Writer) error
		has  []string
		not  []string
	}{
		{"text", func(w io.Writer) error { return ExportText(r, w, ExportOptions{}) }, []string{"done", "red", "al\\x1bice"}, []string{"\x1b", "\x07"}},
		{"sql", func(w io.Writer) error { return ExportSQL(r, w, ExportOptions{}) }, []string{"-- select 1", "-- \\! rm", "ERROR 42601", "$1 = 'it''s\\nx'"}, []string{"\x1b", "\n\\!"}},
		{"files", func(w io.Writer) error { return ExportFiles(r, w, ExportOptions{}) }, []string{"'=cmd\\t", "/etc/passwd"}, []string{"\x1b", "\t=cmd"}},
		{"cast v2", func(w io.Writer) error { return ExportCast(r, w, 2, ExportOptions{}) }, []string{`"version":2`, `é`, `\u001b[31mred`}, []string{"]52;", "]0;", "[6n", "[c", "\x1b"}},
		{"cast v3", func(w io.Writer) error { return ExportCast(r, w, 3, ExportOptions{}) }, []string{`"version":3`, `"cols":40`, `"m"`}, []string{"]52;", "]0;", "[6n"}},
		{"cast as it was", func(w io.Writer) error { return ExportCast(r, w, 2, ExportOptions{Raw: true}) }, []string{"]52;c;", `done \ufffd`, "é"}, []string{"\x1b"}},
		{"json", func(w io.Writer) error { return ExportJSON(r, w, ExportOptions{}) }, []string{`"kind":"sql"`, `"data":"`}, []string{"\x1b"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var b bytes.Buffer
			if err := c.f(&b); err != nil {
				t.Fatal(err)
			}
			out := strings.ReplaceAll(b.String(), "\ufffd", `\ufffd`)
			for _, s := range c.has {
				if !strings.Contains(out, s) {
					t.Errorf("%q is not in\n%s", s, out)
				}
			}
			for _, s := range c.not {
				if strings.Contains(out, s) {
					t.Errorf("%q is in\n%q", s, out)
				}
			}
			if strings.HasPrefix(c.name, "cast") || c.name == "json" {
				for _, line := range strings.Split(strings.TrimSpace(b.String()), "\n") {
					if !json.Valid([]byte(line)) {
						t.Errorf("not JSON: %q", line)
					}
				}
			}
		})
	}
}

func TestLines(t *testing.T) {
	r := hostile(t)
	var got []string
	for l, err := range r.Lines() {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, string(l.Kind)+":"+l.Text)
	}
	all := strings.Join(got, "|")
	for _, want := range []string{"o:$ cat x", "o:done \ufffdé", "o:red", "sql:select 1;", "sftp:remove =cmd", "marker:here"} {
		if !strings.Contains(all, want) {
			t.Errorf("%q is not among the lines %q", want, got)
		}
	}
}

// timed records three moments in a bubble's time.
func timed(t *testing.T) *Reader {
	t.Helper()
	d, _ := testDir(t, DirOptions{})
	w, err := d.Create(Header{Session: "S1"}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	w.Resize(1, 40, 6) //nolint:errcheck // Output would fail too
	for _, s := range []string{"first\r\n", "second\r\n", "third\x1b]52;c;eA==\x07\r\n"} {
		if err := w.Output(1, 1, []byte(s)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(100 * time.Second)
	}
	w.Event(Event{Payload: Marker{Text: "late"}}) //nolint:errcheck // Seal would fail too
	if _, err := w.Seal("logout"); err != nil {
		t.Fatal(err)
	}
	r, err := d.Open("S1")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	return r
}

// TestG11Replay: replay keeps time, skips idle time, obeys keys, and passes
// nothing on that acts.
func TestG11Replay(t *testing.T) {
	compress(nil, bytes.Repeat([]byte("warm"), 100), time.Second) // made outside the bubble
	decoders()
	synctest.Test(t, func(t *testing.T) {
		r := timed(t)
		for _, c := range []struct {
			name  string
			o     ReplayOptions
			keys  string
			takes time.Duration
			has   string
		}{
			{"plain, in its own time", ReplayOptions{Plain: true}, "", 200 * time.Second, "first\r\nsecond\r\nthird\r\n"},
			{"ten times as fast", ReplayOptions{Plain: true, Speed: 10}, "", 20 * time.Second, "third"},
			{"idle time skipped", ReplayOptions{Plain: true, Idle: time.Second}, "", 2 * time.Second, "third"},
			{"from a moment on", ReplayOptions{Plain: true, Start: 150 * time.Second}, "", 50 * time.Second, "third"},
			{"from a search on", ReplayOptions{Plain: true, Search: "SECOND"}, "", 100 * time.Second, "third"},
			{"quit at once", ReplayOptions{}, "q", 0, ""},
			{"to the end, then quit", ReplayOptions{}, "Gq", 0, "third"},
			{"search with keys", ReplayOptions{}, "/third\rq", 0, "third"},
			{"marker", ReplayOptions{}, "]q", 0, "third"},
			{"arrows, speed, pause", ReplayOptions{}, "\x1b[A\x1b[A\x1b[C\x1b[D\x1b[B+-i . nq", 0, "second"},
		} {
			var out bytes.Buffer
			var in io.Reader
			if c.keys != "" {
				in = strings.NewReader(c.keys)
			}
			begin := time.Now()
			if err := Replay(t.Context(), r, &out, in, c.o); err != nil {
				t.Errorf("%s: %v", c.name, err)
			}
			if took := time.Since(begin).Round(time.Second); took != c.takes {
				t.Errorf("%s took %v, want %v", c.name, took, c.takes)
			}
			if !strings.Contains(out.String(), c.has) || strings.Contains(out.String(), "]52;") {
				t.Errorf("%s: %q", c.name, out.String())
			}
			var f vt.Filter
			if c.o.Plain && string(f.Append(nil, out.Bytes())) != out.String() {
				t.Errorf("%s passed on something that acts: %q", c.name, out.String())
			}
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := Replay(ctx, r, io.Discard, nil, ReplayOptions{}); err == nil {
			t.Error("a cancelled replay went on to its end")
		}
	})
}
