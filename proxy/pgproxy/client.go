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

// fixed are the client's messages without a body, and simple those whose body
// nobody reads.
func (c *fromClient) begin(s *scanner, typ byte, size int) (keep int, err error) {
	t := c.tracker
	if t.ops.len() >= maxOps {
		return 0, fatal(stateProtocol, "more than %d messages wait for an answer", maxOps)
	}
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
		t.ops.push(op{kind: 'S'})
	case 'c':
		t.ops.push(op{kind: 'K'})
	case 'f':
		t.ops.push(op{kind: 'K'})
		return 0, nil
	case 'd':
		if o := t.ops.first(); o != nil {
			o.bytes += int64(size)
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
	if err := t.write(&t.ev); err != nil {
		return err
	}
	o.refuse = t.held(s, 'Q', body, &t.ev)
	t.ops.push(o)
	return nil
}

func (t *tracker) parse(s *scanner, body []byte) error {
	name, rest, ok := cstring(body)
	if !ok || len(name) > maxStored {
		return fatal(stateProtocol, "malformed Parse message")
	}
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
	if len(p.text) > maxStored {
		// Only the beginning is kept with the name: the whole is recorded now.
		p.seq = t.next()
		t.ev = recording.SQL{Op: "parse", Seq: p.seq, Name: name, Statement: p.text, Full: p.full, SHA256: p.sum, Started: t.since()}
		if err := t.write(&t.ev); err != nil {
			return err
		}
		if p.full == 0 {
			p.full = int64(len(p.text))
		}
		cut := maxStored
		for cut > maxStored-utf8.UTFMax && !utf8.RuneStart(p.text[cut]) {
			cut--
		}
		p.text = strings.Clone(p.text[:cut])
	} else {
		t.parsed = append(t.parsed, p)
	}
	p.prev = t.stmts[name].actual()
	if p.prev == nil && len(t.stmts) >= maxNames {
		return fatal("54000", "more than %d prepared statements in one session", maxNames)
	}
	t.stmts[name] = p
	t.ev = recording.SQL{Seq: p.seq, Statement: p.text}
	t.ops.push(op{kind: 'P', st: p, refuse: t.held(s, 'P', body, &t.ev)})
	return nil
}

// flushParsed records statements that were parsed and not executed in the
// same chunk: what is about to be forwarded is on record (G2).
func (t *tracker) flushParsed() error {
	for i, p := range t.parsed {
		t.parsed[i] = nil
		if p.seq != 0 {
			continue
		}
		p.seq = t.next()
		t.ev = recording.SQL{Op: "parse", Seq: p.seq, Name: p.name, Statement: p.text, Started: t.since()}
		if err := t.write(&t.ev); err != nil {
			return err
		}
	}
	t.parsed = t.parsed[:0]
	return nil
}

func (t *tracker) bind(s *scanner, body []byte) error {
	malformed := fatal(stateProtocol, "malformed Bind message")
	name, rest, ok := cstring(body)
	if !ok {
		return malformed
	}
	stmt, rest, ok := cstring(rest)
	if !ok || len(name) > maxStored || len(stmt) > maxStored {
		return malformed
	}
	p := t.plain
	if name != "" || p == nil {
		p = &portal{}
	}
	p.st, p.name, p.full, p.sum = t.stmts[stmt], stmt, 0, ""
	for i := range p.params {
		p.params[i] = recording.Param{}
	}
	p.params = p.params[:0]
	redact := p.st != nil && p.st.redact
	if s.sum != nil {
		p.full, p.sum = int64(s.size), s.digest()
	}
	if p.params, ok = bindValues(p.params, p.st, rest, redact, s.sum != nil); !ok {
		return malformed
	}
	if redact {
		p.sum = "" // a hash of a short secret would tell it
	}
	if name == "" {
		t.plain = p
		return nil
	}
	if _, has := t.portals[name]; !has && len(t.portals) >= maxNames {
		return fatal("54000", "more than %d portals in one session", maxNames)
	}
	t.portals[name] = p
	return nil
}

// bindValues reads the values of a Bind message. Where the message was cut
// off by our own limit, those before that are returned.
func bindValues(out []recording.Param, st *prepared, b []byte, redact, cutOff bool) ([]recording.Param, bool) {
	be := binary.BigEndian
	if len(b) < 2 {
		return out, false
	}
	nf := int(be.Uint16(b))
	if b = b[2:]; len(b) < 2*nf+2 {
		return out, cutOff
	}
	formats := b[:2*nf]
	b = b[2*nf:]
	n := int(be.Uint16(b))
	if b = b[2:]; nf > 1 && nf != n {
		return out, false
	}
	for i := range n {
		if len(b) < 4 {
			return out, cutOff
		}
		size := int(int32(be.Uint32(b)))
		b = b[4:]
		var p recording.Param
		if st != nil && i < len(st.oids) {
			p.Type = st.oids[i]
		}
		if size == -1 {
			p.Null = true
			out = append(out, p)
			continue
		}
		if size < 0 || size > len(b) && !cutOff {
			return out, false
		}
		v := b[:min(size, len(b))]
		b = b[len(v):]
		binaryFormat := nf == 1 && formats[1] != 0 || nf > 1 && formats[2*i+1] != 0
		switch {
		case redact:
			p.Redacted = true
		case binaryFormat:
			showBinary(&p, v, size)
		default:
			if len(v) > maxValue {
				v, p.Bytes = v[:maxValue], int64(size)
			}
			p.Text = string(v)
		}
		out = append(out, p)
		if len(v) < size && len(b) == 0 && cutOff {
			return out, true
		}
	}
	return out, true
}

func showBinary(p *recording.Param, v []byte, size int) {
	if len(v) == size && size <= maxValue {
		if text, ok := decodeBinary(p.Type, v); ok {
			p.Text = text
			return
		}
	}
	if len(v) > maxValue {
		v = v[:maxValue]
	}
	if len(v) < size {
		p.Bytes = int64(size)
	}
	p.Binary = append([]byte(nil), v...)
}

func (t *tracker) execute(body []byte) error {
	name, rest, ok := cstring(body)
	if !ok || len(rest) != 4 {
		return fatal(stateProtocol, "malformed Execute message")
	}
	p := t.plain
	if name != "" {
		p = t.portals[name]
	}
	o := op{kind: 'E', seq: t.next(), start: t.since()}
	t.ev = recording.SQL{Op: "execute", Seq: o.seq, Portal: name, Started: o.start}
	if p != nil {
		t.ev.Name, t.ev.Params = p.name, p.params
		if st := p.st; st != nil {
			o.st = st
			t.ev.Statement, t.ev.Full, t.ev.Redacted = st.text, st.full, st.redact
			if st.seq == 0 {
				st.seq = o.seq
			}
		}
		if p.full > 0 {
			t.ev.Bytes, t.ev.SHA256 = p.full, p.sum // of the Bind message
		}
	}
	if err := t.write(&t.ev); err != nil {
		return err
	}
	t.ops.push(o)
	return nil
}

// name is Describe or Close: a kind and a name.
func (t *tracker) name(typ byte, body []byte) error {
	name, rest, ok := cstring(body[1:])
	if !ok || len(rest) != 0 || body[0] != 'S' && body[0] != 'P' {
		return fatal(stateProtocol, "malformed message of type %q", typ)
	}
	switch {
	case typ == 'C' && body[0] == 'S':
		t.ops.push(op{kind: 'C', st: t.stmts[name]})
	case typ == 'C':
		delete(t.portals, name)
		t.ops.push(op{kind: 'C'})
	case body[0] == 'S':
		t.ops.push(op{kind: 'D', st: t.stmts[name]})
	}
	return nil
}

// function is a FunctionCall: OID, formats and arguments.
func (t *tracker) function(s *scanner, body []byte) error {
	if len(body) < 4 {
		return fatal(stateProtocol, "malformed FunctionCall message")
	}
	o := op{kind: 'F', seq: t.next(), start: t.since()}
	params, ok := bindValues(t.params[:0], nil, body[4:], false, s.sum != nil)
	if !ok {
		return fatal(stateProtocol, "malformed FunctionCall message")
	}
	t.params = params[:0]
	t.ev = recording.SQL{Op: "function", Seq: o.seq, Started: o.start, Params: params, SHA256: s.digest()}
	t.ev.Statement = "function with OID " + decimal(binary.BigEndian.Uint32(body))
	if err := t.write(&t.ev); err != nil {
		return err
	}
	o.refuse = t.held(s, 'F', body, &t.ev)
	t.ops.push(o)
	return nil
}
