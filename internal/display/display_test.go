package display

import (
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

// TestG11HostileTextStaysText: what moves a cursor, reorders or hides text
// comes out as visible escapes on one line.
func TestG11HostileTextStaysText(t *testing.T) {
	for in, want := range map[string]string{
		"plain text, ünïcode 字": "plain text, ünïcode 字",
		"a\nb\rc\td":            `a\nb\rc\td`,
		"\x1b]0;title\x07":      `\x1b]0;title\x07`,
		"\u009b31m":             `\x9b31m`,
		"\x7f":                  `\x7f`,
		"bad \xff utf8":         `bad \xff utf8`,
		"admin\u202Etxt":        `admin\u{202e}txt`,
		"a\u200bb":              `a\u{200b}b`,
		"a\u2028b":              `a\u{2028}b`,
		"a\ufe0fb":              `a\u{fe0f}b`,
		"a\u00a0b":              `a\xa0b`,
		"a\u3164b":              `a\u{3164}b`,
		"\ufeffx":               `\u{feff}x`,
	} {
		if got := Line(in, 0); got != want {
			t.Errorf("Line(%q) = %q, want %q", in, got, want)
		}
	}
	if got := Line(strings.Repeat("x", 20), 5); got != "xxxxx…" {
		t.Errorf("capped: got %q", got)
	}
}

func TestG11CellIsNoFormula(t *testing.T) {
	for _, in := range []string{"=1+1", "+1", "-1", "@x", "|x", "%x", "\t=1"} {
		if got := Cell(in); strings.ContainsAny(got[:1], "=+-@|%\t") {
			t.Errorf("Cell(%q) = %q", in, got)
		}
	}
	if got := Cell("plain"); got != "plain" {
		t.Errorf("got %q", got)
	}
}

func FuzzLine(f *testing.F) {
	f.Add("a\x1b[2J\u202e\xff", 10)
	f.Fuzz(func(t *testing.T, s string, max int) {
		out := Line(s, max)
		if !utf8.ValidString(out) {
			t.Fatalf("not UTF-8: %q", out)
		}
		for _, r := range out {
			if unicode.IsControl(r) || hidden(r) {
				t.Fatalf("%q holds %U", out, r)
			}
		}
	})
}
