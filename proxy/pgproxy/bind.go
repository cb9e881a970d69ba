package pgproxy

import (
	"encoding/binary"

	"jit-gateway/recording"
)

// bind is a Bind: a statement, and values for a portal.
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
	name, stmt = asServer(name), asServer(stmt)
	p := t.spare
	if name != "" || p == nil {
		p = &portal{own: name}
	} else {
		t.spare = nil
		clear(p.params)
		*p = portal{params: p.params[:0]}
	}
	p.st, p.name = t.stmts[stmt], stmt
	// Of a statement that is not known a rule cannot be asked.
	redact := p.st != nil && p.st.redact || p.st == nil && len(t.redact) > 0
	p.redact = redact
	if s.sum != nil {
		p.full, p.sum = int64(s.size), s.digest()
	}
	if p.params, ok = bindValues(p.params, p.st, rest, redact, s.sum != nil); !ok {
		return malformed
	}
	if redact {
		p.sum = "" // a hash of a short secret would tell it
	}
	t.bound = append(t.bound, p)
	if t.skip {
		return nil
	}
	if name == "" {
		p.prev = t.plain.actual()
		t.plain = p
	} else {
		p.prev = t.portals[name].actual()
		if p.prev == nil && len(t.portals) >= maxNames {
			return fatal("54000", "more than %d portals in one session", maxNames)
		}
		t.portals[name] = p
	}
	t.ops.push(op{kind: 'B', po: p})
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

// function is a FunctionCall: OID, formats and arguments.
func (t *tracker) function(s *scanner, body []byte) error {
	if len(body) < 4 {
		return fatal(stateProtocol, "malformed FunctionCall message")
	}
	o := op{kind: 'F', seq: t.next(), start: t.since()}
	// Which function an OID is cannot be told here, so a rule cannot be asked.
	redact := len(t.redact) > 0
	params, ok := bindValues(t.params[:0], nil, body[4:], redact, s.sum != nil)
	if !ok {
		return fatal(stateProtocol, "malformed FunctionCall message")
	}
	t.params = params[:0]
	t.ev = recording.SQL{Op: "function", Seq: o.seq, Started: o.start, Params: params, Redacted: redact}
	if !redact { // a hash of a short secret would tell it
		t.ev.SHA256 = s.digest()
	}
	t.ev.Statement = "function with OID " + decimal(binary.BigEndian.Uint32(body))
	if err := t.write(&t.ev); err != nil {
		return err
	}
	o.refuse = t.held(s, 'F', body, &t.ev)
	return t.sent(o)
}
