package pgproxy

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"jit-gateway/recording"
)

// Outcomes stay with their statements, whatever a client puts between them.
func TestOutcomesStayWithTheirStatements(t *testing.T) {
	stray := message('c')
	w := newWorld(t, plain(nil))
	token, _ := w.token("alice", "orders", "orders_rw", time.Hour)
	for name, c := range map[string]struct {
		ready  int
		msgs   [][]byte
		answer string
	}{
		"a query is skipped behind a failed Parse":      {1, [][]byte{mParse("", "broken"), mQuery("SELECT 'skipped'"), mSync}, "E(42601)Z"},
		"a query is skipped behind a failed Bind":       {1, [][]byte{mBind("", "nothing"), mQuery("SELECT 'skipped'"), mSync}, "E(26000)Z"},
		"a query is skipped behind a failed Describe":   {1, [][]byte{mDescribe('P', "nothing"), mQuery("SELECT 'skipped'"), mSync}, "E(34000)Z"},
		"a function is skipped behind a failed Execute": {1, [][]byte{mExecute("nothing"), message('F', make([]byte, 10)), mSync}, "E(34000)Z"},
		"CopyDone without COPY":                         {1, [][]byte{mParse("", "SELECT 1"), stray, mBind("", ""), stray, mExecute(""), mSync}, "12DCZ"},
		"CopyDone before a query":                       {1, [][]byte{stray, stray, mQuery("SELECT 'not skipped'")}, "TDCZ"},
		"statement and portal described":                {1, [][]byte{mParse("", "SELECT 1"), mDescribe('S', ""), mBind("", ""), mDescribe('P', ""), mExecute(""), mSync}, "1tT2TDCZ"},
		"one without rows described":                    {1, [][]byte{mParse("", "SET work_mem TO '1MB'"), mDescribe('S', ""), mBind("", ""), mDescribe('P', ""), mExecute(""), mSync}, "1tn2nCZ"},
	} {
		t.Run(name, func(t *testing.T) {
			s := w.talker("alice", token)
			if got := s.say(c.ready, c.msgs...); got != c.answer {
				t.Errorf("the server said %s", got)
			}
			s.say(2, mQuery("SELECT 'first' FROM generate_series(1, 11)"), mQuery("SELECT 1/0"))
			said, outcomes := s.bye(w, "alice")
			for _, e := range said {
				o := outcomes[e.Seq]
				switch {
				case strings.Contains(e.Statement, "'skipped'") || e.Op == "function":
					if o.Error == "" || o.Tag != "" {
						t.Errorf("a skipped statement's outcome is %+v", o)
					}
				case strings.Contains(e.Statement, "'first'") && (o.Tag != "SELECT 11" || o.Rows != 11):
					t.Errorf("the next statement's outcome is %+v", o)
				case strings.Contains(e.Statement, "1/0") && o.SQLSTATE != "22012":
					t.Errorf("the last statement's outcome is %+v", o)
				case e.Op == "execute" && e.Statement == "SELECT 1" && (o.Tag != "SELECT 1" || o.Rows != 1):
					t.Errorf("the outcome among stray messages is %+v", o)
				case strings.Contains(e.Statement, "'not skipped'") && o.Tag != "SELECT 1":
					t.Errorf("the outcome behind stray messages is %+v", o)
				}
			}
		})
	}
}

// What fails at Sync, the commit of an implicit transaction, is on record.
func TestErrorAtSyncIsOnRecord(t *testing.T) {
	w := newWorld(t, plain(nil))
	token, _ := w.token("alice", "orders", "orders_rw", time.Hour)
	s := w.talker("alice", token)
	s.say(1, mQuery("CREATE TEMP TABLE u (a int UNIQUE DEFERRABLE INITIALLY DEFERRED); INSERT INTO u VALUES (1)"))
	if got := s.say(1, mParse("", "INSERT INTO u VALUES (1)"), mBind("", ""), mExecute(""), mSync); got != "12CE(23505)Z" {
		t.Fatalf("the server said %s", got)
	}
	said, outcomes := s.bye(w, "alice")
	if o := outcomes[said[len(said)-1].Seq]; o.SQLSTATE != "23505" {
		t.Errorf("the outcome is %+v", o)
	}
}

// A Bind that fails or is skipped leaves the portal as it was: the record
// has the values of what ran, and its text.
func TestG2RecordCannotBeMisledByPortals(t *testing.T) {
	w := newWorld(t, plain(nil))
	token, _ := w.token("alice", "orders", "orders_rw", time.Hour)
	for _, portal := range []string{"", "p"} {
		s := w.talker("alice", token)
		s.say(1, mQuery("CREATE TEMP TABLE t (a text)"))
		got := s.say(3,
			mParse("begin", "BEGIN"), mBind("b", "begin"), mExecute("b"),
			mParse("run", "INSERT INTO t VALUES ($1)"), mParse("back", "ROLLBACK TO s"), mParse("save", "SAVEPOINT s"),
			mBind(portal, "run", "the value"), mBind("save", "save"), mExecute("save"), mSync,
			mBind("back", "back"), mParse("harmless", "SELECT 1"), mBind("x", "nothing"), mBind(portal, "harmless"), mSync,
			mBind("again", "back"), mExecute("again"), mExecute(portal), mSync)
		if !strings.HasSuffix(got, "2CCZ") {
			t.Fatalf("portal %q: the server said %s", portal, got)
		}
		if got := s.say(1, mQuery("COMMIT")); got != "CZ" {
			t.Fatalf("COMMIT: %s", got)
		}
		var ran recording.SQL
		said, outcomes := s.bye(w, "alice")
		for _, e := range said {
			if e.Op == "execute" && outcomes[e.Seq].Tag == "INSERT 0 1" {
				ran = e
				if o := outcomes[e.Seq]; o.Statement != "" {
					ran.Statement, ran.Params = o.Statement, o.Params
				}
			}
		}
		if !strings.HasPrefix(ran.Statement, "INSERT") || len(ran.Params) != 1 || ran.Params[0].Text != "the value" {
			t.Errorf("portal %q: the record says that %+v ran", portal, ran)
		}
	}
}

// PostgreSQL cuts the names of statements and portals after 63 bytes.
func TestG2LongNamesAreTheSameName(t *testing.T) {
	w := newWorld(t, plain(nil))
	token, _ := w.token("alice", "orders", "orders_rw", time.Hour)
	s := w.talker("alice", token)
	long := strings.Repeat("n", 63)
	got := s.say(1, mParse(long+"b", "SELECT 1"), message('C', []byte("S"+long+"a\x00")), mParse(long+"a", "DELETE FROM orders WHERE id = 4711"),
		mBind(long+"c", long+"b"), mExecute(long+"d"), mSync)
	if got != "1312CZ" {
		t.Fatalf("the server said %s", got)
	}
	said, outcomes := s.bye(w, "alice")
	for _, e := range said {
		if e.Op == "execute" && outcomes[e.Seq].Tag == "DELETE 0" && strings.HasPrefix(e.Statement, "DELETE") {
			return
		}
	}
	t.Errorf("the record: %+v", said)
}

// Names that SQL takes away or gives mean what the server has under them.
func TestG2NamesFollowDeallocateAndPrepare(t *testing.T) {
	w := newWorld(t, plain(nil))
	token, _ := w.token("alice", "orders", "orders_rw", time.Hour)
	for _, sql := range []string{
		"DEALLOCATE s", "deallocate prepare \"s\" ;", "DEALLOCATE ALL", "DISCARD ALL", "SELECT 1; DEALLOCATE S",
		"DO $$ BEGIN EXECUTE 'DEALLOCATE s'; END $$",
	} {
		s := w.talker("alice", token)
		s.say(1, mParse("s", "SELECT 1"), mSync)
		for _, q := range []string{sql, "PREPARE s AS DELETE FROM orders WHERE id = 4711"} {
			if got := s.say(1, mQuery(q)); strings.Contains(got, "E") {
				t.Fatalf("%s: %s", q, got)
			}
		}
		s.say(1, mBind("", "s"), mExecute(""), mSync)
		said, outcomes := s.bye(w, "alice")
		found := false
		for _, e := range said {
			if e.Op == "execute" && outcomes[e.Seq].Tag == "DELETE 0" {
				found = true
				if e.Name != "s" || e.Statement != "" && !strings.Contains(e.Statement, "DELETE") {
					t.Errorf("%s: the record says that %q ran", sql, e.Statement)
				}
			}
		}
		if !found {
			t.Errorf("%s: nothing ran: %+v", sql, said)
		}
	}
}

// A driver that prepares and deallocates for hours meets no limit of ours.
func TestNamesAreForgottenWithDeallocate(t *testing.T) {
	w := newWorld(t, plain(nil))
	token, _ := w.token("alice", "orders", "orders_rw", time.Hour)
	s := w.talker("alice", token)
	const each, rounds = maxAll / 16, 18
	for round := range rounds {
		var msgs [][]byte
		for n := range each {
			name := fmt.Sprint("s", round, "_", n)
			msgs = append(msgs, mParse(name, "SELECT 1"), mParse("", "DEALLOCATE "+name), mBind("", ""), mExecute(""))
		}
		if got := s.say(1, append(msgs, mSync)...); strings.Contains(got, "E") {
			t.Fatalf("round %d: %.80s", round, got)
		}
	}
	s.bye(w, "alice")
}

// A pipeline of any length passes: the client waits as it would at the server.
func TestLongPipeline(t *testing.T) {
	w := newWorld(t, plain(nil))
	token, _ := w.token("alice", "orders", "orders_rw", time.Hour)
	s := w.talker("alice", token)
	s.say(1, mQuery("CREATE TEMP TABLE t (a int)"))
	const n = maxOps + maxOps/4
	msgs := [][]byte{mParse("i", "INSERT INTO t SELECT $1::int WHERE pg_sleep(CASE $1::int WHEN 1 THEN 1 ELSE 0 END) IS NOT NULL")}
	for range n {
		msgs = append(msgs, mExecute("nothing"))
	}
	// The first fails, all others are skipped by the server without a word.
	if got := s.say(1, append(msgs, mSync)...); got != "1E(34000)Z" {
		t.Errorf("a failed pipeline: %s", got)
	}
	msgs = [][]byte{mBind("", "i", "1"), mExecute("")}
	for range n {
		msgs = append(msgs, mBind("", "i", "0"), mExecute(""))
	}
	if got := s.say(1, append(msgs, mSync)...); strings.Count(got, "C") != n+1 || strings.Contains(got, "E") {
		t.Errorf("a long pipeline: %.40s", got)
	}
	s.bye(w, "alice")
}
