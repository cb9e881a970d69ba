package recording

import (
	"os"
	"strings"
	"testing"
	"time"

	"jit-gateway/recording/vt"
)

// pieces plays a recording through, from the beginning.
func pieces(t testing.TB, r *Reader, ch uint32) (out []Piece) {
	t.Helper()
	for from := time.Duration(-1); ; {
		p, err := r.Piece(ch, from, false)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, p)
		if !p.More {
			return out
		}
		if p.To <= from {
			t.Fatalf("the piece after %s ends at %s", from, p.To)
		}
		from = p.To
	}
}

// TestPieces: a replay in pieces shows what one in a whole shows, from any
// moment on, and no piece is large.
func TestPieces(t *testing.T) {
	r, err := OpenFile(terminalSession(t, 400, Options{}, 2500))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	ch, cols, rows, ok, err := r.Screen()
	if err != nil || !ok || ch != 1 || cols != 80 || rows != 24 {
		t.Fatalf("the screen is %d, %dx%d, %v, %v", ch, cols, rows, ok, err)
	}
	list := pieces(t, r, ch)
	if len(list) < 4 {
		t.Fatalf("one megabyte came in %d pieces", len(list))
	}
	whole, last := vt.New(80, 24), time.Duration(-1)
	var text strings.Builder
	for i, p := range list {
		n := 0
		for _, ev := range p.Events {
			if ev.T <= last && i > 0 && n == 0 || ev.T > p.To {
				t.Errorf("piece %d, to %s, has an event at %s", i, p.To, ev.T)
			}
			if last = ev.T; ev.Code == "o" {
				n += len(ev.Text)
				text.WriteString(ev.Text)
				whole.Write([]byte(ev.Text))
			}
		}
		if n > 2*pieceText {
			t.Errorf("piece %d has %d bytes", i, n)
		}
		// Whoever begins here sees the same.
		if next, err := r.Piece(ch, p.To, true); err != nil {
			t.Fatal(err)
		} else {
			jumped := vt.New(int(next.Cols), int(next.Rows))
			jumped.Write([]byte(next.Init))
			if got, want := string(jumped.Snapshot()), string(whole.Snapshot()); got != want {
				t.Fatalf("a jump to %s shows\n%s\nplaying up to it shows\n%s", p.To, got, want)
			}
		}
	}
	for _, want := range []string{"line 0 ", "line 199 ", "line 399 "} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("%q was never shown", want)
		}
	}
}

// A damaged recording is played around the damage, which is said.
func TestPiecesOfADamagedRecording(t *testing.T) {
	path := terminalSession(t, 300, Options{}, 100)
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	b[len(b)/2] ^= 0xff
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	r, err := OpenFile(path)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	said, shown := false, ""
	for _, p := range pieces(t, r, 1) {
		for _, ev := range p.Events {
			said = said || ev.Code == "m" && strings.Contains(ev.Text, "damaged")
			shown += ev.Text
		}
	}
	if !said || !strings.Contains(shown, "line 0 ") || !strings.Contains(shown, "line 299 ") {
		t.Errorf("damage said: %v; %d bytes shown", said, len(shown))
	}
}

// What had no terminal is readable on one, and only its own channel is shown.
func TestPiecesWithoutTerminal(t *testing.T) {
	d, path := testDir(t, DirOptions{})
	w, err := d.Create(Header{Session: "S1"}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	record(t, w, []Event{{Channel: 3, Kind: KindOutput, Stream: 1, Data: []byte("one\ntwo\x1b]52;c;aGk=\x07\r\n")}, {Channel: 4, Kind: KindOutput, Stream: 1, Data: []byte("other")}})
	if _, err := w.Seal("logout"); err != nil {
		t.Fatal(err)
	}
	r, err := OpenFile(path + "/S1" + suffix)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	ch, _, _, ok, err := r.Screen()
	p, perr := r.Piece(ch, -1, true)
	if err != nil || perr != nil || !ok || ch != 3 || len(p.Events) != 1 || p.Events[0].Text != "one\r\ntwo\r\n" || p.More {
		t.Errorf("channel %d, %v, %v, %v: %+v", ch, ok, err, perr, p)
	}
}
