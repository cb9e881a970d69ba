package dialogue

import (
	"slices"
	"testing"
	"time"
)

func TestParseDuration(t *testing.T) {
	for in, want := range map[string]time.Duration{
		"30m": 30 * time.Minute, "1h": time.Hour, "1h30m": 90 * time.Minute, "90": 90 * time.Minute, "2d": 48 * time.Hour, "1d12h": 36 * time.Hour,
		"45 min": 45 * time.Minute, "1H": time.Hour, "90s": 90 * time.Second,
	} {
		if got, err := ParseDuration(in); err != nil || got != want {
			t.Errorf("ParseDuration(%q) = %v, %v; want %v", in, got, err, want)
		}
	}
	for _, in := range []string{"", "0", "-1h", "soon", "1x", "d", "h", "99999999999999999999h", "1d-2h", "0s"} {
		if got, err := ParseDuration(in); err == nil {
			t.Errorf("ParseDuration(%q) = %v", in, got)
		}
	}
}

func TestDurationsAsPeopleSayThem(t *testing.T) {
	for d, want := range map[time.Duration][2]string{
		30 * time.Minute: {"30m", "30 min"}, 90 * time.Minute: {"1h30m", "1 h 30 min"}, 45 * time.Second: {"45s", "45 s"},
		48 * time.Hour: {"2d", "2 d"}, 0: {"0s", "0 s"}, -time.Second: {"0s", "0 s"}, 30*time.Minute - time.Second: {"30m", "30 min"},
	} {
		if s, l := ShortDuration(d), LongDuration(d); s != want[0] || l != want[1] {
			t.Errorf("%v: %q and %q, want %q", d, s, l, want)
		}
	}
}

func TestSplit(t *testing.T) {
	for in, want := range map[string][]string{
		"": nil, "  ": nil, "requests": {"requests"}, "approve R1 R2": {"approve", "R1", "R2"},
		`deny R1 --reason 'not now, "bob"'`: {"deny", "R1", "--reason", `not now, "bob"`},
		`a "b \"c\" \n" d\ e`:               {"a", `b "c" \n`, "d e"},
		`a '' ""`:                           {"a", "", ""},
		"a\tb\nc":                           {"a", "b", "c"},
		"$(reboot) ; `x` | y > z *":         {"$(reboot)", ";", "`x`", "|", "y", ">", "z", "*"},
	} {
		got, err := Split(in)
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("Split(%q) = %q, %v; want %q", in, got, err, want)
		}
	}
	for _, in := range []string{`a 'b`, `a "b`, `a\`} {
		if got, err := Split(in); err == nil {
			t.Errorf("Split(%q) = %q", in, got)
		}
	}
}

func FuzzSplit(f *testing.F) {
	for _, s := range []string{"", "a b", `a 'b c'`, `"\""`, `\ `, "é\x00\xff"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		words, err := Split(s)
		if err == nil && len(words) > len(s) {
			t.Errorf("%d words of %d bytes", len(words), len(s))
		}
	})
}
