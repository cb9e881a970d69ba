// Package display turns hostile text into text (guarantee G11): every string
// from a person, a peer or the store passes Line or Cell before it reaches a
// terminal, prompt, NOTICE, mail, chat message, log line or CSV.
package display

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Max is the length, in runes, that Line caps at when asked for none.
const Max = 500

// Line returns s as one visible line of at most max runes (Max if max <= 0):
// C0 and C1 controls, invalid UTF-8, bidirectional overrides, zero-width and
// other invisible characters are written as escapes; a longer text ends in "…".
func Line(s string, max int) string {
	if max <= 0 {
		max = Max
	}
	var b strings.Builder
	n := 0
	for i := 0; i < len(s); {
		r, size := utf8.DecodeRuneInString(s[i:])
		if n >= max {
			b.WriteRune('…')
			break
		}
		switch {
		case r == utf8.RuneError && size == 1:
			fmt.Fprintf(&b, `\x%02x`, s[i])
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\r':
			b.WriteString(`\r`)
		case r == '\t':
			b.WriteString(`\t`)
		case hidden(r):
			if r < 0x100 {
				fmt.Fprintf(&b, `\x%02x`, r)
			} else {
				fmt.Fprintf(&b, `\u{%x}`, r)
			}
		default:
			b.WriteRune(r)
		}
		i += size
		n++
	}
	return b.String()
}

// Cell is Line for a CSV or spreadsheet cell: a leading formula character is
// prefixed with an apostrophe.
func Cell(s string) string {
	s = Line(s, 0)
	if s != "" && strings.ContainsRune("=+-@|%\t\r", rune(s[0])) {
		return "'" + s
	}
	return s
}

// hidden reports whether r shows nothing, moves the cursor or reorders text.
func hidden(r rune) bool {
	switch {
	case unicode.IsControl(r), unicode.In(r, unicode.Cf, unicode.Zl, unicode.Zp, unicode.Co, unicode.Cs):
		return true
	case r >= 0xFE00 && r <= 0xFE0F, r >= 0xE0100 && r <= 0xE01EF: // variation selectors
		return true
	case r == 0x115F, r == 0x1160, r == 0x3164, r == 0xFFA0: // Hangul fillers
		return true
	}
	return r != ' ' && unicode.IsSpace(r)
}
