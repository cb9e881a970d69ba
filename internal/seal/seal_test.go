package seal

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func newBox(t *testing.T) *Box {
	t.Helper()
	b, err := New(GenerateKey())
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestG8SealedValueBelongsToItsRow: a sealed secret opens only under the key
// and for the row that it was sealed for, and any changed bit is refused.
func TestG8SealedValueBelongsToItsRow(t *testing.T) {
	b := newBox(t)
	plain := []byte("JBSWY3DPEHPK3PXP")
	sealed := b.Seal(plain, "factor/F1")
	if bytes.Contains(sealed, plain) {
		t.Fatal("the sealed value shows the secret")
	}
	got, err := b.Open(sealed, "factor/F1")
	if err != nil || !bytes.Equal(got, plain) {
		t.Fatalf("Open = %q, %v; want the secret", got, err)
	}
	if _, err := b.Open(sealed, "factor/F2"); !errors.Is(err, ErrOpen) {
		t.Errorf("moved to another row: %v, want ErrOpen", err)
	}
	if _, err := newBox(t).Open(sealed, "factor/F1"); !errors.Is(err, ErrKey) {
		t.Errorf("under another key: %v, want ErrKey", err)
	}
	for i := range sealed {
		for bit := range 8 {
			bad := bytes.Clone(sealed)
			bad[i] ^= 1 << bit
			if _, err := b.Open(bad, "factor/F1"); err == nil {
				t.Fatalf("byte %d bit %d changed, and it opened", i, bit)
			}
		}
	}
	for n := range sealed {
		if _, err := b.Open(sealed[:n], "factor/F1"); err == nil {
			t.Fatalf("cut to %d bytes, and it opened", n)
		}
	}
	if bytes.Equal(sealed, b.Seal(plain, "factor/F1")) {
		t.Error("the same secret sealed twice looks the same")
	}
}

func TestG8KeyFileIsPrivate(t *testing.T) {
	path := filepath.Join(t.TempDir(), "seal.key")
	if err := CreateKey(path); err != nil {
		t.Fatal(err)
	}
	if err := CreateKey(path); !errors.Is(err, fs.ErrExist) {
		t.Errorf("a second CreateKey: %v, want ErrExist", err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("mode %v, %v; want 0600", info.Mode(), err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	b1, err := ParseKey(string(text), path)
	if err != nil {
		t.Fatal(err)
	}
	b2, err := ParseKey(string(text), path)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := b2.Open(b1.Seal([]byte("x"), "a"), "a"); err != nil || string(got) != "x" {
		t.Errorf("the key read twice is not the same: %q, %v", got, err)
	}
}

func TestMalformedKeyIsNotRepeated(t *testing.T) {
	for _, text := range []string{"", "short", "c2hvcnQ=", strings.Repeat("A", 44) + "secret"} {
		_, err := ParseKey(text, "seal.key")
		if err == nil {
			t.Errorf("ParseKey(%q) accepted it", text)
		} else if text != "" && strings.Contains(err.Error(), text) {
			t.Errorf("the error repeats the key: %v", err)
		}
	}
}

func FuzzOpen(f *testing.F) {
	b, err := New(make([]byte, KeySize))
	if err != nil {
		f.Fatal(err)
	}
	f.Add([]byte{}, "a")
	f.Add(b.Seal([]byte("x"), "a"), "a")
	f.Add(b.Seal(nil, ""), "b")
	f.Fuzz(func(t *testing.T, sealed []byte, aad string) {
		plain, err := b.Open(sealed, aad)
		if err != nil {
			return
		}
		if got, err := b.Open(b.Seal(plain, aad), aad); err != nil || !bytes.Equal(got, plain) {
			t.Fatalf("a value that opened does not survive: %v", err)
		}
	})
}
