package recording

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"jit-gateway/recording/vt"
)

func screenOf(evs []Event) string {
	for _, ev := range evs {
		if p, ok := ev.Payload.(Screen); ok {
			t := vt.New(int(p.Cols), int(p.Rows))
			t.Write(ev.Data)
			return strings.TrimRight(strings.Join(t.Lines(), "\n"), "\n")
		}
	}
	return ""
}

// TestLateViewer: a viewer who comes late begins with the screen as it is,
// then sees every event after it, also when recording is encrypted or strict.
func TestLateViewer(t *testing.T) {
	for _, o := range []Options{{}, {Strict: true}} {
		w := create(t, Header{}, o)
		record(t, w, []Event{
			{Channel: 1, Payload: Resize{20, 5}},
			{Channel: 1, Kind: KindOutput, Stream: 1, Data: []byte("$ vi\x1b[?1049h\x1b[2;3Hhello")},
		})
		v, err := w.Watch("bob")
		if err != nil {
			t.Fatal(err)
		}
		if got := screenOf(v.Snapshot); got != "\n  hello" {
			t.Errorf("the snapshot shows %q", got)
		}
		record(t, w, []Event{
			{Channel: 1, Kind: KindOutput, Stream: 1, Data: []byte(" world")},
			{Channel: 1, Payload: Marker{Text: "here"}},
		})
		if ev := <-v.Events(); string(ev.Data) != " world" {
			t.Errorf("the first event after the snapshot is %+v", ev)
		}
		if ev := <-v.Events(); ev.Payload != (Marker{Text: "here"}) {
			t.Errorf("the second one is %+v", ev)
		}
		if _, err := w.Seal("logout"); err != nil {
			t.Fatal(err)
		}
		if ev, open := <-v.Events(); open {
			t.Errorf("after the end: %+v", ev)
		}
		v.Close()
		if _, err := w.Watch("carol"); err == nil {
			t.Error("a sealed recording can be watched")
		}
	}
}

// TestSlowViewerIsResynchronised: a viewer who does not keep up costs the
// session nothing, and continues with the screen as it is by then.
func TestSlowViewerIsResynchronised(t *testing.T) {
	w := create(t, Header{}, Options{})
	if err := w.Resize(1, 40, 4); err != nil {
		t.Fatal(err)
	}
	v, err := w.Watch("bob")
	if err != nil {
		t.Fatal(err)
	}
	const lines = 100_000
	begin := time.Now()
	for i := range lines {
		if err := w.Output(1, 1, fmt.Appendf(nil, "line %d\r\n", i)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Flush(); err != nil { // nobody has received anything yet
		t.Fatal(err)
	}
	t.Logf("%d lines beside a viewer who does not read: %v", lines, time.Since(begin))
	// Whatever the viewer sees from here on, it ends with the right screen.
	term := vt.New(40, 4)
	screens, events := 0, 0
	for ev := range v.Events() {
		events++
		switch ev.Kind {
		case KindScreen:
			screens++
			term.Write(ev.Data)
		case KindOutput:
			term.Write(ev.Data)
		}
		if strings.Contains(strings.Join(term.Lines(), "\n"), fmt.Sprintf("line %d", lines-1)) {
			break
		}
	}
	if screens == 0 || events > 3*watchEvents {
		t.Errorf("%d events, %d screens: the viewer was not resynchronised", events, screens)
	}
	v.Close()
	if _, err := w.Seal("logout"); err != nil {
		t.Fatal(err)
	}
	r, err := w.dir.Open("S1")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	var viewers []Viewer
	for _, ev := range collect(t, r) {
		if p, ok := ev.Payload.(Viewer); ok {
			viewers = append(viewers, p)
		}
	}
	if want := []Viewer{{"bob", true}, {"bob", false}}; fmt.Sprint(viewers) != fmt.Sprint(want) {
		t.Errorf("viewers recorded: %v, want %v", viewers, want)
	}
}

// TestViewerOfAFailedRecording: the view ends with the recording.
func TestViewerOfAFailedRecording(t *testing.T) {
	m := newMemFS()
	d, err := OpenDir("", DirOptions{fs: m, Reserve: -1})
	if err != nil {
		t.Fatal(err)
	}
	w, err := d.Create(Header{Session: "S1"}, Options{Strict: true})
	if err != nil {
		t.Fatal(err)
	}
	v, err := w.Watch("bob")
	if err != nil {
		t.Fatal(err)
	}
	m.mu.Lock()
	m.at, m.what = m.step+1, ioErr
	m.mu.Unlock()
	if err := w.Output(1, 1, []byte("x")); err == nil {
		t.Fatal("Output succeeded on a broken disk")
	}
	for range v.Events() {
	}
	v.Close()
	w.Seal("recording_failed") //nolint:errcheck // the disk is broken
}

// TestIdleSessionIsHibernated: a quiet terminal is kept as escape sequences
// and comes back as it was.
func TestIdleSessionIsHibernated(t *testing.T) {
	w := create(t, Header{}, Options{})
	record(t, w, []Event{
		{Channel: 1, Payload: Resize{30, 4}},
		{Channel: 1, Kind: KindOutput, Stream: 1, Data: []byte("\x1b[31mred\x1b[2;3r\x1b[?6hx\xe2\x94")},
	})
	v, err := w.Watch("bob") // wakes the terminal
	if err != nil {
		t.Fatal(err)
	}
	v.Close()
	w.mu.Lock()
	w.trim = true
	w.kick()
	w.mu.Unlock()
	w.jobs.Wait()
	w.mu.Lock()
	awake := w.awake
	w.mu.Unlock()
	if awake {
		t.Fatal("the terminal is still held as cells")
	}
	record(t, w, []Event{{Channel: 1, Kind: KindOutput, Stream: 1, Data: []byte("\x80!")}})
	v, err = w.Watch("bob")
	if err != nil {
		t.Fatal(err)
	}
	if got := screenOf(v.Snapshot); got != "red\nx─!" {
		t.Errorf("after hibernation the screen shows %q", got)
	}
	v.Close()
	if _, err := w.Seal("logout"); err != nil {
		t.Fatal(err)
	}
}
