package storetest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"strings"
	"time"

	"jit-gateway/internal/audit"
	"jit-gateway/internal/store"
)

// signer makes a key for one test.
func (s *suite) signer() (*audit.Signer, string) {
	s.Helper()
	skey, vkey, err := audit.GenerateKey("gw.example.org/audit")
	s.ok(err)
	return must(audit.NewSigner(skey))(s), vkey
}

func log(s *suite) {
	same(s, must(s.LastSeq(s.ctx))(s), int64(-1))
	same(s, must(s.Tree(s.ctx))(s).N, int64(0))
	e := audit.Event{
		Type: audit.RequestRefused, Outcome: audit.Denied, Time: s.now, Actor: audit.Actor{ID: "U1", Name: "alice", Source: "192.0.2.1", Via: "ssh"},
		User: "U1", Target: "web01", Request: "R1", Grant: "G1", Session: "S1", Reason: "no <rule> & \"such\"\n", Detail: map[string]string{"b": "2", "a": "1"},
	}
	got := must(s.Append(s.ctx, e))(s)
	if got.Seq != 0 || got.ID == "" {
		s.Errorf("the first event came back as %+v", got)
	}
	e.Seq, e.ID = got.Seq, got.ID
	same(s, got, e)
	same(s, must(s.Events(s.ctx, -1, 10))(s), []audit.Event{e})

	defaults := must(s.Append(s.ctx, ev(audit.Heartbeat)))(s)
	if defaults.Time.IsZero() || defaults.Time.Location() != time.UTC || defaults.Outcome != audit.Success || defaults.Seq != 1 || defaults.ID == e.ID {
		s.Errorf("what the store fills in: %+v", defaults)
	}
	if _, err := s.Append(s.ctx, audit.Event{}); err == nil {
		s.Error("an event without a type was accepted")
	}
	if _, err := s.Append(s.ctx, audit.Event{Type: "x", Reason: strings.Repeat("x", audit.MaxLeaf)}); err == nil {
		s.Error("an event of a megabyte was accepted")
	}
	if _, err := s.AppendAll(s.ctx, []audit.Event{ev(audit.Heartbeat), ev(audit.Heartbeat), {}}); err == nil {
		s.Error("a batch with an event without a type was accepted")
	}
	same(s, must(s.LastSeq(s.ctx))(s), int64(1)) // and nothing of it remains
	batch := must(s.AppendAll(s.ctx, []audit.Event{ev(audit.Heartbeat), ev(audit.Heartbeat)}))(s)
	if batch[0].Seq != 2 || batch[1].Seq != 3 {
		s.Errorf("a batch came back as %+v", batch)
	}

	leaves := must(s.Leaves(s.ctx, 1, 2))(s)
	if len(leaves) != 2 || leaves[0].Seq != 1 || leaves[1].Seq != 2 {
		s.Fatalf("leaves from 1, two of them: %+v", leaves)
	}
	for _, l := range leaves {
		var e audit.Event
		s.ok(json.Unmarshal(l.Data, &e))
		again, err := audit.Encode(e)
		s.ok(err)
		if !bytes.Equal(again, l.Data) {
			s.Errorf("the leaf %s does not survive decoding: %s", l.Data, again)
		}
	}
	same(s, must(s.Leaf(s.ctx, 1))(s), leaves[0])
	s.is(fail(s.Leaf(s.ctx, 99)), store.ErrNotFound)
	same(s, must(s.Tree(s.ctx))(s).N, int64(4))
}

func findEvents(s *suite) {
	for i, e := range []audit.Event{
		{Type: audit.UserAdded, User: "U1"},
		{Type: audit.SessionStarted, User: "U1", Target: "web01", Grant: "G1", Session: "S1", Request: "R1"},
		{Type: audit.SessionEnded, User: "U1", Target: "web01", Grant: "G1", Session: "S1", Request: "R1"},
		{Type: audit.SessionStarted, User: "U2", Target: "web02", Grant: "G2", Session: "S2", Request: "R2"},
	} {
		e.Time = s.now.Add(time.Duration(i) * time.Minute)
		must(s.Append(s.ctx, e))(s)
	}
	for name, c := range map[string]struct {
		f    audit.Filter
		want []int64
	}{
		"all":     {audit.Filter{}, []int64{3, 2, 1, 0}},
		"types":   {audit.Filter{Types: []audit.Type{audit.UserAdded, audit.SessionEnded}}, []int64{2, 0}},
		"user":    {audit.Filter{User: "U1", Limit: 2}, []int64{2, 1}},
		"target":  {audit.Filter{Target: "web02"}, []int64{3}},
		"request": {audit.Filter{Request: "R1"}, []int64{2, 1}},
		"grant":   {audit.Filter{Grant: "G1"}, []int64{2, 1}},
		"session": {audit.Filter{Session: "S2"}, []int64{3}},
		"time":    {audit.Filter{Since: s.now.Add(time.Minute), Until: s.now.Add(2 * time.Minute)}, []int64{1}},
		"before":  {audit.Filter{Before: 2}, []int64{1, 0}},
	} {
		var seqs []int64
		for _, e := range must(s.FindEvents(s.ctx, c.f))(s) {
			seqs = append(seqs, e.Seq)
		}
		s.Log(name)
		same(s, seqs, c.want)
	}
}

// waitEvents: who waits is woken by the commit, not by a poll, and a tail
// gives every event once and in order.
func waitEvents(s *suite) {
	ctx, cancel := context.WithCancel(s.ctx)
	seen := make(chan audit.Event)
	done := make(chan error, 1)
	go func() {
		for e, err := range audit.Tail(ctx, s.Store, -1) {
			if err != nil {
				done <- err
				return
			}
			seen <- e
		}
	}()
	for i := range int64(20) {
		if i == 5 {
			must(s.AppendAll(s.ctx, []audit.Event{ev(audit.Heartbeat), ev(audit.Heartbeat)}))(s)
		} else if i != 6 {
			must(s.Append(s.ctx, ev(audit.Heartbeat)))(s)
		}
		if e := <-seen; e.Seq != i {
			s.Fatalf("the tail gave event %d, want %d", e.Seq, i)
		}
	}
	s.ok(s.WaitEvents(s.ctx, 18)) // there already
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		s.Errorf("a tail that was stopped says %v", err)
	}
}

func checkpoints(s *suite) {
	signer, vkey := s.signer()
	same(s, must(s.LastCheckpoint(s.ctx))(s), audit.Checkpoint{})
	cp := audit.Checkpointer{Log: s.Store, Source: s.Store, Signer: signer, Now: func() time.Time { return s.now }}
	none, err := cp.Sign(s.ctx)
	s.ok(err)
	same(s, none, audit.Checkpoint{})
	var all []audit.Checkpoint
	for range 5 {
		must(s.AppendAll(s.ctx, []audit.Event{ev(audit.Heartbeat), ev(audit.Heartbeat), ev(audit.Heartbeat)}))(s)
		c := must(cp.Sign(s.ctx))(s)
		same(s, must(cp.Sign(s.ctx))(s), c) // no growth, no new one
		same(s, must(s.LastCheckpoint(s.ctx))(s), c)
		all = append(all, c)
	}
	same(s, must(s.Checkpoints(s.ctx, 0, 10))(s), all)
	same(s, must(s.Checkpoints(s.ctx, 4, 2))(s), all[1:3])
	s.ok(s.SaveCheckpoint(s.ctx, all[0])) // again, by another gateway
	r := must(audit.Verify(s.ctx, s.Store, vkey, audit.VerifyOptions{Against: []string{all[2].Note}}))(s)
	if !r.Intact() || r.Events != 15 || r.Signed != 15 || r.Checkpoints != 5 || r.Outside != 9 {
		s.Errorf("report: %+v", r)
	}
}

func proofs(s *suite) {
	signer, vkey := s.signer()
	var points []audit.Checkpoint
	for range 13 {
		must(s.AppendAll(s.ctx, []audit.Event{ev(audit.Heartbeat), ev(audit.Heartbeat)}))(s)
		points = append(points, must(signer.Sign(must(s.Tree(s.ctx))(s)))(s))
	}
	for _, c := range points {
		for seq := range c.Size {
			leaf := must(s.Leaf(s.ctx, seq))(s)
			proof := must(audit.Prove(s.ctx, s.Store, seq, c))(s)
			if got, _, err := audit.CheckProof(proof, leaf.Data, vkey); err != nil || got != seq {
				s.Fatalf("event %d of %d: %v", seq, c.Size, err)
			}
		}
		for _, older := range points {
			if older.Size > c.Size {
				continue
			}
			p := must(audit.ProveConsistency(s.ctx, s.Store, older, c))(s)
			s.ok(audit.CheckConsistency(p, older, c))
		}
	}
}

func cursors(s *suite) {
	same(s, must(s.Cursor(s.ctx, "sink/file"))(s), int64(-1))
	s.ok(s.SaveCursor(s.ctx, "sink/file", 7))
	s.ok(s.SaveCursor(s.ctx, "sink/file", 6)) // a reader may go back
	same(s, must(s.Cursor(s.ctx, "sink/file"))(s), int64(6))
	same(s, must(s.Cursor(s.ctx, "sink/syslog"))(s), int64(-1))
	same(s, must(s.LastSeq(s.ctx))(s), int64(-1)) // not events
}
