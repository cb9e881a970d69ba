package notify

import (
	"bytes"
	"io"
	"mime"
	"mime/quotedprintable"
	"net/mail"
	"strings"
	"testing"
	"time"

	"jit-gateway/internal/identity"
)

func TestG11AddressesEndNoCommand(t *testing.T) {
	for _, bad := range []string{"", "bob", "bob@", "@example.org", "Bob <bob@example.org>", "bob@example.org\r\nRCPT TO:<eve@example.org>", "bob@example.org>",
		"<bob@example.org>", "bob@example.org, eve@example.org", `"bob"@example.org`, "bob@[127.0.0.1]", "böb@example.org", "bob @example.org",
		"bob@example.org\x00", strings.Repeat("b", 250) + "@example.org"} {
		if a, err := address(bad); err == nil {
			t.Errorf("%q was taken as %q", bad, a)
		}
	}
	for _, good := range []string{"bob@example.org", "bob.builder+jit@mail.example.org", "o'brien@example.org"} {
		if _, err := address(good); err != nil {
			t.Errorf("%q: %v", good, err)
		}
	}
}

// FuzzLetter: whatever people typed, a mail has the headers that we gave it,
// each line is short and ASCII, and the subject reads as it was meant.
func FuzzLetter(f *testing.F) {
	f.Add("alice", "nginx 502s")
	f.Add("a\r\nBcc: evil@example.org", "\r\n.\r\nMAIL FROM:<x>\r\n")
	f.Add("=?utf-8?q?x?=", strings.Repeat("ü", 500))
	f.Add("\xff\xfe", "=3D =\n.")
	from := &mail.Address{Name: "gateway", Address: "jit@example.org"}
	f.Fuzz(func(t *testing.T, name, reason string) {
		m := Message{ID: "E1", Title: text("%s asks", name), Link: "https://gate.example.org/requests/R1", Next: text("ssh gw approve %s", name)}
		m.fact("reason", reason)
		to, raw, err := letter(m, from, identity.User{ID: "U1", Email: "bob@example.org"}, "gw", time.Unix(1700000000, 0))
		if err != nil || to != "bob@example.org" {
			t.Fatal(to, err)
		}
		for _, l := range bytes.Split(raw, []byte("\r\n")) {
			if len(l) > 78 || bytes.ContainsFunc(l, func(r rune) bool { return r < ' ' && r != '\t' || r > '~' }) {
				t.Fatalf("line %q", l)
			}
		}
		got, err := mail.ReadMessage(bytes.NewReader(raw))
		if err != nil {
			t.Fatal(err)
		}
		if len(got.Header) != 10 {
			t.Fatalf("headers: %v", got.Header)
		}
		subject, err := new(mime.WordDecoder).DecodeHeader(got.Header.Get("Subject"))
		if err != nil || subject != "[gw] "+m.Title.Plain() {
			t.Fatalf("subject %q, want %q, %v", subject, "[gw] "+m.Title.Plain(), err)
		}
		b, err := io.ReadAll(quotedprintable.NewReader(got.Body))
		if err != nil || strings.ReplaceAll(string(b), "\r\n", "\n") != body(m) {
			t.Fatalf("body %q, %v", b, err)
		}
		if s := mrkdwn(m); strings.Count(s, "<") != 1 || strings.Count(s, "`")%2 != 0 {
			t.Fatalf("chat: %q", s)
		}
	})
}
