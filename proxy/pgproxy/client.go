package pgproxy

import (
	"encoding/binary"
	"strings"
	"unicode/utf8"

	"jit-gateway/recording"
)

// fromClient is the client's half of a tracker: frames from the client.
type fromClient struct {
	*tracker
	left bool // Terminate was seen
}

func (c *fromClient) begin(s *scanner, typ byte, size int) (keep int, err error) {
	t := c.tracker
	switch typ {
	case 'Q', 'E', 'F':
		if e := t.budget.statement(); e != nil {
			return t.refuse(s, typ, size, e)
		}
		keep = maxText
	case 'P', 'B':
		keep = maxText
	case 'D', 'C':
		keep = maxStored
		if size > keep {
			return 0, fatal(stateProtocol, "a name of %d bytes is too long", size)
		}
	case 'S':
		t.skip = false
		t.push(op{kind: 'S'})
	case 'c', 'f':
		if t.ops.first() != nil { // else it ends nothing
			t.push(op{kind: 'K'})
		}
		if typ == 'f' {
			return 0, nil
		}
	case 'd':
		if o := t.ops.first(); o != nil {
			o.bytes += int64(size)
			t.ops.q[len(t.ops.q)-1].data = true
		}
		return 0, nil
	case 'X':
		c.left = true
	case 'H':
	default:
		return 0, fatal(stateProtocol, "unexpected message of type %q", typ)
	}
	if keep > 0 && size == 0 {
		return 0, fatal(stateProtocol, "an empty message of type %q", typ)
	}
	if keep == 0 && size != 0 {
		return 0, fatal(stateProtocol, "a message of type %q with a body", typ)
	}
	if t.hold != nil && keep > 0 && (typ == 'Q' || typ == 'P' || typ == 'F') {
		if size > keep {
			return t.refuse(s, typ, size, fatal("54000", "statements of more than %d bytes are refused under this rule", keep))
		}
		s.drop = true // done lets it go
	}
	return keep, nil
}

func (c *fromClient) done(s *scanner, typ byte, body []byte) error {
	t := c.tracker
	switch typ {
	case 'Q':
		return t.query(s, body)
	case 'P':
		return t.parse(s, body)
	case 'B':
		return t.bind(s, body)
	case 'E':
		return t.execute(body)
	case 'D', 'C':
		return t.name(typ, body)
	case 'F':
		return t.function(s, body)
	}
	return nil
}

func (t *tracker) next() int64 {
	t.seq++
	return t.seq
}

// text cuts a statement from its terminator and says what was not kept of it.
func text(s *scanner, b []byte) (text string, full int64, sum string) {
	if s.sum != nil {
		return string(b), int64(s.size - 1), s.digest()
	}
	if n := len(b); n > 0 && b[n-1] == 0 {
		b = b[:n-1]
	}
	return string(b), 0, ""
}

func (t *tracker) query(s *scanner, body []byte) error {
	if s.sum == nil && body[len(body)-1] != 0 {
		return fatal(stateProtocol, "a query without its terminator")
	}
	o := op{kind: 'Q', seq: t.next(), start: t.since()}
	t.ev = recording.SQL{Op: "query", Seq: o.seq, Started: o.start}
	t.ev.Statement, t.ev.Full, t.ev.SHA256 = text(s, body)
	if t.ev.Statement, t.ev.Redacted = withoutPasswords(t.ev.Statement); t.ev.Redacted {
		t.ev.SHA256 = "" // a hash of a short secret would tell it
	}
	if err := t.write(&t.ev); err != nil {
		return err
	}
	o.refuse = t.held(s, 'Q', body, &t.ev)
	if len(t.ev.Statement) <= maxShort {
		o.sql = t.ev.Statement
	}
	return t.sent(o)
}

// sent notes that the statement of o goes to the server; where that skips it,
// this is its outcome.
func (t *tracker) sent(o op) error {
	if t.skip {
		return t.outcome(&o, "", notRun)
	}
	t.ops.push(o)
	return nil
}

func (t *tracker) parse(s *scanner, body []byte) error {
	name, rest, ok := cstring(body)
	if !ok || len(name) > maxStored {
		return fatal(stateProtocol, "malformed Parse message")
	}
	name = asServer(name)
	p := &prepared{name: name}
	if s.sum != nil {
		p.text, p.full, p.sum = string(rest), int64(s.size-len(name)-2), s.digest()
	} else {
		var tail []byte
		if p.text, tail, ok = cstring(rest); !ok || len(tail) < 2 {
			return fatal(stateProtocol, "malformed Parse message")
		}
		n := int(binary.BigEndian.Uint16(tail))
		if tail = tail[2:]; len(tail) != 4*n {
			return fatal(stateProtocol, "malformed Parse message")
		}
		if n > 0 {
			p.oids = make([]uint32, n)
			for i := range p.oids {
				p.oids[i] = binary.BigEndian.Uint32(tail[4*i:])
			}
		}
	}
	p.redact = t.redacted(p.text)
	if p.text, p.hidden = withoutPasswords(p.text); p.hidden {
		p.sum = ""
	}
	stored := maxStored
	if len(t.stmts) >= maxNames {
		stored = maxFew
	}
	if len(p.text) > stored {
		// Only the beginning is kept with the name: the whole is recorded now.
		p.seq = t.next()
		t.ev = recording.SQL{Op: "parse", Seq: p.seq, Name: name, Statement: p.text, Full: p.full, SHA256: p.sum, Started: t.since(), Redacted: p.hidden}
		if err := t.write(&t.ev); err != nil {
			return err
		}
		if p.full == 0 {
			p.full = int64(len(p.text))
		}
		cut := stored
		for cut > stored-utf8.UTFMax && !utf8.RuneStart(p.text[cut]) {
			cut--
		}
		p.text = strings.Clone(p.text[:cut])
	} else {
		t.parsed = append(t.parsed, p)
	}
	t.ev = recording.SQL{Seq: p.seq, Statement: p.text}
	o := op{kind: 'P', st: p, refuse: t.held(s, 'P', body, &t.ev)}
	if t.skip {
		return nil
	}
	p.prev = t.stmts[name].actual()
	if p.prev == nil && len(t.stmts) >= maxAll {
		return fatal("54000", "more than %d prepared statements in one session", maxAll)
	}
	t.stmts[name] = p
	t.ops.push(o)
	return nil
}

// flush records what was parsed or bound and not executed in the same chunk:
// what is about to be forwarded is on record (G2).
func (t *tracker) flush() error {
	if len(t.parsed) > 0 {
		if err := t.flushParsed(); err != nil {
			return err
		}
	}
	for i, p := range t.bound {
		t.bound[i] = nil
		if p.seen {
			continue
		}
		p.seen = true
		t.ev = recording.SQL{Op: "bind", Seq: t.next(), Started: t.since()}
		t.show(p)
		if err := t.write(&t.ev); err != nil {
			return err
		}
	}
	t.bound = t.bound[:0]
	return nil
}

// show puts what a portal is into the event.
func (t *tracker) show(p *portal) {
	t.ev.Portal, t.ev.Name, t.ev.Params, t.ev.Redacted = p.own, p.name, p.params, p.redact
	if st := p.st; st != nil {
		t.ev.Statement, t.ev.Full = st.text, st.full
		t.ev.Redacted = t.ev.Redacted || st.hidden
	}
	if p.full > 0 {
		t.ev.Bytes, t.ev.SHA256 = p.full, p.sum // of the Bind message
	}
}

func (t *tracker) flushParsed() error {
	for i, p := range t.parsed {
		t.parsed[i] = nil
		if p.seq != 0 {
			continue
		}
		p.seq = t.next()
		t.ev = recording.SQL{Op: "parse", Seq: p.seq, Name: p.name, Statement: p.text, Started: t.since(), Redacted: p.hidden}
		if err := t.write(&t.ev); err != nil {
			return err
		}
	}
	t.parsed = t.parsed[:0]
	return nil
}

func (t *tracker) execute(body []byte) error {
	name, rest, ok := cstring(body)
	if !ok || len(rest) != 4 {
		return fatal(stateProtocol, "malformed Execute message")
	}
	p := t.plain
	if name != "" {
		name = asServer(name)
		p = t.portals[name]
	}
	o := op{kind: 'E', seq: t.next(), start: t.since()}
	t.ev = recording.SQL{Op: "execute", Seq: o.seq, Portal: name, Started: o.start}
	if p != nil {
		t.show(p)
		o.po, o.st, p.seen = p, p.st, true
		if p.st != nil && p.st.seq == 0 {
			p.st.seq = o.seq
		}
	}
	if err := t.write(&t.ev); err != nil {
		return err
	}
	return t.sent(o)
}

// name is Describe or Close: a kind and a name.
func (t *tracker) name(typ byte, body []byte) error {
	name, rest, ok := cstring(body[1:])
	if !ok || len(rest) != 0 || body[0] != 'S' && body[0] != 'P' {
		return fatal(stateProtocol, "malformed message of type %q", typ)
	}
	o := op{kind: typ}
	switch name = asServer(name); {
	case body[0] == 'S':
		o.st = t.stmts[name]
	case typ == 'D':
	case name == "":
		o.po = t.plain
	default:
		o.po = t.portals[name]
	}
	t.push(o)
	return nil
}
