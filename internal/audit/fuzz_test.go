package audit

import (
	"bytes"
	"context"
	"strings"
	"testing"
)

func FuzzParseCheckpoint(f *testing.F) {
	f.Add("gw\n3\nAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n")
	f.Add("gw\n03\n\n")
	f.Add("")
	f.Fuzz(func(t *testing.T, text string) {
		origin, tree, err := ParseCheckpoint(text)
		if err != nil {
			return
		}
		if again := FormatCheckpoint(origin, tree); !strings.HasPrefix(text, again) {
			t.Fatalf("%q was read as %q", text, again)
		}
	})
}

func FuzzCheckProof(f *testing.F) {
	l := newLog(f, 5)
	s, vkey := newSigner(f)
	c := l.sign(f, s)
	for seq := range c.Size {
		p, err := Prove(context.Background(), l, seq, c)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(p, l.leaves[seq].Data)
	}
	f.Fuzz(func(t *testing.T, proof, leaf []byte) {
		seq, got, err := CheckProof(proof, leaf, vkey)
		if err != nil {
			return
		}
		if got.Size != c.Size || !bytes.Equal(leaf, l.leaves[seq].Data) {
			t.Fatalf("a proof of something that is not in the log: %q", leaf)
		}
	})
}

func FuzzFile(f *testing.F) {
	l := newLog(f, 5)
	s, vkey := newSigner(f)
	l.sign(f, s)
	var export bytes.Buffer
	if _, err := Export(context.Background(), l, &export); err != nil {
		f.Fatal(err)
	}
	intact := export.Bytes()
	f.Add(intact)
	f.Add([]byte("{\n"))
	f.Fuzz(func(t *testing.T, file []byte) {
		r, err := Verify(t.Context(), File{bytes.NewReader(file)}, vkey, VerifyOptions{})
		if err == nil && r.Intact() && r.Signed > 0 {
			want := bytes.SplitN(intact, []byte("\n"), 6)[:5]
			got := bytes.SplitN(file, []byte("\n"), 6)
			for i := range want {
				if !bytes.Equal(bytes.TrimSuffix(got[i], []byte("\r")), want[i]) {
					t.Fatalf("changed, and found intact: %q", file)
				}
			}
		}
	})
}
