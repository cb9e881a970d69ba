package pgproxy

import "strings"

// A password that a statement sets is no part of what happened: CREATE and
// ALTER of ROLE, USER, GROUP and USER MAPPING are recorded with *** in the
// place of the literal behind PASSWORD. Nothing that runs can hide in there:
// the text is cut into tokens as the server does it, and where two servers
// could read it in two ways, with a backslash in a string
// (standard_conforming_strings), nothing is taken out.

// withoutPasswords returns text as it is recorded, and whether that differs.
func withoutPasswords(text string) (string, bool) {
	if !mentionsPassword(text) {
		return text, false
	}
	var out strings.Builder
	from, last := 0, "" // copied so far; the word before
	var first []string  // words of the statement, two at most
	for i := 0; i < len(text); {
		switch c := text[i]; {
		case c == ' ' || c >= '\t' && c <= '\r':
			i++
		case strings.HasPrefix(text[i:], "--"):
			n := strings.IndexAny(text[i:], "\r\n")
			if n < 0 {
				n = len(text) - i
			}
			i += n
		case strings.HasPrefix(text[i:], "/*"):
			n := comment(text[i:])
			if n < 0 {
				return text, false
			}
			i += n
		case c == '\'' || c == '"' || c == '$':
			begin, end, n := quoted(text[i:])
			switch {
			case n < 0:
				return text, false
			case n == 0: // a lone $
				i, last = i+1, ""
				continue
			case c != '"' && last == "password" && len(first) == 2 && (first[0] == "create" || first[0] == "alter") &&
				(first[1] == "role" || first[1] == "user" || first[1] == "group"):
				out.WriteString(text[from : i+begin])
				out.WriteString("***")
				from = i + end
			case c == '"':
				last = ""
			}
			i += n
		case c == '_' || c >= 0x80 || c|0x20 >= 'a' && c|0x20 <= 'z':
			n := 1
			for i+n < len(text) && (text[i+n] == '_' || text[i+n] == '$' || text[i+n] >= 0x80 || text[i+n]|0x20 >= 'a' && text[i+n]|0x20 <= 'z' || text[i+n] >= '0' && text[i+n] <= '9') {
				n++
			}
			word := strings.ToLower(text[i : i+n])
			i += n
			if len(word) == 1 && i < len(text) && (text[i] == '\'' || word == "u" && text[i] == '&') {
				break // E'…', U&'…': a string's prefix
			}
			if last = word; len(first) < 2 {
				first = append(first, word)
			}
		case c == ';':
			i, first, last = i+1, first[:0], ""
		case c == '&' && i > 0 && text[i-1]|0x20 == 'u':
			i++
		default:
			i, last = i+1, ""
		}
	}
	if from == 0 {
		return text, false
	}
	out.WriteString(text[from:])
	return out.String(), true
}

// mentionsPassword finds the word in any case, fast: nearly no statement has it.
func mentionsPassword(s string) bool {
	const word = "password"
	for i := len(word) - 1; i < len(s); {
		c := s[i] | 0x20
		if c == 'd' && strings.EqualFold(s[i-7:i+1], word) {
			return true
		}
		if n := strings.LastIndexByte(word[:7], c); n >= 0 {
			i += 7 - n
		} else {
			i += 8
		}
	}
	return false
}

// comment is the length of the comment, with those in it, that s begins with.
func comment(s string) int {
	depth := 0
	for i := 0; i+1 < len(s); {
		switch s[i : i+2] {
		case "/*":
			depth++
			i += 2
		case "*/":
			if depth--; depth == 0 {
				return i + 2
			}
			i += 2
		default:
			i++
		}
	}
	return -1
}

// quoted measures the quotation that s begins with: its inside, and the whole.
// The length is -1 where its end is not certain, 0 where it is none.
func quoted(s string) (begin, end, n int) {
	if s[0] == '$' {
		n := 1
		for n < len(s) && (s[n] == '_' || s[n] >= 0x80 || s[n]|0x20 >= 'a' && s[n]|0x20 <= 'z' || n > 1 && s[n] >= '0' && s[n] <= '9') {
			n++
		}
		if n == len(s) || s[n] != '$' {
			return 0, 0, 0
		}
		tag := s[:n+1]
		inside := strings.Index(s[len(tag):], tag)
		if inside < 0 {
			return 0, 0, -1
		}
		return len(tag), len(tag) + inside, 2*len(tag) + inside
	}
	for i := 1; i < len(s); i++ {
		switch {
		case s[i] == '\\' && s[0] == '\'':
			return 0, 0, -1
		case s[i] != s[0]:
		case i+1 < len(s) && s[i+1] == s[0]:
			i++
		default:
			return 1, i, i + 1
		}
	}
	return 0, 0, -1
}
