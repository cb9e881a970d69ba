package pgproxy

import "strings"

// What a prepared statement's name means can be changed in SQL too: the
// command tags of the server tell it. (What a function does to names inside
// the server tells nobody: the record has the call.)

// renamed follows a command that has ended well.
func (t *tracker) renamed(o *op, tag string) {
	text := o.sql
	if o.st != nil {
		text = o.st.text
	}
	word, name, rest := firstNames(text)
	switch tag {
	case "DEALLOCATE":
		if word == "deallocate" && name != "" && rest == "" {
			t.forget(name)
		} else {
			t.forgetAll()
		}
	case "PREPARE":
		// The server takes only a name that it does not have.
		if word == "prepare" && name != "" {
			t.forget(name)
			if t.stmts[name] == nil && len(t.stmts) < maxNames {
				t.stmts[name] = &prepared{name: name, text: text, seq: o.seq, redact: t.redacted(text), known: true}
			}
		} else {
			t.forgetAll()
		}
	case "CLOSE CURSOR", "CLOSE CURSOR ALL":
		t.endPortals()
	case "DISCARD ALL":
		t.endPortals()
		t.forgetAll()
	default:
		t.forgetAll()
	}
}

// forget takes a name from what the server had under it; what the client has
// sent since stays.
func (t *tracker) forget(name string) {
	p := t.stmts[name]
	if p != nil && p.known {
		delete(t.stmts, name)
		return
	}
	for ; p != nil; p = p.prev {
		if p.prev != nil && p.prev.known {
			p.prev = nil
		}
	}
}

func (t *tracker) forgetAll() {
	for name := range t.stmts {
		t.forget(name)
	}
}

// endPortals forgets the named portals that the server had.
func (t *tracker) endPortals() {
	for name, p := range t.portals {
		if p.known {
			delete(t.portals, name)
			continue
		}
		for ; p != nil; p = p.prev {
			if p.prev != nil && p.prev.known {
				p.prev = nil
			}
		}
	}
}

// firstNames reads "word name rest" from the beginning of a statement, as in
// PREPARE s AS … and DEALLOCATE PREPARE "s". The name is empty where it is not
// plain to see.
func firstNames(text string) (word, name, rest string) {
	text = strings.TrimRight(strings.TrimSpace(text), "; \t\r\n")
	word, text = identifier(text)
	if word == "deallocate" {
		if next, behind := identifier(text); next == "prepare" && behind != "" {
			text = behind
		}
	}
	if inside, ok := strings.CutPrefix(text, `"`); ok {
		name, rest, ok = strings.Cut(inside, `"`)
		if !ok || strings.HasPrefix(rest, `"`) {
			return word, "", text
		}
		return word, asServer(name), strings.TrimSpace(rest)
	}
	name, rest = identifier(text)
	return word, asServer(name), rest
}

// identifier cuts an unquoted ASCII name from s, in lower case as the server
// folds it; "" where there is none.
func identifier(s string) (name, rest string) {
	n := 0
	for n < len(s) && (s[n] == '_' || s[n] == '$' && n > 0 || s[n] >= '0' && s[n] <= '9' && n > 0 || s[n]|0x20 >= 'a' && s[n]|0x20 <= 'z') {
		n++
	}
	if n < len(s) && s[n] >= 0x80 {
		return "", s
	}
	return strings.ToLower(s[:n]), strings.TrimSpace(s[n:])
}
