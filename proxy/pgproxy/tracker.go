package pgproxy

import (
	"errors"
	"regexp"
	"sync"
	"time"

	"jit-gateway/recording"
)

// Limits of what is read, recorded and remembered of a session.
const (
	maxText    = 1 << 20 // of a statement, or the values of one Bind, in the recording
	maxValue   = 8 << 10 // of one bind value
	maxStored  = 4 << 10 // of a prepared statement, in memory and with each execution
	maxNames   = 4096    // portals, and prepared statements of which maxStored is kept
	maxFew     = 64      // of further ones
	maxAll     = 1 << 14 // prepared statements; clients with more are ended
	maxOps     = 1 << 14 // unanswered messages, beyond which nothing is read from the client
	maxErrText = 8 << 10
)

// A tracker follows both directions of one session: which statement runs,
// what it is called, and how it ended. It hands statements to the recorder
// before they are forwarded, and outcomes before the client sees them.
//
// The client's half (client.go) and the server's half (server.go) are called
// by one goroutine each, under mu.
type tracker struct {
	mu     sync.Mutex
	record func(*recording.SQL) error
	since  func() time.Duration // since the session's start
	redact []*regexp.Regexp
	budget *budget
	// hold, if not nil, is asked about every statement before anything of it
	// is forwarded: the one place where a statement can be held or refused.
	hold func(*Statement) *pgError
	// spent is called once, when a budget is: the running statement is to be
	// cancelled.
	spent func(*pgError)

	stmts   map[string]*prepared
	portals map[string]*portal
	plain   *portal // the unnamed one
	spare   *portal // for the next unnamed one

	ops    ops
	seq    int64
	last   int64       // of the statement that ended last
	tx     byte        // I, T, E as of the last ReadyForQuery
	skip   bool        // the server skips everything until the client's next Sync
	lost   int         // Syncs that were taken for read by a COPY that failed
	parsed []*prepared // not recorded yet
	bound  []*portal
	ev     recording.SQL
	params []recording.Param

	result  recording.SQL // the last outcome, until its transaction state is known
	pending bool
	over    *pgError // the running statement is past a budget: nothing more of it is forwarded
	purge   bool     // everything up to ReadyForQuery is dropped

	readOnlyOff bool
}

// Statement is what a hold sees.
type Statement struct {
	Seq    int64
	Text   string
	Params []recording.Param
}

func newTracker(record func(*recording.SQL) error, since func() time.Duration) *tracker {
	return &tracker{record: record, since: since, tx: 'I', budget: &budget{},
		stmts: map[string]*prepared{}, portals: map[string]*portal{}}
}

// running is the statement that the server is at, and since when.
func (t *tracker) running() (start time.Duration, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for i := t.ops.head; i < len(t.ops.q); i++ {
		if t.ops.q[i].runs() {
			return t.ops.q[i].start, true
		}
	}
	return 0, false
}

var errRecording = errors.New("the recording failed")

func (t *tracker) write(s *recording.SQL) error {
	if err := t.record(s); err != nil {
		return errors.Join(errRecording, err)
	}
	return nil
}

// redacted reports whether the values of a statement are not recorded.
func (t *tracker) redacted(text string) bool {
	for _, re := range t.redact {
		if re.MatchString(text) {
			return true
		}
	}
	return false
}

// push notes a message that the server will answer, unless it skips it.
func (t *tracker) push(o op) {
	if !t.skip {
		t.ops.push(o)
	}
}

// settle records the outcome that waits for its transaction state.
func (t *tracker) settle(tx byte) error {
	if !t.pending {
		return nil
	}
	t.pending = false
	if tx != 0 {
		t.result.TxStatus = string(rune(tx))
	}
	return t.write(&t.result)
}

// outcome notes how the statement of o ended. The previous outcome is written.
func (t *tracker) outcome(o *op, tag string, e *pgError) error {
	if err := t.settle(0); err != nil {
		return err
	}
	t.last = o.seq
	t.result = recording.SQL{Op: "result", Seq: o.seq, Tag: tag, Rows: o.rows, Bytes: o.bytes, Started: o.start}
	if o.start > 0 {
		t.result.Duration = t.since() - o.start
	}
	if tag != "" && o.rows == 0 {
		t.result.Rows = tagRows(tag)
	}
	st, hide := o.st, false
	if p := o.po; p != nil && p.failed {
		// The Bind failed, or was skipped, that the values were recorded
		// from: the server ran what the portal was before.
		if p = p.actual(); p != nil {
			st = p.st
			t.result.Name, t.result.Params = p.name, p.params
			if st = st.actual(); st != nil {
				t.result.Statement, t.result.Full = st.text, st.full
			}
		}
		hide = p != nil && p.redact
	} else if st != nil && st.failed {
		// The Parse failed that the statement was recorded from: the server
		// ran what the name meant before.
		if st = st.actual(); st != nil {
			t.result.Name, t.result.Statement, t.result.Full = st.name, st.text, st.full
		}
	}
	if e != nil {
		t.result.SQLSTATE, t.result.Error = e.Code, e.Message
		if o.po != nil && o.po.redact || hide {
			// Messages quote values: invalid input syntax for type integer: "…".
			t.result.Error, t.result.Redacted = "(redacted)", true
		}
	}
	t.pending = true
	o.rows, o.bytes, o.late = 0, 0, true
	return nil
}

// parseFailed undoes a Parse that the server refused.
func (t *tracker) parseFailed(p *prepared) {
	p.failed = true
	if t.stmts[p.name] == p {
		if p.prev != nil {
			t.stmts[p.name] = p.prev
		} else {
			delete(t.stmts, p.name)
		}
		return
	}
	for q := t.stmts[p.name]; q != nil; q = q.prev {
		if q.prev == p {
			q.prev = p.prev
		}
	}
}

// parseDone makes p what its name means.
func (t *tracker) parseDone(p *prepared) { p.prev, p.known = nil, true }

// bindDone makes p what its name means; an unnamed portal that it has
// replaced can be used again.
func (t *tracker) bindDone(p *portal) {
	if p.own == "" && p.prev != nil {
		t.spare = p.prev
	}
	p.prev, p.known = nil, true
}

// bindFailed undoes a Bind that the server refused or skipped.
func (t *tracker) bindFailed(p *portal) {
	p.failed = true
	now := t.plain
	if p.own != "" {
		now = t.portals[p.own]
	}
	if now == p {
		switch {
		case p.own == "":
			t.plain = p.prev
		case p.prev != nil:
			t.portals[p.own] = p.prev
		default:
			delete(t.portals, p.own)
		}
		return
	}
	for q := now; q != nil; q = q.prev {
		if q.prev == p {
			q.prev = p.prev
		}
	}
}

// portalClosed forgets a portal that the server has closed.
func (t *tracker) portalClosed(p *portal) {
	now := t.plain
	if p.own != "" {
		now = t.portals[p.own]
	}
	if now != p {
		for q := now; q != nil; q = q.prev {
			if q.prev == p {
				q.prev = nil
			}
		}
		return
	}
	if p.own == "" {
		t.plain = nil
	} else {
		delete(t.portals, p.own)
	}
}

// closed forgets a statement that the server has closed.
func (t *tracker) closed(p *prepared) {
	if t.stmts[p.name] == p {
		delete(t.stmts, p.name)
		return
	}
	for q := t.stmts[p.name]; q != nil; q = q.prev {
		if q.prev == p {
			q.prev = nil
		}
	}
}

// current is the number of the statement that the server is at, 0 if none.
// The caller holds mu.
func (t *tracker) current() int64 {
	for i := t.ops.head; i < len(t.ops.q); i++ {
		if t.ops.q[i].runs() {
			return t.ops.q[i].seq
		}
	}
	return 0
}
