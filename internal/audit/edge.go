package audit

import (
	"fmt"
	"math/bits"
	"slices"

	"golang.org/x/mod/sumdb/tlog"
)

// An Edge is the right edge of the Merkle tree: the roots of its complete
// subtrees, largest first. It is all that is needed to append and to know the
// root, so a store keeps it in memory and never reads the tree to write.
type Edge struct {
	size  int64
	nodes []tlog.Hash
}

// LoadEdge reads the edge of the tree with size leaves.
func LoadEdge(size int64, r tlog.HashReader) (Edge, error) {
	var index []int64
	start := int64(0)
	for rest := uint64(size); rest > 0; {
		level := bits.Len64(rest) - 1
		index = append(index, tlog.StoredHashIndex(level, start>>level))
		start += 1 << level
		rest &^= 1 << level
	}
	if len(index) == 0 {
		return Edge{}, nil
	}
	nodes, err := r.ReadHashes(index)
	if err != nil {
		return Edge{}, fmt.Errorf("read the edge of the audit log at %d events: %w", size, err)
	}
	return Edge{size: size, nodes: nodes}, nil
}

// Size is the number of leaves.
func (e *Edge) Size() int64 { return e.size }

// Clone returns an edge that can grow independently of e.
func (e *Edge) Clone() Edge { return Edge{size: e.size, nodes: slices.Clone(e.nodes)} }

// Append adds a leaf and returns the hashes to store with it: its own, then
// those of the subtrees that it completes, smallest first (the hashes that
// tlog.StoredHashes returns).
func (e *Edge) Append(leaf tlog.Hash) []tlog.Hash {
	stored := make([]tlog.Hash, 1, 1+bits.TrailingZeros64(^uint64(e.size)))
	stored[0] = leaf
	h := leaf
	for n := e.size; n&1 == 1; n >>= 1 {
		last := len(e.nodes) - 1
		h = tlog.NodeHash(e.nodes[last], h)
		e.nodes = e.nodes[:last]
		stored = append(stored, h)
	}
	e.nodes = append(e.nodes, h)
	e.size++
	return stored
}

// Tree returns size and root.
func (e *Edge) Tree() tlog.Tree {
	if e.size == 0 {
		h, _ := tlog.TreeHash(0, nil) // the hash of the empty tree is a constant
		return tlog.Tree{Hash: h}
	}
	h := e.nodes[len(e.nodes)-1]
	for i := len(e.nodes) - 2; i >= 0; i-- {
		h = tlog.NodeHash(e.nodes[i], h)
	}
	return tlog.Tree{N: e.size, Hash: h}
}

// StoredAt tells where the hash with tlog's index lies: with which leaf it was
// stored, and at which place among that leaf's hashes.
func StoredAt(index int64) (seq int64, place int) {
	level, n := tlog.SplitStoredHashIndex(index)
	return (n+1)<<level - 1, level
}
