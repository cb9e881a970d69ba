package pgproxy

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"jit-gateway/approval/policy"
	"jit-gateway/recording"
)

// Messages of a client that says what it likes.
func mQuery(sql string) []byte { return message('Q', []byte(sql+"\x00")) }
func mParse(name, sql string) []byte {
	return message('P', []byte(name+"\x00"+sql+"\x00"), []byte{0, 0})
}
func mBind(portal, stmt string, values ...string) []byte {
	b := binary.BigEndian.AppendUint16([]byte{0, 0}, uint16(len(values)))
	for _, v := range values {
		b = append(binary.BigEndian.AppendUint32(b, uint32(len(v))), v...)
	}
	return message('B', []byte(portal+"\x00"+stmt+"\x00"), b, []byte{0, 0})
}
func mDescribe(kind byte, name string) []byte {
	return message('D', []byte{kind}, []byte(name+"\x00"))
}
func mExecute(portal string) []byte { return message('E', []byte(portal+"\x00"), []byte{0, 0, 0, 0}) }

var mSync = message('S')

// talker is a session below any driver.
type talker struct {
	testing.TB
	conn net.Conn
	r    *bufio.Reader
}

func (w *world) talker(user, token string) *talker {
	c := w.begun(user, token, "orders")
	c.SetDeadline(time.Now().Add(time.Minute))
	return &talker{w.TB, c, bufio.NewReader(c)}
}

// say sends all messages at once and reads up to as many ReadyForQuery as
// given; it returns the types of the answers, with SQLSTATEs.
func (c *talker) say(ready int, msgs ...[]byte) string {
	c.Helper()
	var all []byte
	for _, m := range msgs {
		all = append(all, m...)
	}
	go c.conn.Write(all)
	var got strings.Builder
	for ready > 0 {
		typ, body, err := readMessage(c.r, 1<<20)
		if err != nil {
			c.Fatalf("after %q: %v", got.String(), err)
		}
		got.WriteByte(typ)
		switch typ {
		case 'E':
			e := errorFields(body)
			fmt.Fprintf(&got, "(%s)", e.Code)
		case 'Z':
			ready--
		}
	}
	return got.String()
}

// bye ends the session and returns the record: what was said, and the last
// outcome of each statement by its number.
func (c *talker) bye(w *world, user string) (said []recording.SQL, outcomes map[int64]recording.SQL) {
	c.conn.Write(message('X'))
	c.conn.Close()
	outcomes = map[int64]recording.SQL{}
	for _, e := range w.events(user) {
		if e.Op == "result" {
			outcomes[e.Seq] = e
		} else {
			said = append(said, e)
		}
	}
	return said, outcomes
}

// A statement that is refused is replaced by one that fails, whatever the
// session has prepared: no portal of the client's is ever run in its place.
func TestG2RefusedStatementRunsNothing(t *testing.T) {
	w := newWorld(t, plain(func(r *policy.Rule) { r.Budget = policy.Budget{Statements: 2} }))
	token, _ := w.token("alice", "orders", "orders_rw", time.Hour)
	c := w.talker("alice", token)
	c.say(2, mQuery("CREATE TEMP TABLE t (a int)"), mParse("i", "INSERT INTO t VALUES (1)"), mParse("s", "SELECT count(*)::text FROM t"),
		mBind("last", "s"), mExecute("last"), mSync)
	for _, portal := range []string{refusedText, ""} {
		if got := c.say(1, mBind(portal, "i"), mExecute(portal), mSync); got != "2E(53400)Z" {
			t.Errorf("past the budget, portal %q: %s", portal, got)
		}
	}
	c.bye(w, "alice")
}

// What comes beside the rows of one statement counts too.
func TestBudgetCountsWhatComesBeside(t *testing.T) {
	arg := func(s string) []byte { return append(binary.BigEndian.AppendUint32(nil, uint32(len(s))), s...) }
	const repeat = 1622 // the function's OID
	for name, c := range map[string]struct {
		budget policy.Budget
		msg    []byte
		most   string // of these answers at most three
	}{
		"several statements in one query": {policy.Budget{Statements: 3}, mQuery(strings.Repeat("SELECT 1;", 50)), "D"},
		"notices":                         {policy.Budget{Bytes: 3500}, mQuery("DO $$ BEGIN FOR i IN 1 .. 50 LOOP RAISE NOTICE '%', repeat('x', 1000); END LOOP; END $$"), "N"},
		"the result of a function call":   {policy.Budget{Bytes: 3500}, message('F', binary.BigEndian.AppendUint32(nil, repeat), []byte{0, 0, 0, 2}, arg("x"), arg("4000"), []byte{0, 0}), "V"},
	} {
		w := newWorld(t, plain(func(r *policy.Rule) { r.Budget = c.budget }))
		token, _ := w.token("alice", "orders", "orders_ro", time.Hour)
		s := w.talker("alice", token)
		if got := s.say(1, c.msg); !strings.HasSuffix(got, "E(53400)Z") || strings.Count(got, c.most) > 3 {
			t.Errorf("%s: the answer is %s", name, got)
		}
		if got := s.say(1, mQuery("SELECT 1")); got != "E(53400)Z" {
			t.Errorf("%s: the next statement: %s", name, got)
		}
		s.bye(w, "alice")
	}
}
