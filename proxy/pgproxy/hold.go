package pgproxy

import (
	"strconv"

	"jit-gateway/recording"
)

// refusedText is no SQL: what is forwarded in the place of a refused
// statement, so that the server's own error puts transaction and pipeline into
// the state that the client expects. Its error is then replaced by ours.
const refusedText = "jit-gateway: refused"

// standIn is what the server gets in the place of a refused message. It never
// names anything that the client could have made: an Execute, too, becomes a
// Parse that fails.
func standIn(typ byte) []byte {
	switch typ {
	case 'Q':
		return message('Q', []byte(refusedText), []byte{0})
	case 'P', 'E':
		return message('P', []byte{0}, []byte(refusedText), []byte{0, 0, 0})
	}
	return message('F', []byte{0, 0, 0, 0, 0, 0, 0, 0, 0, 0}) // function 0, no formats, no arguments
}

// refuse drops a message whose header has just been seen, and forwards a
// stand-in that fails.
func (t *tracker) refuse(s *scanner, typ byte, size int, e *pgError) (keep int, err error) {
	o := op{kind: typ, seq: t.next(), start: t.since(), refuse: e}
	t.ev = recording.SQL{Op: "refused", Seq: o.seq, Statement: e.Message, SQLSTATE: e.Code, Full: int64(size), Started: o.start}
	if err := t.write(&t.ev); err != nil {
		return 0, err
	}
	t.push(o)
	s.drop = true
	s.cut(s.at, s.end, standIn(typ))
	return 0, nil
}

// held asks the hold about a statement that begin kept back, and lets it go
// or puts a stand-in in its place. The lock is not held meanwhile.
func (t *tracker) held(s *scanner, typ byte, body []byte, ev *recording.SQL) *pgError {
	if t.hold == nil {
		return nil
	}
	st := &Statement{Seq: ev.Seq, Text: ev.Statement, Params: ev.Params}
	t.mu.Unlock()
	e := t.hold(st)
	t.mu.Lock()
	if e != nil {
		s.replace(standIn(typ))
	} else {
		s.replace(message(typ, body))
	}
	return e
}

func decimal(n uint32) string { return strconv.FormatUint(uint64(n), 10) }
