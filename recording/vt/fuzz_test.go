package vt

import (
	"math/rand/v2"
	"os"
	"testing"
)

// FuzzTerminal: no stream breaks the terminal or the filter; how it is cut
// makes no difference; a snapshot draws the same screen; what the filter has
// passed on, it passes on again unchanged.
func FuzzTerminal(f *testing.F) {
	vim, err := os.ReadFile("testdata/vim.raw")
	if err != nil {
		f.Fatal(err)
	}
	seeds := [][]byte{vim[:4096], []byte("\x1b[?1049h\x1b[2;3r\x1b[?6h日本\x1b7\x1b]52;c;YQ==\x07\x1b[c\xff\xe2\x94")}
	for seed := range uint64(8) {
		seeds = append(seeds, stream(rand.New(rand.NewPCG(seed, 9)), 300))
	}
	for _, s := range seeds {
		f.Add(s, uint8(20), uint8(6), uint16(len(s)/2))
	}
	f.Fuzz(func(t *testing.T, in []byte, cols, rows uint8, cut uint16) {
		in = in[:min(len(in), 8<<10)]
		k := min(int(cut), len(in))
		a, b := New(int(cols), int(rows)), New(int(cols), int(rows))
		a.Write(in)
		b.Write(in[:k])
		b.Write(in[k:])
		if as, bs := screen(a), screen(b); as != bs {
			t.Fatalf("written in two parts the screen is\n%s\nat once\n%s", bs, as)
		}
		c := New(a.cols, a.rows)
		c.Write(a.Snapshot())
		if n := len(c.Lines()); n != a.rows {
			t.Fatalf("%d lines on a screen of %d", n, a.rows)
		}
		a.Resize(int(rows), int(cols))
		a.Write(in)

		var f1, f2 Filter
		once := f1.Append(nil, in)
		if twice := f2.Append(nil, once); string(twice) != string(once) {
			t.Fatalf("filtered once:  %q\nfiltered twice: %q", once, twice)
		}
	})
}
