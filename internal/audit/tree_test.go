package audit

import (
	"crypto/sha256"
	"slices"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/tlog"
)

// naive is RFC 6962, section 2.1, as it is written there.
func naive(leaves [][]byte) tlog.Hash {
	switch len(leaves) {
	case 0:
		return sha256.Sum256(nil)
	case 1:
		return sha256.Sum256(append([]byte{0}, leaves[0]...))
	}
	k := 1
	for k*2 < len(leaves) {
		k *= 2
	}
	l, r := naive(leaves[:k]), naive(leaves[k:])
	return sha256.Sum256(append(append([]byte{1}, l[:]...), r[:]...))
}

// TestEdgeIsRFC6962 compares with the definition and with tlog at every size.
func TestEdgeIsRFC6962(t *testing.T) {
	var e Edge
	var leaves [][]byte
	var stored []tlog.Hash
	reader := tlog.HashReaderFunc(func(index []int64) ([]tlog.Hash, error) {
		var out []tlog.Hash
		for _, i := range index {
			out = append(out, stored[i])
		}
		return out, nil
	})
	for n := range int64(130) {
		if got, want := e.Tree(), naive(leaves); got.N != n || got.Hash != want {
			t.Fatalf("root of %d leaves: %v, want %v", n, got.Hash, want)
		}
		loaded, err := LoadEdge(n, reader)
		if err != nil || loaded.Tree() != e.Tree() {
			t.Fatalf("edge of %d leaves, loaded: %v, %v", n, loaded.Tree(), err)
		}
		leaf := []byte{byte(n), 'x'}
		want, err := tlog.StoredHashes(n, leaf, reader)
		if err != nil {
			t.Fatal(err)
		}
		before := e.Clone()
		got := e.Append(tlog.RecordHash(leaf))
		if !slices.Equal(got, want) {
			t.Fatalf("hashes to store with leaf %d: %v, want %v", n, got, want)
		}
		if before.Size() != n || before.Tree().Hash != naive(leaves) {
			t.Fatal("a clone changed with the original")
		}
		for place := range got {
			at, p := StoredAt(int64(len(stored) + place))
			if at != n || p != place {
				t.Fatalf("StoredAt(%d) = %d, %d; want %d, %d", len(stored)+place, at, p, n, place)
			}
		}
		stored = append(stored, got...)
		leaves = append(leaves, leaf)
	}
}

func TestProofs(t *testing.T) {
	l, s, vkey := signedLog(t, 12)
	c := l.points[3]
	proof, err := Prove(t.Context(), l, 5, c)
	if err != nil {
		t.Fatal(err)
	}
	if seq, got, err := CheckProof(proof, l.leaves[5].Data, vkey); err != nil || seq != 5 || got.Size != 12 {
		t.Fatalf("%d, %+v, %v", seq, got, err)
	}
	withExtra := strings.Replace(string(proof), "index", "extra eA==\nindex", 1)
	if _, _, err := CheckProof([]byte(withExtra), l.leaves[5].Data, vkey); err != nil {
		t.Errorf("with an extra line: %v", err)
	}
	_, otherKey := newSigner(t)
	bad := map[string]func() ([]byte, []byte, string){
		"another event": func() ([]byte, []byte, string) { return proof, l.leaves[6].Data, vkey },
		"another key":   func() ([]byte, []byte, string) { return proof, l.leaves[5].Data, otherKey },
		"another index": func() ([]byte, []byte, string) {
			return []byte(strings.Replace(string(proof), "index 5", "index 6", 1)), l.leaves[5].Data, vkey
		},
		"an index after": func() ([]byte, []byte, string) {
			return []byte(strings.Replace(string(proof), "index 5", "index 12", 1)), l.leaves[5].Data, vkey
		},
		"cut":       func() ([]byte, []byte, string) { return proof[:len(proof)-20], l.leaves[5].Data, vkey },
		"no header": func() ([]byte, []byte, string) { return proof[1:], l.leaves[5].Data, vkey },
		"long": func() ([]byte, []byte, string) {
			return append(proof, make([]byte, maxProof)...), l.leaves[5].Data, vkey
		},
	}
	for name, f := range bad {
		if _, _, err := CheckProof(f()); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	if _, err := Prove(t.Context(), l, 12, c); err == nil {
		t.Error("an event after the checkpoint was proved")
	}

	for _, older := range l.points {
		p, err := ProveConsistency(t.Context(), l, older, c)
		if err != nil {
			t.Fatal(err)
		}
		if err := CheckConsistency(p, older, c); err != nil {
			t.Errorf("%d in %d: %v", older.Size, c.Size, err)
		}
		forged := older
		forged.Root[0] ^= 1
		if err := CheckConsistency(p, forged, c); err == nil {
			t.Errorf("%d in %d: another root was accepted", older.Size, c.Size)
		}
	}
	if err := CheckConsistency(nil, c, l.points[0]); err == nil {
		t.Error("a log that shrank is consistent")
	}
	if empty, err := s.Sign((&Edge{}).Tree()); err != nil || CheckConsistency(nil, empty, c) != nil {
		t.Error("the empty log is not the beginning of every log")
	}
}

func TestKeys(t *testing.T) {
	for _, name := range []string{"", "a b", "a+b", "a\nb", strings.Repeat("x", 300)} {
		if _, _, err := GenerateKey(name); err == nil {
			t.Errorf("a log may be called %q", name)
		}
	}
	skey, _, err := GenerateKey("gw")
	if err != nil {
		t.Fatal(err)
	}
	for _, bad := range []string{"", "PRIVATE+KEY", skey[:len(skey)-6], strings.Replace(skey, "gw", "other", 1)} {
		_, err := NewSigner(bad)
		if err == nil {
			t.Errorf("NewSigner accepted %q", bad)
		} else if len(bad) > 20 && strings.Contains(err.Error(), bad[15:]) {
			t.Error("the error repeats the key")
		}
	}
	if _, err := NewSigner(skey + "\n"); err != nil { // as a file ends
		t.Error(err)
	}
}
