package pgproxy

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// fromServer is the server's half of a tracker: frames from the database.
type fromServer struct {
	*tracker
	fatal *pgError // the server said that it ends the connection
}

func (f *fromServer) begin(s *scanner, typ byte, size int) (keep int, err error) {
	t := f.tracker
	switch typ {
	case 'D', 'd':
		f.row(s, typ, size)
		return 0, nil
	case 'Z':
		if size != 1 {
			return 0, errors.New("the database sent a malformed ReadyForQuery")
		}
		return 1, nil
	case 'C':
		keep = 256
	case 'E':
		keep = maxErrText
	case 'S':
		keep = 1024
	case 't':
		keep = 2 + 4*1024
	case '1':
		if o := t.ops.first(); o != nil && o.kind == 'P' {
			t.parseDone(o.st)
			t.ops.pop()
		}
	case '3':
		if o := t.ops.first(); o != nil && o.kind == 'C' {
			if o.st != nil {
				t.closed(o.st)
			}
			t.ops.pop()
		}
	case 'I', 's':
		if err := f.complete(""); err != nil {
			return 0, err
		}
	case 'V':
		if o := t.ops.first(); o != nil && o.kind == 'F' {
			o.bytes = int64(size)
			if err := t.outcome(o, "function", nil); err != nil {
				return 0, err
			}
		}
	case 'G':
		if o := t.ops.first(); o != nil && o.runs() {
			o.copyIn = true
		}
	case '2', 'n', 'T', 'H', 'W', 'c', 'N', 'A':
	default:
		return 0, fmt.Errorf("the database sent an unexpected message of type %q", typ)
	}
	switch {
	case t.purge && typ != 'N' && typ != 'A' && typ != 'S' && typ != 'Z', t.over != nil && typ == 'c':
		s.drop = true
	case typ == 'E' && t.instead() != nil, typ == 'C' && t.over != nil:
		s.drop, keep = true, max(size, 1) // done puts our own in its place, which may have begun in an earlier chunk
		if size > maxText {
			return 0, errors.New("the database sent an impossibly long error")
		}
	}
	return keep, nil
}

// instead is what the client is told in the place of the server's error.
func (t *tracker) instead() *pgError {
	if o := t.ops.first(); o != nil && o.refuse != nil {
		return o.refuse
	}
	return t.over
}

// row counts a row or a piece of COPY data, and keeps back what is past the
// budget.
func (f *fromServer) row(s *scanner, typ byte, size int) {
	t := f.tracker
	if o := t.ops.first(); o != nil {
		o.bytes += int64(size)
		if typ == 'D' {
			o.rows++
		}
	}
	if t.over != nil || t.purge {
		s.drop = true
		return
	}
	if t.budget.limited {
		rows := int64(0)
		if typ == 'D' {
			rows = 1
		}
		if e := t.budget.take(rows, int64(size)); e != nil {
			t.over, s.drop = e, true
			if t.spent != nil {
				t.spent(e)
			}
		}
	}
}

func (f *fromServer) done(s *scanner, typ byte, body []byte) error {
	t := f.tracker
	switch typ {
	case 'C':
		tag, _, _ := cstring(body)
		if t.over != nil && !t.purge {
			// It ended before the cancel reached it, and the client has not
			// seen all of it.
			t.purge = true
			s.replace(t.over.error().encode())
			return f.failed(*t.over)
		}
		return f.complete(tag)
	case 'E':
		e := errorFields(body)
		if e.Severity == severityFatal || e.Severity == "PANIC" {
			f.fatal = &e
		}
		switch instead := t.instead(); {
		case instead == nil, t.purge:
		case f.fatal != nil:
			s.replace(message('E', body))
		default:
			s.replace(instead.error().encode())
			e = *instead
		}
		if err := f.failed(e); err != nil {
			return err
		}
		// ReadyForQuery comes in a packet of its own behind an error: what it
		// will say is known.
		if t.tx == 'T' {
			t.tx = 'E'
		}
		return t.settle(t.tx)
	case 'Z':
		return f.ready(body[0])
	case 'S':
		name, value, ok := parameterStatus(body)
		if ok && name == "default_transaction_read_only" {
			t.readOnlyOff = value == "off"
		}
	case 't':
		if o := t.ops.first(); o != nil && o.kind == 'D' {
			if o.st != nil && len(body) >= 2 {
				n := min(int(binary.BigEndian.Uint16(body)), (len(body)-2)/4)
				o.st.oids = make([]uint32, n)
				for i := range n {
					o.st.oids[i] = binary.BigEndian.Uint32(body[2+4*i:])
				}
			}
			t.ops.pop()
		}
	}
	return nil
}

// complete is the good end of a statement.
func (f *fromServer) complete(tag string) error {
	t := f.tracker
	o := t.ops.first()
	if o == nil || !o.runs() {
		return nil
	}
	if t.budget.limited && o.rows == 0 {
		t.budget.changed(tagRows(tag))
	}
	if err := t.outcome(o, tag, nil); err != nil {
		return err
	}
	if o.kind != 'Q' {
		copyIn := o.copyIn
		t.ops.pop()
		if copyIn {
			t.ops.endCopy()
		}
	}
	return nil
}

// failed is an ErrorResponse: it belongs to the first message that is not
// answered; in the extended protocol everything up to Sync is skipped.
func (f *fromServer) failed(e pgError) error {
	t := f.tracker
	o := t.ops.first()
	if o == nil {
		none := op{}
		return t.outcome(&none, "", &e) // not about a statement: an idle time-out, a shutdown
	}
	if o.kind == 'Q' || o.kind == 'F' {
		return t.outcome(o, "", &e)
	}
	copyIn := o.copyIn
	for first := true; ; first = false {
		if o = t.ops.first(); o == nil || o.kind == 'S' || o.kind == 'Q' || o.kind == 'F' {
			break
		}
		cause := &e
		if !first {
			cause = &pgError{Message: "not run: an earlier statement of the pipeline failed"}
		}
		switch o.kind {
		case 'P':
			if first {
				failed := op{seq: o.st.seqOrZero()}
				if err := t.outcome(&failed, "", cause); err != nil {
					return err
				}
			}
			if o.st != nil {
				t.parseFailed(o.st)
			}
		case 'E':
			if err := t.outcome(o, "", cause); err != nil {
				return err
			}
		default:
			if first {
				failed := op{seq: o.st.seqOrZero()}
				if err := t.outcome(&failed, "", cause); err != nil {
					return err
				}
			}
		}
		t.ops.pop()
		if copyIn {
			break
		}
	}
	if copyIn {
		t.ops.endCopy()
	}
	return nil
}

func (p *prepared) seqOrZero() int64 {
	if p == nil {
		return 0
	}
	return p.seq
}

// ready is ReadyForQuery: everything up to a Sync, or a whole simple query or
// function call, is answered.
func (f *fromServer) ready(tx byte) error {
	t := f.tracker
	t.tx, t.over, t.purge = tx, nil, false
	if tx == 'I' && len(t.portals) > 0 {
		clear(t.portals) // they end with their transaction
	}
	for o := t.ops.first(); o != nil; o = t.ops.first() {
		kind := o.kind
		if kind == 'Q' && !o.late {
			if err := t.outcome(o, "", nil); err != nil {
				return err
			}
		}
		t.ops.pop()
		if kind == 'S' || kind == 'Q' || kind == 'F' {
			break
		}
	}
	for o := t.ops.first(); o != nil && o.kind == 'K'; o = t.ops.first() {
		t.ops.pop()
	}
	return t.settle(tx)
}
