package pgproxy

import (
	"strconv"
	"strings"
	"time"

	"jit-gateway/recording"
)

// A prepared statement as the client parsed it. Which text a name stands for
// is decided by the server: until it has answered, prev is what the name
// meant before, and a Parse that failed leaves that in force.
type prepared struct {
	name   string
	text   string // at most maxStored
	full   int64  // true length where text was cut, else 0
	sum    string
	oids   []uint32
	redact bool // of values
	hidden bool // a password was taken out of the text

	seq    int64 // of the event that recorded the text; 0: not yet
	prev   *prepared
	known  bool // the server has it
	failed bool
}

// actual is the statement that the server has under the name.
func (p *prepared) actual() *prepared {
	for p != nil && p.failed {
		p = p.prev
	}
	return p
}

// A portal is a bound statement. As with statements, prev is what the name
// meant before, until the server has answered.
type portal struct {
	own    string    // its name
	st     *prepared // nil: prepared in SQL, or unknown
	name   string    // of the statement
	params []recording.Param
	full   int64 // length of the values where they were too long to be kept
	sum    string
	redact bool

	seen   bool // an event has recorded the values
	known  bool // the server has it
	prev   *portal
	failed bool
}

// actual is the portal that the server has under the name.
func (p *portal) actual() *portal {
	for p != nil && p.failed {
		p = p.prev
	}
	return p
}

// An op is a message of the client that the server will answer.
type op struct {
	kind   byte // as on the wire; 'K' for the end of a client's COPY data
	seq    int64
	st     *prepared
	po     *portal
	sql    string // the text of a short simple query
	start  time.Duration
	rows   int64
	bytes  int64
	copyIn bool
	data   bool     // COPY data came behind it
	late   bool     // had a result already (simple queries have several)
	refuse *pgError // what to answer instead of the server's error
}

// maxShort is how long a simple query may be whose text is kept until its
// outcome, for the few that change what names mean.
const maxShort = 1 << 10

// notRun is the outcome of what the server skips.
var notRun = &pgError{Message: "not run: an earlier statement of the pipeline failed"}

// maxName is how much of a name PostgreSQL compares (NAMEDATALEN - 1).
const maxName = 63

// asServer is the name as the server has it.
func asServer(name string) string {
	if len(name) > maxName {
		return name[:maxName]
	}
	return name
}

// runs reports whether the op is a statement that runs.
func (o *op) runs() bool { return o.kind == 'Q' || o.kind == 'E' || o.kind == 'F' }

// ops is a queue of what the server has not answered yet.
type ops struct {
	q    []op
	head int
}

func (o *ops) len() int { return len(o.q) - o.head }

func (o *ops) push(v op) {
	if o.head > 0 && len(o.q) == cap(o.q) {
		n := copy(o.q, o.q[o.head:])
		clear(o.q[n:])
		o.q, o.head = o.q[:n], 0
	}
	o.q = append(o.q, v)
}

// first is the op that the server is at. It has passed by an end of COPY data
// that is first: outside of COPY that is ignored.
func (o *ops) first() *op {
	for o.len() > 0 && o.q[o.head].kind == 'K' {
		o.pop()
	}
	if o.len() == 0 {
		return nil
	}
	return &o.q[o.head]
}

func (o *ops) pop() {
	o.q[o.head] = op{}
	if o.head++; o.head == len(o.q) {
		o.q, o.head = o.q[:0], 0
		if cap(o.q) > 64 {
			o.q = nil
		}
	}
}

// endCopy removes what the server has read as part of COPY data from the
// client: it ignores Sync until the CopyDone or CopyFail that 'K' stands for
// (protocol-flow, COPY Operations), or until the data that it could not take.
// It returns how many Syncs those were.
func (o *ops) endCopy() (syncs int) {
	end := o.head
	for i := o.head; i < len(o.q); i++ {
		if o.q[i].data {
			end = i + 1
		}
		if o.q[i].kind == 'K' {
			end = i + 1
			break
		}
	}
	rest := o.q[o.head:o.head]
	for i := o.head; i < len(o.q); i++ {
		if i < end && (o.q[i].kind == 'S' || o.q[i].kind == 'K') {
			if o.q[i].kind == 'S' {
				syncs++
			}
			continue
		}
		rest = append(rest, o.q[i])
	}
	clear(o.q[o.head+len(rest):])
	o.q = o.q[:o.head+len(rest)]
	if o.len() == 0 {
		o.q, o.head = o.q[:0], 0
	}
	return syncs
}

// tagRows is the row count of a command tag: "UPDATE 3", "INSERT 0 3".
func tagRows(tag string) int64 {
	i := strings.LastIndexByte(tag, ' ')
	n, err := strconv.ParseInt(tag[i+1:], 10, 64)
	if err != nil {
		return 0
	}
	return n
}
