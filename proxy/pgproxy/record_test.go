package pgproxy

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"jit-gateway/approval/policy"
	"jit-gateway/recording"
	"jit-gateway/session"
)

func TestBindValuesAreReadable(t *testing.T) {
	w := newWorld(t, plain(func(r *policy.Rule) { r.Recording.RedactParams = []string{`(?i)\bsecret\b`} }))
	token, _ := w.token("alice", "orders", "orders_ro", time.Hour)
	c, err := w.connect("alice", "orders", token)
	w.must(err)
	when := time.Date(2026, 11, 22, 8, 30, 0, 123456000, time.UTC)
	_, err = c.Exec(w.ctx, `SELECT $1::int, $2::text, $3::timestamptz, $4::numeric, $5::bool, $6::bytea, $7::uuid, $8::float8, $9::int[], $10::date, $11::jsonb, $12::inet, $13::bigint`,
		-42, "O'Brien", when, "-1234.5600", true, []byte{0xde, 0xad}, "00112233-4455-6677-8899-aabbccddeeff", 1.5, []int32{1, 2}, when, map[string]int{"a": 1}, "10.0.0.1", nil)
	w.must(err)
	_, err = c.Exec(w.ctx, "SELECT $1::text AS secret", "hunter2")
	w.must(err)
	c.Close(w.ctx)
	var got, hidden []recording.Param
	for _, e := range w.events("alice") {
		if e.Op == "execute" && strings.Contains(e.Statement, "$13") {
			got = e.Params
		}
		if e.Op == "execute" && strings.Contains(e.Statement, "secret") {
			hidden = e.Params
			if !e.Redacted {
				t.Error("the event does not say that it is redacted")
			}
		}
	}
	want := []string{"-42", "O'Brien", "2026-11-22 08:30:00.123456+00", "-1234.5600", "t", `\xdead`, "00112233-4455-6677-8899-aabbccddeeff", "1.5", "{1,2}", "2026-11-22", `{"a":1}`, "10.0.0.1"}
	if len(got) != len(want)+1 {
		t.Fatalf("%d values: %+v", len(got), got)
	}
	for i, v := range want {
		if got[i].Text != v {
			t.Errorf("value %d is %+v, want %q", i+1, got[i], v)
		}
	}
	if !got[12].Null {
		t.Errorf("the last is %+v", got[12])
	}
	if len(hidden) != 1 || !hidden[0].Redacted || hidden[0].Text != "" {
		t.Errorf("the redacted value is %+v", hidden)
	}
}

// The record names the text that the server ran, also where a client tries to
// make a name mean something else by a Parse that fails.
func TestG2RecordCannotBeMisledByNames(t *testing.T) {
	w := newWorld(t, plain(nil))
	token, _ := w.token("alice", "orders", "orders_rw", time.Hour)
	c, err := w.connect("alice", "orders", token)
	w.must(err)
	p := c.PgConn().StartPipeline(w.ctx)
	p.SendPrepare("s", "DELETE FROM orders WHERE id = 4711", nil)
	w.must(p.Sync())
	p.SendPrepare("s", "SELECT 1", nil) // fails: the name is taken
	w.must(p.Sync())
	p.SendQueryPrepared("s", nil, nil, nil) // runs the DELETE
	w.must(p.Sync())
	for syncs := 0; syncs < 3; {
		res, err := p.GetResults()
		if _, failed := errors.AsType[*pgconn.PgError](err); failed {
			continue
		}
		w.must(err)
		switch r := res.(type) {
		case *pgconn.ResultReader:
			_, err := r.Close()
			w.must(err)
		case *pgconn.PipelineSync:
			syncs++
		}
	}
	p.Close()
	c.Close(w.ctx)
	var ran string
	for _, e := range w.events("alice") {
		if e.Op == "execute" && e.Name == "s" {
			ran = e.Statement
		}
		if e.Op == "result" && e.Tag == "DELETE 0" && e.Statement != "" {
			ran = e.Statement
		}
	}
	if !strings.HasPrefix(ran, "DELETE") {
		t.Errorf("the record says that %q ran", ran)
	}
}

func TestPipelineErrorSkipsTheRest(t *testing.T) {
	w := newWorld(t, plain(nil))
	token, _ := w.token("alice", "orders", "orders_ro", time.Hour)
	c, err := w.connect("alice", "orders", token)
	w.must(err)
	b := &pgx.Batch{}
	for _, q := range []string{"SELECT 1", "SELECT 1/0", "SELECT 3"} {
		b.Queue(q)
	}
	if err := c.SendBatch(w.ctx, b).Close(); err == nil {
		t.Error("no error")
	}
	_, err = c.Exec(w.ctx, "SELECT 4")
	w.must(err)
	c.Close(w.ctx)
	by := map[int64]recording.SQL{}
	results := map[string]string{}
	for _, e := range w.events("alice") {
		switch e.Op {
		case "execute", "query":
			by[e.Seq] = e
		case "result":
			results[by[e.Seq].Statement] = e.Tag + "|" + e.SQLSTATE
		}
	}
	if results["SELECT 1/0"] != "|22012" && results[""] == "" || results["SELECT 4"] != "SELECT 1|" {
		t.Errorf("results %v", results)
	}
}

func TestBudgets(t *testing.T) {
	for name, c := range map[string]struct {
		budget policy.Budget
		sql    []string
		part   string
	}{
		"rows":       {policy.Budget{Rows: 10}, []string{"SELECT generate_series(1, 100000000)"}, "budget of 10 rows"},
		"bytes":      {policy.Budget{Bytes: 5000}, []string{"COPY (SELECT repeat('x', 100), generate_series(1, 100000000)) TO STDOUT"}, "budget of 5000 bytes"},
		"statements": {policy.Budget{Statements: 1}, []string{"SELECT 1", "SELECT 2"}, "budget of 1 statements"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, plain(func(r *policy.Rule) { r.Budget = c.budget }))
			token, _ := w.token("alice", "orders", "orders_ro", time.Hour)
			args := []string{"-X", "-At", "-v", "VERBOSITY=verbose"}
			for _, s := range append(c.sql, "SELECT 'after'") {
				args = append(args, "-c", s)
			}
			begin := time.Now()
			out, err := w.client("alice", token, "orders", "psql", args...).CombinedOutput()
			t.Logf("psql said %.400s", out)
			if err == nil || !strings.Contains(string(out), "ERROR:  53400: the "+c.part) || !strings.Contains(string(out), "HINT:  An approver can raise it") {
				t.Errorf("psql said %.400s (%v)", out, err)
			}
			if len(out) > 20000 || time.Since(begin) > 10*time.Second {
				t.Errorf("%d bytes in %v", len(out), time.Since(begin))
			}
			if strings.Contains(string(out), "after") {
				t.Error("a statement ran past the budget")
			}
			w.settled()
			w.noRoles()
		})
	}
}

// The extended protocol is refused in step: the client and the server agree
// about the transaction afterwards, and a raised budget lets it go on.
func TestBudgetIsRaisedLive(t *testing.T) {
	w := newWorld(t, plain(func(r *policy.Rule) { r.Budget = policy.Budget{Statements: 3, Per: "grant"} }))
	token, g := w.token("alice", "orders", "orders_ro", time.Hour)
	c, err := w.connect("alice", "orders", token, "default_query_exec_mode=exec")
	w.must(err)
	var n int
	tx, err := c.Begin(w.ctx) // 1
	w.must(err)
	w.must(tx.QueryRow(w.ctx, "SELECT $1::int", 7).Scan(&n)) // 2
	w.must(tx.QueryRow(w.ctx, "SELECT $1::int", 8).Scan(&n)) // 3
	err = tx.QueryRow(w.ctx, "SELECT $1::int", 9).Scan(&n)
	if e, ok := errors.AsType[*pgconn.PgError](err); !ok || e.Code != stateBudget {
		t.Fatalf("past the budget: %v", err)
	}
	if s := c.PgConn().TxStatus(); s != 'E' {
		t.Errorf("the transaction is %q", s)
	}
	if !w.srv.RaiseBudget(g.ID, policy.Budget{Statements: 10}) {
		t.Error("no session took the raise")
	}
	w.must(tx.Rollback(w.ctx))
	w.must(c.QueryRow(w.ctx, "SELECT $1::int", 10).Scan(&n))
	if n != 10 {
		t.Error(n)
	}
}

func TestReadOnlyIsRealOrRefused(t *testing.T) {
	w := newWorld(t, plain(func(r *policy.Rule) { r.Postgres.ReadOnly = true }))
	token, _ := w.token("alice", "orders", "orders_rw", time.Hour)
	out, err := w.client("alice", token, "orders", "psql", "-X", "-c", "SELECT 1").CombinedOutput()
	if err == nil || !strings.Contains(string(out), `the rule wants a read-only role, and "orders_rw" can write`) {
		t.Errorf("psql said %s", out)
	}
	token, _ = w.token("bob", "orders", "orders_ro", time.Hour)
	for _, sql := range []string{
		"SET default_transaction_read_only = off; COMMIT; INSERT INTO customers VALUES (99, 'x', 'y')",
		"BEGIN READ WRITE; UPDATE orders SET quantity = 0; COMMIT",
		"SET ROLE NONE; SET default_transaction_read_only = off; COMMIT; DELETE FROM orders",
		"SELECT set_config('default_transaction_read_only', 'off', false); COMMIT; CREATE TABLE public.t (i int)",
	} {
		out, err := w.client("bob", token, "orders", "psql", "-X", "-v", "ON_ERROR_STOP=1", "-c", sql).CombinedOutput()
		if err == nil {
			t.Errorf("%s: psql said %s", sql, out)
		}
	}
	if v := w.psql("bob", token, "SHOW transaction_read_only"); v != "on\n" {
		t.Errorf("transaction_read_only is %s", v)
	}
}

// The one place where a statement can be held: nothing of it reaches the
// server before the answer, and a refusal leaves the session open.
func TestHold(t *testing.T) {
	asked := make(chan string, 10)
	answer := make(chan error)
	w := newWorld(t, plain(nil), func(o *Options) {
		o.Hold = func(ctx context.Context, s *session.Session, st Statement) error {
			if !strings.Contains(st.Text, "held") {
				return nil
			}
			asked <- st.Text
			return <-answer
		}
	})
	token, _ := w.token("alice", "orders", "orders_ro", time.Hour)
	for _, mode := range []string{"simple_protocol", "exec", "cache_statement"} {
		c, err := w.connect("alice", "orders", token, "default_query_exec_mode="+mode)
		w.must(err)
		run := func() error {
			var v string
			return c.QueryRow(w.ctx, "SELECT 'held'::text || $1::text", mode).Scan(&v)
		}
		done := make(chan error, 1)
		go func() { done <- run() }()
		<-asked
		if n := w.value("SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%held%' AND pid <> pg_backend_pid()"); n != "0" {
			t.Errorf("%s: the server has seen the statement", mode)
		}
		answer <- errors.New("not today")
		if e, ok := errors.AsType[*pgconn.PgError](<-done); !ok || e.Message != "not today" || e.Code != stateNotAllowed {
			t.Errorf("%s: a refused statement: %v", mode, e)
		}
		go func() { done <- run() }()
		<-asked
		answer <- nil
		if err := <-done; err != nil {
			t.Errorf("%s: a released statement: %v", mode, err)
		}
		c.Close(w.ctx)
	}
}

// Large messages pass in bounded memory, with their hash on record.
func TestLargeMessages(t *testing.T) {
	w := newWorld(t, plain(nil))
	token, _ := w.token("alice", "orders", "orders_ro", time.Hour)
	c, err := w.connect("alice", "orders", token)
	w.must(err)
	const size = 32 << 20
	var before, peak runtime.MemStats
	head, tail := "SELECT length('", "'), repeat('y', 32000000)"
	runtime.GC()
	runtime.ReadMemStats(&before)
	stop := make(chan struct{})
	sampled := make(chan uint64)
	go func() {
		var most uint64
		for {
			select {
			case <-stop:
				sampled <- most
				return
			case <-time.After(5 * time.Millisecond):
				runtime.ReadMemStats(&peak)
				most = max(most, peak.HeapInuse)
			}
		}
	}()
	// A client of its own, which holds no more than a chunk.
	conn, err := hijack(c)
	w.must(err)
	h := message('Q')
	h[1], h[2], h[3], h[4] = be32(4 + len(head) + size + len(tail) + 1)
	sum := sha256.New()
	for _, p := range [][]byte{h, []byte(head)} {
		_, err := conn.Write(p)
		w.must(err)
	}
	sum.Write([]byte(head))
	block := []byte(strings.Repeat("x", 1<<20))
	for range size >> 20 {
		_, err := conn.Write(block)
		w.must(err)
		sum.Write(block)
	}
	end := append([]byte(tail), 0)
	sum.Write(end)
	_, err = conn.Write(end)
	w.must(err)
	got := 0
	buf := make([]byte, 1<<16)
	for last := byte(0); last != 'I'; {
		n, err := conn.Read(buf)
		w.must(err)
		got += n
		last = buf[n-1]
	}
	close(stop)
	most := <-sampled
	conn.Close()
	if got < 32000000 {
		t.Errorf("%d bytes came back", got)
	}
	t.Logf("heap grew by %d KiB at most", (int64(most)-int64(before.HeapInuse))>>10)
	if grown := int64(most) - int64(before.HeapInuse); grown > 24<<20 {
		t.Errorf("the heap grew by %d bytes", grown)
	}
	for _, e := range w.events("alice") {
		if e.Op == "query" {
			if e.Full != int64(len(head)+size+len(tail)) || e.SHA256 != hex.EncodeToString(sum.Sum(nil)) || len(e.Statement) > maxText {
				t.Errorf("recorded with length %d, hash %s, %d bytes of text", e.Full, e.SHA256, len(e.Statement))
			}
			return
		}
	}
	t.Error("no statement on record")
}

func be32(n int) (a, b, c, d byte) { return byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n) }

func hijack(c *pgx.Conn) (net.Conn, error) {
	h, err := c.PgConn().Hijack()
	if err != nil {
		return nil, err
	}
	return h.Conn, nil
}

// Many sessions of one grant at once: each gets its role, all of them go.
func TestManySessionsTogether(t *testing.T) {
	w := newWorld(t, plain(nil))
	token, _ := w.token("alice", "orders", "orders_rw", time.Hour)
	const n = 200
	errs := make(chan error, n)
	begin := time.Now()
	for range n {
		go func() {
			c, err := w.connect("alice", "orders", token)
			if err == nil {
				var who string
				if err = c.QueryRow(w.ctx, "SELECT current_user").Scan(&who); err == nil && who != "orders_rw" {
					err = fmt.Errorf("it is %s", who)
				}
				c.Close(w.ctx)
			}
			errs <- err
		}()
	}
	for range n {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	t.Logf("%d sessions in %v", n, time.Since(begin).Round(time.Millisecond))
	w.settled()
	w.noRoles()
}
