package command

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"
)

func TestTableAligns(t *testing.T) {
	tb := newTable("USER", "REASON", "X")
	tb.row("alice", "nginx", "1")
	tb.row("日本", cell{"é́", red}, "2")
	tb.row("bob", "", "")
	var b bytes.Buffer
	if err := tb.write(&b, false); err != nil {
		t.Fatal(err)
	}
	want := "USER   REASON  X\nalice  nginx   1\n日本   é́       2\nbob\n"
	if b.String() != want {
		t.Errorf("got\n%s\nwant\n%s", b.String(), want)
	}
	b.Reset()
	_ = tb.write(&b, true)
	if !strings.Contains(b.String(), "\x1b[31m") {
		t.Error("no colour on a terminal")
	}
}

func TestG11TablesAndJSONKeepHostileTextText(t *testing.T) {
	hostile := "a\x1b]52;c;cm0=\x07\r\nb\u202ec\u009bd"
	tb := newTable("REASON")
	tb.row(hostile)
	var b bytes.Buffer
	_ = tb.write(&b, true)
	j, err := encodeJSON(map[string]string{"reason": hostile, "\U000E0001": "tag"}, "  ")
	if err != nil {
		t.Fatal(err)
	}
	for name, out := range map[string]string{"table": strings.NewReplacer(string(dim), "", reset, "").Replace(b.String()), "json": string(j)} {
		if strings.ContainsAny(out, "\x1b\x07\r\u202e\u009b\U000E0001") {
			t.Errorf("%s lets it through: %q", name, out)
		}
	}
	var back map[string]string
	if err := json.Unmarshal(j, &back); err != nil || back["reason"] != hostile || back["\U000E0001"] != "tag" {
		t.Errorf("JSON does not say the same any more: %q, %v", back, err)
	}
}

func TestQRText(t *testing.T) {
	s, err := qrText("https://gw.example:8443/sign-in?t=abc")
	if err != nil {
		t.Fatal(err)
	}
	rows := strings.Split(strings.TrimSuffix(s, "\n"), "\n")
	for _, r := range rows {
		if columns(r) != columns(rows[0]) {
			t.Fatalf("ragged: %d and %d", columns(r), columns(rows[0]))
		}
	}
	// A finder pattern: 7 dark modules across in a quiet zone of two.
	if !strings.HasPrefix(rows[1], "██ ▄▄▄▄▄ ") {
		t.Errorf("row %q", rows[1])
	}
	if _, err := qrText(strings.Repeat("x", 5000)); err == nil {
		t.Error("5,000 bytes fit no QR code")
	}
}

func TestCleanID(t *testing.T) {
	for in, want := range map[string]string{"r7k2": "R7K2", " R7K2 ": "R7K2", "gol1": "G011", "S-7K2-9": "S7K29", "": "", "r": "R"} {
		if got := cleanID(in); got != want {
			t.Errorf("cleanID(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestParseStart(t *testing.T) {
	now := time.Date(2026, 11, 22, 14, 0, 0, 0, time.UTC)
	for in, want := range map[string]string{
		"14:30": "2026-11-22T14:30:00Z", "13:00": "2026-11-23T13:00:00Z", "+2h": "2026-11-22T16:00:00Z", "in 30m": "2026-11-22T14:30:00Z",
		"2026-12-01T09:00": "2026-12-01T09:00:00Z", "2026-12-01 09:00": "2026-12-01T09:00:00Z", "2026-12-01T09:00:00+01:00": "2026-12-01T08:00:00Z",
	} {
		got, err := parseStart(in, now)
		if err != nil || got.UTC().Format(time.RFC3339) != want {
			t.Errorf("parseStart(%q) = %v, %v; want %s", in, got, err, want)
		}
	}
	for _, in := range []string{"tomorrow", "25:00", "+", "2020-01-01T00:00"} {
		if got, err := parseStart(in, now); err == nil {
			t.Errorf("parseStart(%q) = %v", in, got)
		}
	}
}
