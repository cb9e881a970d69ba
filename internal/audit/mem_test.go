package audit

import (
	"context"
	"fmt"
	"iter"
	"sync"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/tlog"
)

// memLog is a log in memory that tests can tamper with.
type memLog struct {
	mu     sync.Mutex
	leaves []Leaf
	points []Checkpoint
	edge   Edge
	wake   chan struct{}
}

func newLog(t testing.TB, n int) *memLog {
	t.Helper()
	l := &memLog{wake: make(chan struct{})}
	for range n {
		l.add(t)
	}
	return l
}

var start = time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)

func (l *memLog) add(t testing.TB) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	seq := l.edge.Size()
	data, err := Encode(Event{Seq: seq, ID: fmt.Sprint("E", seq), Time: start.Add(time.Duration(seq) * time.Second), Type: SessionStarted, Outcome: Success, Session: fmt.Sprint("S", seq)})
	if err != nil {
		t.Fatal(err)
	}
	l.leaves = append(l.leaves, Leaf{Seq: seq, Data: data, Stored: l.edge.Append(tlog.RecordHash(data))})
	close(l.wake)
	l.wake = make(chan struct{})
}

func window[T any](all []T, from int64, limit int, pos func(T) int64) []T {
	var out []T
	for _, v := range all {
		if pos(v) >= from && len(out) < limit {
			out = append(out, v)
		}
	}
	return out
}

func (l *memLog) Leaves(_ context.Context, from int64, limit int) ([]Leaf, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return window(l.leaves, from, limit, func(l Leaf) int64 { return l.Seq }), nil
}

func (l *memLog) Checkpoints(_ context.Context, from int64, limit int) ([]Checkpoint, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return window(l.points, from, limit, func(c Checkpoint) int64 { return c.Size }), nil
}

func (l *memLog) LastCheckpoint(context.Context) (Checkpoint, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.points) == 0 {
		return Checkpoint{}, nil
	}
	return l.points[len(l.points)-1], nil
}

func (l *memLog) Hashes(context.Context) tlog.HashReader {
	return tlog.HashReaderFunc(func(index []int64) ([]tlog.Hash, error) {
		l.mu.Lock()
		defer l.mu.Unlock()
		var out []tlog.Hash
		for _, i := range index {
			seq, place := StoredAt(i)
			if seq >= int64(len(l.leaves)) || place >= len(l.leaves[seq].Stored) {
				return nil, fmt.Errorf("no hash %d", i)
			}
			out = append(out, l.leaves[seq].Stored[place])
		}
		return out, nil
	})
}

func (l *memLog) Tree(context.Context) (tlog.Tree, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.edge.Tree(), nil
}

func (l *memLog) SaveCheckpoint(_ context.Context, c Checkpoint) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.points = append(l.points, c)
	return nil
}

func (l *memLog) Entries(ctx context.Context) iter.Seq2[Entry, error] { return Merge(ctx, l) }

func (l *memLog) Events(context.Context, int64, int) ([]Event, error) { return nil, nil }

func (l *memLog) LastSeq(context.Context) (int64, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.edge.Size() - 1, nil
}

func (l *memLog) WaitEvents(ctx context.Context, after int64) error {
	for {
		l.mu.Lock()
		last, wake := l.edge.Size()-1, l.wake
		l.mu.Unlock()
		if last > after {
			return nil
		}
		select {
		case <-wake:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// newSigner returns a signer and its public key.
func newSigner(t testing.TB) (*Signer, string) {
	t.Helper()
	skey, vkey, err := GenerateKey("gw.example.org/audit")
	if err != nil {
		t.Fatal(err)
	}
	s, err := NewSigner(skey)
	if err != nil {
		t.Fatal(err)
	}
	if pub, err := PublicKey(skey); err != nil || pub != vkey {
		t.Fatalf("PublicKey = %q, %v; want %q", pub, err, vkey)
	}
	return s, vkey
}

// sign signs the log as it is.
func (l *memLog) sign(t testing.TB, s *Signer) Checkpoint {
	t.Helper()
	c, err := (&Checkpointer{Log: l, Source: l, Signer: s, Now: func() time.Time { return start }}).Sign(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return c
}
