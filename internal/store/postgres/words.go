package postgres

import (
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"

	"jit-gateway/internal/store"
	"jit-gateway/internal/store/sqlstore"
)

// PostgreSQL's own parser takes host names, paths and e-mail addresses for one
// word each, so that "nginx" would not find nginx.service. Words are therefore
// cut here, as SQLite's index cuts them: runs of letters and digits, in lower
// case, without accents.

// word is one word of a text.
type word struct {
	start, end int // bytes of the text
	norm       string
}

// maxWord bounds a lexeme; PostgreSQL refuses those of 2 KiB.
const maxWord = 200

func words(text string) []word {
	var out []word
	start := -1
	for i, r := range text {
		if unicode.IsLetter(r) || unicode.IsNumber(r) || start >= 0 && unicode.Is(unicode.Mn, r) {
			if start < 0 {
				start = i
			}
			continue
		}
		if start >= 0 {
			out = append(out, word{start, i, fold(text[start:i])})
			start = -1
		}
	}
	if start >= 0 {
		out = append(out, word{start, len(text), fold(text[start:])})
	}
	return out
}

// fold makes words equal that differ in case or accents.
func fold(s string) string {
	ascii := true
	for i := 0; i < len(s) && ascii; i++ {
		ascii = s[i] < utf8.RuneSelf
	}
	if !ascii {
		s = strings.Map(func(r rune) rune {
			if unicode.Is(unicode.Mn, r) {
				return -1
			}
			return r
		}, norm.NFD.String(s))
	}
	s = strings.ToLower(s)
	for len(s) > maxWord {
		_, n := utf8.DecodeLastRuneInString(s)
		s = s[:len(s)-n]
	}
	return s
}

// vector is the text of a tsvector. Words hold letters and digits alone, so
// nothing in them needs escaping.
func vector(text string) string {
	var b strings.Builder
	for i, w := range words(text) {
		if w.norm != "" {
			b.WriteString("'" + w.norm + "':" + strconv.Itoa(min(i+1, 16383)) + " ")
		}
	}
	return b.String()
}

// term is words that stand together; the last may be a beginning.
type term struct {
	words  []string
	prefix bool
}

func parseTerms(query string) []term {
	var out []term
	for _, t := range sqlstore.Terms(query) {
		one := term{prefix: t.Prefix}
		for _, w := range words(storable(t.Text)) {
			if w.norm != "" {
				one.words = append(one.words, w.norm)
			}
		}
		if len(one.words) > 0 {
			out = append(out, one)
		}
	}
	return out
}

// tsquery is the text of a query for all of the terms.
func tsquery(terms []term) string {
	var all []string
	for _, t := range terms {
		q := "'" + strings.Join(t.words, "' <-> '") + "'"
		if t.prefix {
			q += ":*"
		}
		all = append(all, "("+q+")")
	}
	return strings.Join(all, " & ")
}

// matches is how many words at the beginning of ws the term covers.
func (t term) matches(ws []word) int {
	if len(ws) < len(t.words) {
		return 0
	}
	for i, want := range t.words {
		got := ws[i].norm
		if got != want && !(t.prefix && i == len(t.words)-1 && strings.HasPrefix(got, want)) {
			return 0
		}
	}
	return len(t.words)
}

// excerptWords is how many words an excerpt has.
const excerptWords = 24

// excerpt marks what was found in a part of the text around the first of it.
func excerpt(text string, terms []term) string {
	ws := words(text)
	marked := make([]int, len(ws)) // for how many words a match that begins here runs
	first := -1
	for i := 0; i < len(ws); i++ {
		for _, t := range terms {
			marked[i] = max(marked[i], t.matches(ws[i:]))
		}
		if marked[i] > 0 && first < 0 {
			first = i
		}
	}
	if first < 0 {
		return text
	}
	from := max(0, min(first-excerptWords/4, len(ws)-excerptWords))
	to := min(len(ws), from+excerptWords)
	var b strings.Builder
	pos := 0
	if from > 0 {
		b.WriteString("…")
		pos = ws[from].start
	}
	for i := from; i < to; {
		n := min(marked[i], to-i)
		if n == 0 {
			i++
			continue
		}
		b.WriteString(text[pos:ws[i].start] + store.MarkStart + text[ws[i].start:ws[i+n-1].end] + store.MarkEnd)
		pos = ws[i+n-1].end
		i += n
	}
	if to == len(ws) {
		b.WriteString(text[pos:])
	} else {
		b.WriteString(text[pos:ws[to-1].end] + "…")
	}
	return b.String()
}
