package search

import (
	"math/rand/v2"
	"strings"
	"testing"
)

func TestNoiseIsNotText(t *testing.T) {
	for _, text := range []string{"", "a", "nginx: [emerg] bind() failed", "Größe 12 µs – 日本語", "\x1b[1;31merror\x1b[0m x", "50%\b\b\b60%\b\b\b70%\r", "caf\ufffd au lait"} {
		if noise(text) {
			t.Errorf("%q would not be found", text)
		}
	}
	r := rand.New(rand.NewPCG(1, 2))
	for range 100 {
		b := make([]byte, 256)
		for i := range b {
			b[i] = byte(r.Uint32())
		}
		if line := strings.ToValidUTF8(string(b), "\ufffd"); !noise(line) {
			t.Errorf("indexed: %q", line)
		}
	}
}
