package policy

import "strings"

// Glob reports whether s matches the pattern, where * is any run of
// characters, also an empty one, and ? is exactly one. Nothing else is
// special, and the whole of s must match. It takes time proportional to
// len(pattern)·len(s) at worst: no pattern makes it explode.
func Glob(pattern, s string) bool {
	p, t := []rune(pattern), []rune(s)
	i, j, star, mark := 0, 0, -1, 0
	for j < len(t) {
		switch {
		case i < len(p) && p[i] == '*':
			star, mark = i, j
			i++
		case i < len(p) && (p[i] == '?' || p[i] == t[j]):
			i++
			j++
		case star >= 0: // let the last star take one character more
			mark++
			i, j = star+1, mark
		default:
			return false
		}
	}
	return strings.Trim(string(p[i:]), "*") == ""
}

// globAny reports whether s matches any of the patterns.
func globAny(patterns []string, s string) bool {
	for _, p := range patterns {
		if Glob(p, s) {
			return true
		}
	}
	return false
}

// covers reports whether every text that matches q also matches p. It may say
// no where the answer is yes, never the reverse.
func covers(p, q string) bool {
	if p == q || p == "*" {
		return true
	}
	if strings.Contains(p, "?") {
		return false // a ? would take q's wildcard for one character
	}
	return Glob(p, q) // each wildcard of q lies within a star of p
}
