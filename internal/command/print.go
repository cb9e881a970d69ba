package command

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"

	"jit-gateway/internal/dialogue"
	"jit-gateway/internal/display"
)

// print writes lines of the result to stdout.
func (c *call) print(format string, args ...any) {
	_, _ = fmt.Fprintf(c.out, format+"\n", args...)
}

// json writes v as the result, indented.
func (c *call) json(v any) error {
	b, err := encodeJSON(v, "  ")
	if err != nil {
		return err
	}
	_, err = c.out.Write(b)
	return err
}

// jsonLine writes v on one line, for streams.
func (c *call) jsonLine(v any) error {
	b, err := encodeJSON(v, "")
	if err != nil {
		return err
	}
	_, err = c.out.Write(b)
	return err
}

// encodeJSON is JSON in which hostile text stays text: whatever a terminal
// would not show as itself is a \u escape, which programs read alike.
func encodeJSON(v any, indent string) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", indent)
	if err := enc.Encode(v); err != nil {
		return nil, fmt.Errorf("encode the result: %w", err)
	}
	raw := b.Bytes()
	if !bytes.ContainsFunc(raw, escapes) {
		return raw, nil
	}
	out := make([]byte, 0, len(raw)+64)
	for len(raw) > 0 {
		r, n := utf8.DecodeRune(raw)
		switch {
		case !escapes(r):
			out = append(out, raw[:n]...)
		case r > 0xFFFF:
			hi, lo := utf16.EncodeRune(r)
			out = fmt.Appendf(out, `\u%04x\u%04x`, hi, lo)
		default:
			out = fmt.Appendf(out, `\u%04x`, r)
		}
		raw = raw[n:]
	}
	return out, nil
}

func escapes(r rune) bool { return r != '\n' && !unicode.IsPrint(r) }

// table writes t as the result.
func (c *call) table(t *table) error { return t.write(c.out, c.color()) }

// color reports whether the result goes to a terminal that shows colours.
func (c *call) color() bool {
	return c.inv.TTY && c.inv.Term != "dumb" && c.inv.Term != ""
}

// fields prints aligned names and values; empty values are left out.
func (c *call) fields(pairs ...string) {
	wide := 0
	for i := 0; i+1 < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			wide = max(wide, columns(pairs[i]))
		}
	}
	for i := 0; i+1 < len(pairs); i += 2 {
		if pairs[i+1] == "" {
			continue
		}
		pad := strings.Repeat(" ", wide-columns(pairs[i])+2)
		c.print("%s%s%s", paint(pairs[i], dim, c.color()), pad, display.Line(pairs[i+1], 0))
	}
}

// stamp is a time in a table.
func (c *call) stamp(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	now := c.r.o.Now().UTC()
	t = t.UTC()
	if t.Year() == now.Year() && t.YearDay() == now.YearDay() {
		return t.Format("15:04:05Z")
	}
	return t.Format("2006-01-02 15:04Z")
}

// left is the time until t, for people.
func (c *call) left(t time.Time) string {
	return dialogue.ShortDuration(t.Sub(c.r.o.Now()))
}

// ago is the time since t, for people.
func (c *call) ago(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return dialogue.ShortDuration(c.r.o.Now().Sub(t)) + " ago"
}

// names joins names for a sentence or a cell.
func names(list []string) string {
	if len(list) > 4 {
		return strings.Join(list[:3], ",") + fmt.Sprintf(",+%d", len(list)-3)
	}
	return strings.Join(list, ",")
}

// readAll reads a small file from stdin.
func (c *call) readAll(limit int64, what string) ([]byte, error) {
	if c.inv.TTY {
		return nil, usagef("%s is read from stdin: use < FILE, without a terminal (ssh -T).", what)
	}
	b, err := io.ReadAll(io.LimitReader(c.inv.In, limit+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("read %s from stdin: %w", what, err)
	case int64(len(b)) > limit:
		return nil, failf("%s is larger than %d bytes.", what, limit)
	case len(bytes.TrimSpace(b)) == 0:
		return nil, usagef("%s is expected on stdin.", what)
	}
	return b, nil
}
