package vt

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

func screen(t *Terminal) string { return strings.TrimRight(strings.Join(t.Lines(), "\n"), "\n") }

func TestTerminal(t *testing.T) {
	for _, c := range []struct{ name, in, want string }{
		{"text", "hello\r\nworld", "hello\nworld"},
		{"wrap", "abcdefghijkl", "abcdefghij\nkl"},
		{"wrap waits for the next character", "abcdefghij\r\nk", "abcdefghij\nk"},
		{"no wrap", "\x1b[?7labcdefghijkl", "abcdefghil"},
		{"backspace", "abc\b\bX", "aXc"},
		{"tab", "a\tb", "a       b"},
		{"cursor", "\x1b[2;3Hx\x1b[Ay\x1b[10Dz", "z  y\n  x"},
		{"erase line", "abcdef\x1b[3D\x1b[K", "abc"},
		{"erase to the left", "abcdef\x1b[3D\x1b[1K", "    ef"},
		{"clear", "abc\r\ndef\x1b[2J", ""},
		{"clear below", "abc\r\ndef\x1b[1;2H\x1b[J", "a"},
		{"insert and delete characters", "abcdef\x1b[1;2H\x1b[2@\x1b[1;1H\x1b[P", "  bcdef"},
		{"insert and delete lines", "a\r\nb\r\nc\x1b[1;1H\x1b[L\x1b[3;1H\x1b[M", "\na\nc"},
		{"erase characters", "abcdef\x1b[1;2H\x1b[3X", "a   ef"},
		{"scroll", "a\r\nb\r\nc\r\nd\r\ne\r\nf", "c\nd\ne\nf"},
		{"scroll region", "a\r\nb\r\nc\r\nd\x1b[2;3r\x1b[3;1H\n\nx", "a\n\nx\nd"},
		{"reverse index", "a\r\nb\x1b[1;1H\x1bMx", "x\na\nb"},
		{"origin", "\x1b[2;3r\x1b[?6h\x1b[1;1Hx\x1b[9;1Hy", "\nx\ny"},
		{"alternate screen", "main\x1b[?1049halt\x1b[?1049l!", "main!"},
		{"save and restore", "ab\x1b7\x1b[4;4Hx\x1b8c", "abc\n\n\n   x"},
		// As xterm has it: what is saved and restored includes that the last
		// column was written, and that it was not.
		{"save at the margin", "0123456789\x1b7\x1b[1;1H\x1b8x", "0123456789\nx"},
		{"save beside the margin", "0123456789\x1b[1;10H\x1b7\x1b[2;1Hyyyyyyyyyy\x1b8x", "012345678x\nyyyyyyyyyy"},
		{"move after a restore at the margin", "0123456789\x1b7\x1b8\x1b[1;10Hx", "012345678x"},
		{"each screen has its saved cursor", "\x1b[2;2H\x1b7\x1b[?1049h\x1b[3;3H\x1b7\x1b[?1049l\x1b8m\x1b[?1049h\x1b8a", "\n\n  a"},
		{"line drawing", "\x1b(0lqk\x1b(Blqk", "┌─┐lqk"},
		{"shift out", "\x1b)0\x0eq\x0fq", "─q"},
		{"insert mode", "bc\r\x1b[4ha\x1b[4l", "abc"},
		{"repeat", "a\x1b[3b", "aaaa"},
		{"wide", "日本x", "日本x"},
		{"half of a wide one", "日本\x1b[1;2Hx", " x本"},
		{"wide at the margin", "123456789日", "123456789\n日"},
		{"combining", "e\u0301x", "e\u0301x"},
		{"not utf-8", "a\xffb\xc3(", "a\ufffdb\ufffd("},
		{"titles and clipboards", "a\x1b]0;title\x07b\x1b]52;c;aGk=\x1b\\c\x1bPq#0\x1b\\d", "abcd"},
		{"a string cut by an escape", "a\x1b]0;t\x1b[1mb", "ab"},
		{"tab stops", "\x1b[3g\x1b[1;4H\x1bH\r\tx", "   x"},
		{"alignment", "\x1b#8\x1b[2;1H\x1b[J", "EEEEEEEEEE"},
		{"reset", "abc\x1b[5;5H\x1bcx", "x"},
		{"control in a sequence", "a\x1b[\n2Cb", "a\n   b"},
		{"cancelled", "a\x1b[12\x18b", "ab"},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, step := range []int{1, 2, len(c.in)} {
				term := New(10, 4)
				for i := 0; i < len(c.in); i += step {
					term.Write([]byte(c.in[i:min(i+step, len(c.in))]))
				}
				if got := screen(term); got != c.want {
					t.Errorf("in steps of %d:\n%q, want\n%q", step, got, c.want)
				}
			}
		})
	}
}

func TestOnLine(t *testing.T) {
	var got []string
	term := New(20, 2)
	term.OnLine = func(s string, _ int64) { got = append(got, s) }
	term.Write([]byte("one\r\ntwo\r\nthree\x1b[2J\x1b[Hfour\x1b[?1049hinside vi\x1b[?1049l"))
	term.Flush()
	want := []string{"one", "two", "three", "    inside vi", "four"}
	if !slices.Equal(got, want) {
		t.Errorf("lines %q, want %q", got, want)
	}
}

// TestOnLineTells: what scrolls away within a region, on the alternate screen
// or by deleting at the top is told too, as tmux, less and vi scroll; nobody
// hides from a search by setting a region first.
func TestOnLineTells(t *testing.T) {
	for _, c := range []struct{ name, in, want string }{
		{"a region", "\x1b[2;4r\x1b[2;1Hone\r\ntwo\r\nthree\r\nfour", "one|two|three|four"},
		{"the alternate screen", "main\x1b[?1049h\x1b[Hone\r\ntwo\r\nthree\r\nfour\r\nfive\x1b[?1049l", "one|two|three|four|five|main"},
		{"an alternate screen that stays", "main\x1b[?1049h\x1b[Halt", "main|alt"},
		{"lines deleted at the top", "one\r\ntwo\x1b[H\x1b[M", "one|two"},
		{"lines deleted below", "one\r\ntwo\r\nthree\x1b[2;1H\x1b[M", "one|three"},
		{"all erased, upwards", "one\r\ntwo\x1b[4;1H\x1b[1Jx", "one|two|x"},
		{"all erased but a letter", "one\r\ntwo\x1b[1;2H\x1b[J", "one|two|o"},
		{"a full reset", "one\r\ntwo\x1bcx", "one|two|x"},
		{"a line erased", "one\r\x1b[2Ktwo", "two"},
		{"the pattern of a test", "\x1b#8\x1b[2Jx", "x"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var got []string
			term := New(20, 4)
			term.OnLine = func(s string, _ int64) { got = append(got, s) }
			term.Write([]byte(c.in))
			term.Flush()
			if s := strings.Join(got, "|"); s != c.want {
				t.Errorf("%q, want %q", s, c.want)
			}
		})
	}
}

// TestOnLineMoments: each line comes with the moment at which it began to be
// printed, for the last time.
func TestOnLineMoments(t *testing.T) {
	var got []string
	term := New(20, 3)
	term.OnLine = func(s string, since int64) { got = append(got, fmt.Sprintf("%s@%d", s, since)) }
	for i, s := range []string{"one\r\n", "tw", "o\r\n50%", "\r90%", " done\r\n", "\x1b[1;1H\x1b[2K", "four", "\x1b[?1049h\x1b[Hvi", "\x1b[?1049l", "\x1b[2J"} {
		term.Moment = int64(i)
		term.Write([]byte(s))
	}
	if s, want := strings.Join(got, " "), "one@0 vi@7 four@6 90% done@3"; s != want {
		t.Errorf("%q, want %q", s, want)
	}
}

// noise is a stream of all that a terminal may be told, with a bias to what
// moves things about.
func stream(r *rand.Rand, n int) []byte {
	var b bytes.Buffer
	words := []string{"ls -l", "日本語", "e\u0301", "─┐", "\xff", "\xe2\x94", "x", "0123456789abcdef"}
	for b.Len() < n {
		switch r.IntN(12) {
		case 0, 1, 2, 3:
			b.WriteString(words[r.IntN(len(words))])
		case 4:
			b.WriteByte("\r\n\t\b\v\x0e\x0f"[r.IntN(7)])
		case 5:
			b.WriteString("\r\n")
		case 6, 7:
			fmt.Fprintf(&b, "\x1b[%d;%d%c", r.IntN(14), r.IntN(30), "HfrmJKABCDG"[r.IntN(11)])
		case 8:
			fmt.Fprintf(&b, "\x1b[%d%c", r.IntN(6), "@ABCDEFGIJKLMPSTXZ`abdeg"[r.IntN(24)])
		case 9:
			fmt.Fprintf(&b, "\x1b[?%d%c", []int{6, 7, 25, 47, 1047, 1048, 1049, 2004}[r.IntN(8)], "hl"[r.IntN(2)])
		case 10:
			fmt.Fprintf(&b, "\x1b[%dm\x1b[38;5;%dm\x1b[48;2;%d;2;3m", r.IntN(50), r.IntN(300), r.IntN(256))
		case 11:
			b.WriteString([]string{"\x1b7", "\x1b8", "\x1bD", "\x1bM", "\x1bE", "\x1bH", "\x1b(0", "\x1b(B", "\x1b)0", "\x1b[4h", "\x1b[4l", "\x1b[20h", "\x1b[20l", "\x1b[!p", "\x1b]0;t\x07", "\x1b[s", "\x1b[u"}[r.IntN(17)])
		}
	}
	return b.Bytes()
}

// sameState reports how a differs from b, "" if it does not.
func sameState(a, b *Terminal) string {
	switch {
	case !slices.Equal(a.Lines(), b.Lines()):
		return fmt.Sprintf("screens differ:\n%s\n---\n%s", screen(a), screen(b))
	case a.cur.x != b.cur.x || a.cur.y != b.cur.y || a.cur.wrap != b.cur.wrap:
		return fmt.Sprintf("cursors differ: %+v, %+v", a.cur, b.cur)
	case !bytes.Equal(a.Snapshot(), b.Snapshot()):
		return fmt.Sprintf("snapshots differ:\n%q\n%q", a.Snapshot(), b.Snapshot())
	}
	return ""
}

// TestSnapshotIsTheState: a terminal that begins from a snapshot and one that
// saw everything cannot be told apart, then and later.
func TestSnapshotIsTheState(t *testing.T) {
	for seed := range uint64(400) {
		r := rand.New(rand.NewPCG(seed, 1))
		a := New(1+r.IntN(30), 1+r.IntN(12))
		a.Write(stream(r, r.IntN(600)))
		if r.IntN(3) == 0 {
			a.Resize(1+r.IntN(30), 1+r.IntN(12))
			a.Write(stream(r, r.IntN(200)))
		}
		b := New(a.cols, a.rows)
		b.Write(a.Snapshot())
		if diff := sameState(a, b); diff != "" {
			t.Fatalf("seed %d, at once: %s", seed, diff)
		}
	}
}

// TestSnapshotKeepsSavedCursors: also that of the screen which is not shown,
// and one at the margin.
func TestSnapshotKeepsSavedCursors(t *testing.T) {
	for _, in := range []string{
		"0123456789\x1b7\x1b[1;1Hx", "\x1b[2;3r0123456789\x1b7\r\n\x1b[K", "日本日本日\x1b7\x1b[2J", "\x1b[31m0123456789\x1b7\x1b[1;10H\x1b[K\x1b[m",
		"\x1b[?1049h\x1b[3;3H\x1b7\x1b[?1049lmain", "\x1b[?1049h\x1b[3;1H0123456789\x1b7\x1b[?1049lmain\x1b7",
	} {
		for _, more := range []string{"\x1b8ab", "\x1b[?1049h\x1b8ab", "\x1b[?1049h\x1b8ab\x1b[?1049l\x1b8cd"} {
			a, b := New(10, 4), New(10, 4)
			a.Write([]byte(in))
			b.Write(a.Snapshot())
			a.Write([]byte(more))
			b.Write([]byte(more))
			if diff := sameState(a, b); diff != "" {
				t.Errorf("%q, then %q: %s", in, more, diff)
			}
		}
	}
}

func TestG11FilterDropsWhatActs(t *testing.T) {
	for _, c := range []struct{ name, in, want string }{
		{"text and colour stay", "\x1b[1;31mred\x1b[0m é日", "\x1b[1;31mred\x1b[0m é日"},
		{"title", "a\x1b]0;evil\x07b", "ab"},
		{"clipboard", "a\x1b]52;c;ZXZpbA==\x1b\\b", "ab"},
		{"hyperlink", "\x1b]8;;http://evil\x1b\\x\x1b]8;;\x1b\\", "x"},
		{"unfinished string", "a\x1b]0;evil", "a"},
		{"device reports", "\x1b[c\x1b[>c\x1b[=c\x1b[6n\x1b[?6n\x1b[5n\x1bZ\x05\x1b[x", ""},
		{"status string, private message, start of string", "\x1bP$qm\x1b\\\x1b^pm\x1b\\\x1bXs\x1b\\\x1b_a\x1b\\", ""},
		{"window operations", "\x1b[8;100;100t\x1b[21t", ""},
		{"mouse, paste and key modes", "\x1b[?1000h\x1b[?1006h\x1b[?2004h\x1b[?1h\x1b=\x1b>", ""},
		{"printing", "\x1b[5i\x1b[?5i", ""},
		{"colours of the palette", "\x1b]4;1;?\x07", ""},
		{"keyboard lock, left and right margins", "\x1b[2h\x1b[?69h", ""},
		{"C1 in UTF-8", "a\u009b6nb\u009d0;x\u009cc", "a6nb0;xc"},
		{"bell", "a\ab", "ab"},
		{"scrollback", "\x1b[3J", ""},
		{"bidirectional", "a\u202eb\u2066c", "a\ufffdb\ufffdc"},
		{"not utf-8", "a\xffb", "a\ufffdb"},
		{"full reset becomes drawing", "\x1bc", Clean},
		{"answerback in a sequence", "\x1b[1\x05m", "\x1b[1m"},
		{"huge parameters", "\x1b[65535C\x1b[99999999999b", "\x1b[9999C\x1b[9999b"},
		{"8-bit escape", "a\x1b[\x9b6nb", "a\ufffd6nb"},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, step := range []int{1, len(c.in)} {
				var f Filter
				var got []byte
				for i := 0; i < len(c.in); i += step {
					got = f.Append(got, []byte(c.in[i:min(i+step, len(c.in))]))
				}
				if string(got) != c.want {
					t.Errorf("%q, want %q", got, c.want)
				}
			}
		})
	}
}

// TestFilterKeepsTheScreen: what the filter passes on draws the same screen.
func TestFilterKeepsTheScreen(t *testing.T) {
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 2))
		in := stream(r, 500)
		a, b := New(20, 8), New(20, 8)
		a.Write(in)
		var f Filter
		b.Write(f.Append(nil, in))
		if a, b := screen(a), screen(b); a != b {
			t.Fatalf("seed %d: the screens differ:\n%s\n---\n%s", seed, a, b)
		}
	}
}

func BenchmarkTerminal(b *testing.B) {
	var log bytes.Buffer
	for i := 0; log.Len() < 1<<20; i++ {
		fmt.Fprintf(&log, "2026-11-22T06:11:28Z INFO request id=%d path=/api/v1/orders status=200\r\n", i)
	}
	for _, c := range []struct {
		name string
		in   []byte
	}{{"log", log.Bytes()}, {"mixed", stream(rand.New(rand.NewPCG(1, 1)), 1<<20)}} {
		b.Run(c.name, func(b *testing.B) {
			b.SetBytes(int64(len(c.in)))
			b.ReportAllocs()
			t := New(120, 40)
			for b.Loop() {
				t.Write(c.in)
			}
		})
	}
}
