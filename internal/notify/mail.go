package notify

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"mime/quotedprintable"
	"net/mail"
	"strings"
	"time"
	"unicode/utf8"

	"jit-gateway/internal/identity"
)

// letter is one mail: RFC 5322 with a plain text body in quoted-printable.
// Each recipient gets their own, so that nobody reads who else was told.
func letter(m Message, from *mail.Address, to identity.User, gateway string, now time.Time) (addr string, raw []byte, err error) {
	addr, err = address(to.Email)
	if err != nil {
		return "", nil, err
	}
	var b bytes.Buffer
	head := func(name, value string) {
		// Nothing that gets here holds a line break of somebody else's: addresses
		// are checked, the subject is encoded. Should that ever be wrong, it must
		// not become a header of their choice; only our own folding is kept.
		fmt.Fprintf(&b, "%s: %s\r\n", name, strings.NewReplacer("\r\n =?", "\r\n =?", "\r", "", "\n", "").Replace(value))
	}
	subject := "[" + gateway + "] " + m.Title.Plain()
	head("Date", now.UTC().Format(time.RFC1123Z))
	head("From", from.String())
	head("To", "<"+addr+">")
	head("Subject", encoded(subject))
	head("Message-ID", messageID(m.ID, to.ID, from.Address))
	head("Auto-Submitted", "auto-generated") // RFC 3834: no holiday replies
	head("X-Auto-Response-Suppress", "All")
	if m.Urgent {
		head("Importance", "high")
		head("X-Priority", "1")
	}
	head("MIME-Version", "1.0")
	head("Content-Type", "text/plain; charset=utf-8")
	head("Content-Transfer-Encoding", "quoted-printable")
	b.WriteString("\r\n")
	q := quotedprintable.NewWriter(&b)
	if _, err := q.Write([]byte(strings.ReplaceAll(body(m), "\n", "\r\n"))); err != nil {
		return "", nil, err
	}
	if err := q.Close(); err != nil {
		return "", nil, err
	}
	return addr, b.Bytes(), nil
}

// encoded is a header value in lines of at most 75 characters: encoded words
// (RFC 2047) unless it is short plain ASCII.
func encoded(s string) string {
	if len(s) <= 60 && !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r > '~' }) && !strings.Contains(s, "=?") {
		return s
	}
	var out []string
	for len(s) > 0 { // at most 39 bytes each, never within a character
		n := min(len(s), 39)
		for n < len(s) && !utf8.RuneStart(s[n]) {
			n--
		}
		out = append(out, "=?utf-8?b?"+base64.StdEncoding.EncodeToString([]byte(s[:n]))+"?=")
		s = s[n:]
	}
	return strings.Join(out, "\r\n ")
}

// messageID is the same at every try, so that mailboxes and people see a
// message once.
func messageID(id, userID, from string) string {
	_, domain, _ := strings.Cut(from, "@")
	sum := sha256.Sum256([]byte(id + "\x00" + userID))
	return "<" + hex.EncodeToString(sum[:16]) + "@" + domain + ">"
}

// body is what people read. Values are indented lines below our own names, so
// that no reason can pose as a line of ours.
func body(m Message) string {
	var b strings.Builder
	b.WriteString(m.Title.Show(quiet) + "\n\n")
	wide := 0
	for _, f := range m.Facts {
		wide = max(wide, len(f.Name))
	}
	for _, f := range m.Facts {
		fmt.Fprintf(&b, "  %-*s  %s\n", wide, f.Name, quiet(f.Value))
	}
	if m.Link != "" {
		b.WriteString("\nOn the page, after signing in: " + m.Link + "\n")
	}
	if m.Next.format != "" {
		b.WriteString("\nIn a terminal: " + m.Next.Plain() + "\n")
	}
	b.WriteString("\nThis mail decides nothing, and neither does its link: answering wants your sign-in and a fresh second factor.\n")
	return b.String()
}

// quiet is a value that no mail program makes a link of.
func quiet(s string) string {
	return strings.NewReplacer("://", "[://]", "www.", "www[.]", "WWW.", "WWW[.]").Replace(line(s))
}

// address checks a mail address: the bare form, of ASCII, that can neither
// end a command of SMTP nor a header.
func address(s string) (string, error) {
	a, err := mail.ParseAddress(s)
	switch {
	case err != nil || a.Address != s:
		return "", errors.New("it is not a plain mail address")
	case strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' || strings.ContainsRune("<>(),;:\\\"[]", r) }):
		return "", errors.New("it holds characters that a mail address of ours may not")
	case len(s) > 254:
		return "", errors.New("it is too long")
	}
	return s, nil
}
