package audit

import (
	"context"
	"fmt"
	"iter"
	"time"

	"golang.org/x/mod/sumdb/tlog"
)

// A Leaf is one event as it lies in the log.
type Leaf struct {
	Seq  int64
	Data []byte // the bytes that Encode returned: what is hashed
	// Stored holds the hashes that were written with the leaf: its own, then
	// those of the subtrees that it completed. Empty for an exported log.
	Stored []tlog.Hash
}

// A Checkpoint is a signed statement that the log of Size events has this
// root. Only Note is evidence; Time is when this copy was stored.
type Checkpoint struct {
	Size int64     `json:"size"`
	Root tlog.Hash `json:"root"`
	Note string    `json:"note"` // C2SP tlog-checkpoint, with its signatures
	Time time.Time `json:"time"`
}

// Log is what a store keeps of the Merkle log. Both stores implement it.
type Log interface {
	// Leaves returns at most limit leaves with Seq >= from, in order.
	Leaves(ctx context.Context, from int64, limit int) ([]Leaf, error)
	// Checkpoints returns at most limit checkpoints with Size >= from, in order of Size.
	Checkpoints(ctx context.Context, from int64, limit int) ([]Checkpoint, error)
	// LastCheckpoint is the one with the greatest Size; a zero one if there is none.
	LastCheckpoint(ctx context.Context) (Checkpoint, error)
	// Hashes reads stored hashes by tlog's index, for proofs.
	Hashes(ctx context.Context) tlog.HashReader
	// Tree is the size and root that the log has now.
	Tree(ctx context.Context) (tlog.Tree, error)
	// SaveCheckpoint keeps a signed checkpoint. One of the same Size is kept once.
	SaveCheckpoint(ctx context.Context, c Checkpoint) error
}

// An Entry is what a reader of the log meets next: one of the two is set.
type Entry struct {
	Leaf       *Leaf
	Checkpoint *Checkpoint
}

// LogReader yields the log from its beginning: leaves in order, and each
// checkpoint after the last leaf that it covers, or at the end if that leaf is
// not there. A live store and an exported file are both read so.
type LogReader interface {
	Entries(ctx context.Context) iter.Seq2[Entry, error]
}

const readBatch = 512

// Merge yields the entries of a live log. Events that are committed meanwhile
// are part of it.
func Merge(ctx context.Context, l Log) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		m := merger{ctx: ctx, log: l}
		for {
			e, ok, err := m.next()
			if err != nil {
				yield(Entry{}, err)
				return
			}
			if !ok || !yield(e, nil) {
				return
			}
		}
	}
}

// merger holds one batch of each kind.
type merger struct {
	ctx    context.Context
	log    Log
	leaves []Leaf
	points []Checkpoint
	seq    int64 // the leaf to read next
	size   int64 // the least checkpoint to read next
	all    bool  // the last read found no further checkpoints
}

func (m *merger) next() (Entry, bool, error) {
	if err := m.fill(); err != nil {
		return Entry{}, false, err
	}
	switch {
	case len(m.points) > 0 && (len(m.leaves) == 0 || m.points[0].Size <= m.leaves[0].Seq):
		c := m.points[0]
		m.points = m.points[1:]
		return Entry{Checkpoint: &c}, true, nil
	case len(m.leaves) > 0:
		l := m.leaves[0]
		m.leaves = m.leaves[1:]
		return Entry{Leaf: &l}, true, nil
	}
	return Entry{}, false, nil
}

// fill reads checkpoints before leaves: a checkpoint is stored after the
// leaves that it covers, so a checkpoint that was seen without its leaves is
// evidence and not a race.
func (m *merger) fill() error {
	if len(m.points) == 0 && (!m.all || len(m.leaves) == 0) {
		c, err := m.log.Checkpoints(m.ctx, m.size, readBatch)
		if err != nil {
			return fmt.Errorf("read checkpoints of the audit log: %w", err)
		}
		if m.points = c; len(c) > 0 {
			m.size = c[len(c)-1].Size + 1
		}
		m.all = len(c) < readBatch
	}
	if len(m.leaves) == 0 {
		l, err := m.log.Leaves(m.ctx, m.seq, readBatch)
		if err != nil {
			return fmt.Errorf("read the audit log from event %d: %w", m.seq, err)
		}
		if m.leaves = l; len(l) > 0 {
			m.seq = l[len(l)-1].Seq + 1
		}
	}
	return nil
}
