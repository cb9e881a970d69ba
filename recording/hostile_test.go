package recording

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"jit-gateway/recording/vt"
)

// motley is the costliest screen there can be: each cell of the largest
// terminal has colours and attributes of its own, on both screens.
func motley() []byte {
	var b bytes.Buffer
	fill := func() {
		b.WriteString("\x1b[H")
		for i := range 500 * 300 {
			fmt.Fprintf(&b, "\x1b[0;1;2;3;4;5;7;9;38;2;%d;%d;%d;48;2;%d;%d;%dm\U0001D400", i&255, 100+i>>8&127, 200, 255-i&127, 255-i>>8&127, 100)
		}
	}
	fill()
	b.WriteString("\x1b[?1049h")
	fill()
	return b.Bytes()
}

// TestScreensThatDoNotFit: what a session prints cannot make its own recording
// unreadable, or look as if it had been tampered with: a screen that takes
// more bytes to redraw than an event may have keeps its text, not its colours.
func TestScreensThatDoNotFit(t *testing.T) {
	t.Parallel()
	screen := vt.New(500, 300)
	screen.Write(motley())
	for _, channels := range []int{1, maxScreens} { // one alone is too much for an event, all for a block
		t.Run(fmt.Sprint(channels), func(t *testing.T) {
			d, _ := testDir(t, DirOptions{})
			begin := time.Now()
			w, err := d.Create(Header{Session: "S1"}, Options{Now: func() time.Time { return begin }})
			if err != nil {
				t.Fatal(err)
			}
			for ch := range uint32(channels) {
				if err := w.Resize(ch+1, 500, 300); err != nil {
					t.Fatal(err)
				}
			}
			if err := CloseSegment(w); err != nil {
				t.Fatal(err)
			}
			w.jobs.Wait()
			for ch, c := range w.screens.list { // as if it had been printed, which takes long
				c.term = screen
				w.Output(uint32(ch)+1, 1, []byte("x")) //nolint:errcheck // Seal would fail too
			}
			if _, err := w.Seal("logout"); err != nil {
				t.Fatal(err)
			}
			r, err := d.Open("S1")
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			if rep := r.Verify(); !rep.OK {
				t.Fatal(rep)
			}
			var s screens
			if err := r.loadScreens(1, &s); err != nil || len(s.list) != channels {
				t.Fatalf("%d of %d screens, %v", len(s.list), channels, err)
			}
			for _, c := range s.list {
				if line := c.thaw().Lines()[298]; !strings.Contains(line, "\U0001D400\U0001D400\U0001D400") {
					t.Errorf("line 298 of channel %d is %.20q", c.channel, line)
				}
			}
		})
	}
}

// TestHeadsThatAreNone: output that looks like the heads of long blocks costs
// the reader of a damaged recording neither much time nor what comes later.
func TestHeadsThatAreNone(t *testing.T) {
	t.Parallel()
	d, path := testDir(t, DirOptions{})
	w, err := d.Create(Header{Session: "S1"}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	noise := make([]byte, 4<<20) // as it is, for it does not compress
	rand.NewChaCha8([32]byte{1}).Read(noise)
	for i := 0; i+8 < len(noise); i += 400 {
		copy(noise[i:], "JRC\x00\x00\x00\x10\x00") // 1 MiB long
	}
	if err := w.Output(1, 1, noise); err != nil {
		t.Fatal(err)
	}
	if err := CloseSegment(w); err != nil {
		t.Fatal(err)
	}
	if err := w.Output(1, 1, []byte("the end")); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Seal("logout"); err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(path, "S1"+suffix)
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	for i := bytes.Index(b, []byte("JR")); i < len(b)-4096; i += 2 + bytes.Index(b[i+2:], []byte("JR")) {
		if h, ok := parseHead(b[i:]); ok && h.typ == blockChunk && h.length != 1<<20 {
			b[i+headSize+preludeSize] ^= 1 // a bit of every chunk but the last
		}
	}
	if err := os.WriteFile(name, b, 0o600); err != nil {
		t.Fatal(err)
	}
	rd, err := d.Open("S1")
	if err != nil {
		t.Fatal(err)
	}
	defer rd.Close()
	broken, last := 0, ""
	for ev, err := range rd.Events() {
		var damage *Damage
		switch {
		case errors.As(err, &damage):
			broken++
		case err != nil:
			t.Fatal(err)
		default:
			last = string(ev.Data)
		}
	}
	if broken == 0 || last != "the end" {
		t.Errorf("%d places are damaged, the last event is %.20q", broken, last)
	}
	if rd.vain == 0 || rd.vain > maxVain+1<<20 {
		t.Errorf("%d bytes were read in vain", rd.vain)
	}
}

// TestSegmentsWithinSegments: a file whose footer names one place many times
// costs one reading.
func TestSegmentsWithinSegments(t *testing.T) {
	d, _ := testDir(t, DirOptions{})
	w, err := d.Create(Header{Session: "S1"}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	record(t, w, everything())
	if _, err := w.Seal("logout"); err != nil {
		t.Fatal(err)
	}
	rd, err := d.Open("S1")
	if err != nil {
		t.Fatal(err)
	}
	defer rd.Close()
	all := len(collect(t, rd))
	for range 1000 {
		rd.segments = append(rd.segments, rd.segments[0])
	}
	rd.order()
	if got := len(collect(t, rd)); got != all {
		t.Errorf("%d events were read, of %d", got, all)
	}
}
