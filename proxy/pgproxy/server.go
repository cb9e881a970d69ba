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
	case '2':
		if o := t.ops.first(); o != nil && o.kind == 'B' {
			t.bindDone(o.po)
			t.ops.pop()
		}
	case 'T', 'n':
		if o := t.ops.first(); o != nil && o.kind == 'D' {
			t.ops.pop()
		}
	case '3':
		if o := t.ops.first(); o != nil && o.kind == 'C' {
			if o.st != nil {
				t.closed(o.st)
			}
			if o.po != nil {
				t.portalClosed(o.po)
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
			if e := t.besides(size); e != nil {
				s.cut(s.at, s.end, e.encode())
				s.drop, t.purge = true, true
				return 0, t.outcome(o, "", e)
			}
			if err := t.outcome(o, "function", nil); err != nil {
				return 0, err
			}
		}
	case 'G':
		if o := t.ops.first(); o != nil && o.runs() {
			o.copyIn = true
		}
	case 'N', 'A':
		if e := t.besides(size); e != nil {
			t.overrun(e)
			s.drop = true
		} else if t.over != nil || t.purge {
			s.drop = true
		}
	case 'H', 'W', 'c':
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

// besides counts what reaches the client beside rows: notices, notifications,
// results of functions. What is past the budget is kept back.
func (t *tracker) besides(size int) *pgError {
	if !t.budget.limited || t.over != nil || t.purge {
		return nil
	}
	return t.budget.take(0, int64(size))
}

// overrun has the running statement cancelled, if one runs.
func (t *tracker) overrun(e *pgError) {
	if o := t.ops.first(); o != nil && o.runs() {
		t.over = e
		if t.spent != nil {
			t.spent(e)
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
		if o := t.ops.first(); o != nil && o.kind == 'D' && o.st != nil && len(body) >= 2 {
			n := min(int(binary.BigEndian.Uint16(body)), (len(body)-2)/4)
			o.st.oids = make([]uint32, n)
			for i := range n {
				o.st.oids[i] = binary.BigEndian.Uint32(body[2+4*i:])
			}
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
	if t.budget.limited {
		if o.rows == 0 {
			t.budget.changed(tagRows(tag))
		}
		if o.late { // one of several in a simple query
			if e := t.budget.another(); e != nil {
				t.overrun(e)
			}
		}
	}
	switch tag {
	case "DEALLOCATE", "DEALLOCATE ALL", "DISCARD ALL", "PREPARE", "CLOSE CURSOR", "CLOSE CURSOR ALL":
		t.renamed(o, tag)
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
// answered; in the extended protocol everything up to Sync is skipped, simple
// queries and function calls too.
func (f *fromServer) failed(e pgError) error {
	t := f.tracker
	o := t.ops.first()
	switch {
	case o == nil:
		none := op{}
		return t.outcome(&none, "", &e) // not about a statement: an idle time-out, a shutdown
	case o.kind == 'Q' || o.kind == 'F':
		return t.outcome(o, "", &e)
	case o.kind == 'S': // the commit of an implicit transaction
		last := op{seq: t.last}
		return t.outcome(&last, "", &e)
	}
	copyIn := o.copyIn
	for cause := &e; o != nil && o.kind != 'S'; o = t.ops.first() {
		if !o.runs() && cause != notRun {
			failed := op{seq: o.st.seqOrZero(), po: o.po}
			if o.po != nil {
				failed.seq = o.po.st.seqOrZero()
			}
			if err := t.outcome(&failed, "", cause); err != nil {
				return err
			}
		}
		if o.runs() {
			if err := t.outcome(o, "", cause); err != nil {
				return err
			}
		}
		switch o.kind {
		case 'P':
			t.parseFailed(o.st)
		case 'B':
			t.bindFailed(o.po)
		}
		t.ops.pop()
		if copyIn {
			t.lost += t.ops.endCopy()
			copyIn = false
		}
		cause = notRun
	}
	t.skip = o == nil
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
	t.tx, t.over, t.purge, t.skip = tx, nil, false, false
	if o := t.ops.first(); o != nil && t.lost > 0 && o.kind != 'S' && !o.late {
		t.lost-- // of a Sync that the COPY had not read after all
		return t.settle(tx)
	}
	if tx == 'I' && len(t.portals) > 0 {
		t.endPortals()
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
	return t.settle(tx)
}
