package recording

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"filippo.io/age"
)

// TestLiveRecordingIsReadToItsLastCommit: what a commit has made durable is
// seen by whoever opens the recording, also while it lies in the tail alone,
// by directory and by path, encrypted or not.
func TestLiveRecordingIsReadToItsLastCommit(t *testing.T) {
	id, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range []Options{{Strict: true}, {}, {Strict: true, Recipients: []string{id.Recipient().String()}}} {
		t.Run(fmt.Sprintf("strict=%v,encrypted=%v", o.Strict, o.Recipients != nil), func(t *testing.T) {
			d, path := testDir(t, DirOptions{})
			w, err := d.Create(Header{Session: "S1"}, o)
			if err != nil {
				t.Fatal(err)
			}
			var want []string
			check := func(how string, r *Reader, err error) {
				t.Helper()
				if err != nil {
					t.Fatalf("%s: %v", how, err)
				}
				defer r.Close()
				if err := r.Unlock(id); err != nil {
					t.Fatal(err)
				}
				var got []string
				for _, ev := range collect(t, r) {
					got = append(got, string(ev.Data))
				}
				if strings.Join(got, "|") != strings.Join(want, "|") {
					t.Fatalf("%s: after %d events the reader has %d", how, len(want), len(got))
				}
				if _, sealed := r.Sealed(); sealed {
					t.Errorf("%s: a live recording passes for a sealed one", how)
				}
			}
			big := strings.Repeat("0123456789abcdef", 3<<10)
			for i := range 24 {
				s := fmt.Sprintf("event %d\r\n", i)
				if i%5 == 4 {
					s += big // several of these become a chunk
				}
				want = append(want, s)
				if err := w.Output(1, 1, []byte(s)); err != nil {
					t.Fatal(err)
				}
				if !o.Strict {
					if err := w.Flush(); err != nil {
						t.Fatal(err)
					}
				}
				if i == 12 { // a segment ends
					w.mu.Lock()
					w.close = true
					w.kick()
					w.mu.Unlock()
					w.jobs.Wait()
				}
				r, err := d.Open("S1")
				check("by directory", r, err)
				r, err = OpenFile(filepath.Join(path, "S1"+suffix))
				check("by path", r, err)
			}
			if _, err := w.Seal("logout"); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// TestLiveRecordingIsReadWhileItIsWritten: readers that come at any moment see
// a beginning of what was recorded, without gaps, and never less than what
// was acknowledged before they came.
func TestLiveRecordingIsReadWhileItIsWritten(t *testing.T) {
	d, _ := testDir(t, DirOptions{})
	w, err := d.Create(Header{Session: "S1"}, Options{Strict: true})
	if err != nil {
		t.Fatal(err)
	}
	acked := make(chan int, 1)
	acked <- 0
	done := make(chan error, 1)
	go func() {
		filler := strings.Repeat("x", 30<<10)
		for i := range 300 {
			if err := w.Output(1, 1, fmt.Appendf(nil, "%d %s", i, filler[:i%7*4<<10])); err != nil {
				done <- err
				return
			}
			<-acked
			acked <- i + 1
		}
		done <- nil
	}()
	for running := true; running; {
		select {
		case err := <-done:
			if err != nil {
				t.Fatal(err)
			}
			running = false
		default:
		}
		least := <-acked
		acked <- least
		r, err := d.Open("S1")
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		for ev, err := range r.Events() {
			var damage *Damage
			if errors.As(err, &damage) {
				break // the write that this reader came into
			}
			if want := fmt.Sprintf("%d ", n); !strings.HasPrefix(string(ev.Data), want) {
				t.Fatalf("event %d is %.20q", n, ev.Data)
			}
			n++
		}
		if n < least {
			t.Fatalf("%d events were acknowledged, the reader has %d", least, n)
		}
		r.Close()
	}
	if _, err := w.Seal("logout"); err != nil {
		t.Fatal(err)
	}
}
