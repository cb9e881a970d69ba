package vt

import (
	"fmt"
	"runtime"
	"testing"
)

// TestWhatClearsIsCheap: nothing that a session prints, however short, makes
// the emulator touch every cell of a large screen: two bytes a reset, a few for
// scrolling or clearing. It counts the rows whose cells were filled in.
func TestWhatClearsIsCheap(t *testing.T) {
	for _, s := range []string{"\x1bc", "\x1b#8", "\x1b[2J", "\x1b#8\x1b[2J", "\x1b[41m\x1b[2J\x1b[42m\x1b[J", "\x1b[300S", "\x1b[300T", "\x1b[300L", "\x1b[300M",
		"\x1b[?1049h\x1b[?1049l", "\x1b[300;500H\x1b[1J", "\x1b[2K", "\n", "\x1bM"} {
		term := New(MaxCols, MaxRows)
		term.Write([]byte("x"))
		for range 100 {
			term.Write([]byte(s))
		}
		open := 0
		for _, g := range []grid{term.main, term.alt} {
			for _, r := range g {
				if r.cells != nil {
					open++
				}
			}
		}
		if open > 2 { // the first line's, and one that was erased in part
			t.Errorf("%q: the cells of %d rows were made", s, open)
		}
	}
	// What repeats is bounded by the line, and allocates nothing.
	term := New(MaxCols, MaxRows)
	term.Write([]byte("x\x1b[65535b"))
	if x, y := term.Cursor(); y > 1 {
		t.Errorf("after one repetition the cursor is at %d,%d", x, y)
	}
}

// TestMarksDoNotSweep: a screen full of combined characters is looked through
// once in a while, not at each further mark.
func TestMarksDoNotSweep(t *testing.T) {
	term := New(MaxCols, MaxRows)
	for range 2 * maxClusters {
		term.Write([]byte("e\u0301"))
	}
	if term.unswept != maxClusters {
		t.Fatalf("%d marks found no room, want %d", term.unswept, maxClusters)
	}
	before := fmt.Sprint(len(term.clusters))
	var m1, m2 runtime.MemStats
	runtime.ReadMemStats(&m1)
	for range maxClusters - 2 {
		term.Write([]byte("e\u0301"))
	}
	runtime.ReadMemStats(&m2)
	if n := m2.Mallocs - m1.Mallocs; n > 2*maxClusters {
		t.Errorf("%d allocations for %d marks (%s clusters)", n, maxClusters, before)
	}
}

// TestSnapshotWithin: what does not fit loses its looks, then the screen that
// is not shown, never its text or its place.
func TestSnapshotWithin(t *testing.T) {
	term := New(80, 24)
	for y := range 24 {
		term.Write(fmt.Appendf(nil, "\x1b[%d;1H\x1b[3%dmline %d", y+1, y%8, y))
	}
	term.Write([]byte("\x1b[?1049h"))
	for y := range 24 {
		term.Write(fmt.Appendf(nil, "\x1b[%d;1H\x1b[3%dmother %d", y+1, y%8, y))
	}
	full := len(term.Snapshot())
	for _, most := range []int{full, full - 1, 10} {
		b := term.SnapshotWithin(most)
		got := New(80, 24)
		got.Write(b)
		if screen(got) != screen(term) || got.cur.x != term.cur.x || got.cur.y != term.cur.y || got.cur.style != term.cur.style {
			t.Errorf("within %d bytes the screen is\n%s", most, screen(got))
		}
		if most > 10 && len(b) > most {
			t.Errorf("%d bytes, at most %d were asked for", len(b), most)
		}
		got.Write([]byte("\x1b[?1049l"))
		if has := got.Lines()[0] == "line 0"; has != (most > 10) {
			t.Errorf("within %d bytes the other screen begins with %q", most, got.Lines()[0])
		}
	}
}
