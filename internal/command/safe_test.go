package command

import (
	"bytes"
	"strings"
	"testing"
)

func safe(parts ...string) string {
	var b bytes.Buffer
	w := &safeWriter{w: &b}
	for _, p := range parts {
		_, _ = w.Write([]byte(p))
	}
	return b.String()
}

func TestG11WatchedOutputCannotActOnTheWatcher(t *testing.T) {
	for name, tc := range map[string]struct{ in, want string }{
		"text":               {"héllo 日本\r\n", "héllo 日本\r\n"},
		"colour":             {"\x1b[1;31mred\x1b[0m \x1b[38:2::1:2:3mx", "\x1b[1;31mred\x1b[0m \x1b[38:2::1:2:3mx"},
		"cursor":             {"\x1b[2J\x1b[3;4H\x1b[K\x1b7\x1b8\x1bM", "\x1b[2J\x1b[3;4H\x1b[K\x1b7\x1b8\x1bM"},
		"alternate screen":   {"\x1b[?1049h\x1b[?25l", "\x1b[?1049h\x1b[?25l"},
		"line drawing":       {"\x1b(0lqk\x1b(B", "\x1b(0lqk\x1b(B"},
		"clipboard":          {"a\x1b]52;c;cm0=\x07b", "ab"},
		"title, ST":          {"a\x1b]0;evil\x1b\\b", "ab"},
		"hyperlink":          {"\x1b]8;;http://x\x1b\\t\x1b]8;;\x1b\\", "t"},
		"DCS":                {"a\x1bP$q\"p\x1b\\b", "ab"},
		"APC":                {"a\x1b_Gf=1\x1b\\b", "ab"},
		"screen title":       {"a\x1bkevil\x1b\\b", "ab"},
		"status query":       {"a\x1b[6nb", "ab"},
		"attributes query":   {"a\x1b[cb\x1b[>cc\x1b[=c", "abc"},
		"window operation":   {"a\x1b[21tb", "ab"},
		"mouse mode":         {"a\x1b[?1000hb\x1b[?1003;1006h", "ab"},
		"paste mode":         {"a\x1b[?2004hb", "ab"},
		"mixed modes":        {"a\x1b[?25;1000hb", "ab"},
		"reset":              {"a\x1bcb", "ab"},
		"8-bit CSI":          {"a\x9b6nb", "a\ufffd6nb"},
		"C1 in UTF-8":        {"a\u009b6nb", "a6nb"},
		"bell and NUL":       {"a\x07\x00b", "ab"},
		"broken UTF-8":       {"a\xc3(b", "a\ufffd(b"},
		"escape in escape":   {"a\x1b[\x1b[31mb", "a\x1b[31mb"},
		"unfinished OSC":     {"a\x1b]0;evil", "a"},
		"endless CSI":        {"a\x1b[" + strings.Repeat("1;", 200) + "mb", "ab"},
		"keyboard programme": {"a\x1b[0;68;113pb", "ab"},
	} {
		if got := safe(tc.in); got != tc.want {
			t.Errorf("%s: %q, want %q", name, got, tc.want)
		}
		if got := safe(strings.Split(tc.in, "")...); !strings.Contains(tc.in, "\x9b") && !strings.Contains(tc.in, "\xc3(") && got != tc.want {
			t.Errorf("%s, byte by byte: %q, want %q", name, got, tc.want)
		}
	}
}

func FuzzSafeWriter(f *testing.F) {
	for _, s := range []string{"plain", "\x1b[31mred", "\x1b]52;c;eA==\x07", "\x1b[?2004h", "\x1bP1\x1b\\", "\xe2\x82", "\x1b[6n\x9b6n"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, p []byte) {
		var whole, bytewise bytes.Buffer
		w := &safeWriter{w: &whole}
		_, _ = w.Write(p)
		b := &safeWriter{w: &bytewise}
		for i := range p {
			_, _ = b.Write(p[i : i+1])
		}
		if whole.String() != bytewise.String() {
			t.Fatalf("%q whole, %q byte by byte", whole.String(), bytewise.String())
		}
		if out := whole.String(); strings.ContainsAny(out, "\x07\x00") || strings.Contains(out, "\x1b]") || strings.Contains(out, "\x1bP") ||
			strings.Contains(out, "\x1b[6n") || strings.Contains(out, "\x1b[c") {
			t.Fatalf("let through: %q", out)
		}
		// What is let through once is let through again: nothing is put together from pieces.
		if again := safe(whole.String()); again != whole.String() {
			t.Fatalf("%q became %q", whole.String(), again)
		}
	})
}
