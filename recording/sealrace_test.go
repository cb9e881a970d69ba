package recording

import (
	"fmt"
	"sync"
	"testing"
)

// TestFlushAndWatchWhileItIsSealed: whoever waits for the disk, or begins to
// watch, while the last round is written gets an answer and starts no second
// writer beside it.
func TestFlushAndWatchWhileItIsSealed(t *testing.T) {
	d, err := OpenDir("", DirOptions{fs: newMemFS(), Reserve: -1})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 200 {
		name := fmt.Sprint("S", i)
		w, err := d.Create(Header{Session: name}, Options{})
		if err != nil {
			t.Fatal(err)
		}
		if err := w.Output(0, 1, []byte("the last words")); err != nil {
			t.Fatal(err)
		}
		var others sync.WaitGroup
		others.Go(func() {
			if err := w.Flush(); err != nil {
				t.Errorf("flush: %v", err)
			}
		})
		others.Go(func() {
			if v, err := w.Watch("bob"); err == nil {
				v.Close()
			}
		})
		s, err := w.Seal("logout")
		if err != nil || s.Events == 0 {
			t.Fatalf("sealed with %d events, %v", s.Events, err)
		}
		others.Wait()
		if err := w.Flush(); err != nil {
			t.Errorf("flush of a sealed recording: %v", err)
		}
		r, err := d.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		if rep := r.Verify(); !rep.OK || !rep.Sealed {
			t.Fatal(rep)
		}
		r.Close()
	}
}
