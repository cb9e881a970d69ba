package recording

import (
	"math/rand/v2"
	"testing"
)

// TestG9FailedSyncIsNotTakenForDone: after one sync that fails the kernel
// takes the lost pages for written, and the next one succeeds. What is sealed
// then is on the disk all the same, and the log hears of it.
func TestG9FailedSyncIsNotTakenForDone(t *testing.T) {
	t.Parallel()
	for _, strict := range []bool{true, false} {
		for at := 4; ; at++ {
			m := newMemFS()
			m.at, m.what = at, once
			logged := 0
			d, err := OpenDir("", DirOptions{fs: m, Reserve: -1, OnSealed: func(Header, Seal) error { logged++; return nil }})
			if err != nil {
				t.Fatal(err)
			}
			w, err := d.Create(Header{Session: "S1"}, Options{Strict: strict})
			if err != nil {
				continue
			}
			story(w, func(int) {}) //nolint:errcheck // it may fail
			seal, err := w.Seal("logout")
			if err != nil {
				t.Fatalf("strict=%v, step %d: %v", strict, at, err)
			}
			if logged != 1 {
				t.Errorf("strict=%v, step %d: the log heard %d times of the seal", strict, at, logged)
			}
			m.mu.Lock()
			steps := m.step
			m.mu.Unlock()
			after, err := OpenDir("", DirOptions{fs: m.afterCrash(rand.New(rand.NewPCG(uint64(at), 1))), Reserve: -1})
			if err != nil {
				t.Fatal(err)
			}
			r, err := after.Open("S1")
			if err != nil {
				t.Fatalf("strict=%v, step %d: %v", strict, at, err)
			}
			if rep := r.Verify(); !rep.OK || rep.Seal.Hash != seal.Hash {
				t.Fatalf("strict=%v, step %d: sealed as %s, and after a power loss:\n%s", strict, at, seal.Hash, rep)
			}
			if steps < at {
				break
			}
		}
	}
}
