package recording

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"syscall"
	"testing"
	"time"

	"filippo.io/age"
)

// story is what the fault tests record: small events, a burst that becomes a
// chunk, segments that close.
func story(w *Writer, acked func(n int)) error {
	big := logLines(150 << 10)
	n := 0
	say := func(p []byte) error {
		for len(p) > 0 {
			part := p[:min(len(p), maxData)]
			p = p[len(part):]
			if err := w.Output(1, 1, part); err != nil {
				return err
			}
			n++
		}
		if !w.o.Strict {
			if err := w.Flush(); err != nil {
				return err
			}
		}
		acked(n)
		return nil
	}
	for i := range 12 {
		p := fmt.Appendf(nil, "event %d\r\n", i)
		if i == 3 || i == 8 {
			p = big
		}
		if err := say(p); err != nil {
			return err
		}
		if i == 5 || i == 10 { // as if the segment had grown old
			w.mu.Lock()
			w.close = true
			w.kick()
			w.mu.Unlock()
		}
	}
	return nil
}

// wholeStory is the bytes of each event of it.
func wholeStory(t *testing.T) []string {
	d, err := OpenDir("", DirOptions{fs: newMemFS(), Reserve: -1})
	if err != nil {
		t.Fatal(err)
	}
	w, err := d.Create(Header{Session: "S1"}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := story(w, func(int) {}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Seal("logout"); err != nil {
		t.Fatal(err)
	}
	return dataOf(t, d, nil)
}

func dataOf(t *testing.T, d *Dir, id age.Identity) []string {
	t.Helper()
	r, err := d.Open("S1")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if id != nil {
		if err := r.Unlock(id); err != nil {
			t.Fatal(err)
		}
	}
	var out []string
	for _, ev := range collect(t, r) {
		out = append(out, string(ev.Data))
	}
	if rep := r.Verify(); !rep.OK || !rep.Sealed {
		t.Fatalf("%s", rep)
	}
	return out
}

// TestG9CrashAtEveryStep: the machine stops at each write, sync, creation and
// removal of a session's life, and again at each one of the recovery. What a
// method had acknowledged is there, in order, sealed and verified, and nothing
// is there that was not recorded.
func TestG9CrashAtEveryStep(t *testing.T) {
	t.Parallel()
	want := wholeStory(t)
	id, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		o    Options
		id   age.Identity
	}{
		{"strict", Options{Strict: true}, nil},
		{"interval", Options{}, nil},
		{"encrypted", Options{Strict: true, Recipients: []string{id.Recipient().String()}}, id},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			steps, recoveries := 0, 0
			for at := 1; ; at++ {
				m := newMemFS()
				m.at, m.what = at, crash
				acked, over := runStory(t, m, c.o)
				if over {
					break
				}
				steps++
				for seed := range uint64(5) {
					r := rand.New(rand.NewPCG(uint64(at), seed))
					disk := m.afterCrash(r)
					// Recovery may be cut short too, at any of its steps.
					for again := 1; again < 40; again++ {
						disk.at, disk.what = again, crash
						d, err := OpenDir("", DirOptions{fs: disk, Reserve: -1})
						if err != nil {
							t.Fatal(err)
						}
						_, err = d.Recover(context.Background(), "S1")
						recoveries++
						if err == nil {
							break
						}
						if !errors.Is(err, errDead) {
							if acked < 0 && errors.Is(err, ErrNotBegun) {
								break
							}
							t.Fatalf("crash at step %d (%s), %d events acknowledged: %v", at, m.trace[at-1], acked, err)
						}
						disk = disk.afterCrash(r)
					}
					disk.at = 0
					if acked < 0 {
						continue // Create had not returned: there was no session
					}
					d, err := OpenDir("", DirOptions{fs: disk, Reserve: -1})
					if err != nil {
						t.Fatal(err)
					}
					got := dataOf(t, d, c.id)
					if len(got) < acked || len(got) > len(want) {
						t.Fatalf("crash at step %d (%s): %d events acknowledged, %d recovered", at, m.trace[at-1], acked, len(got))
					}
					for i := range got {
						if got[i] != want[i] {
							t.Fatalf("crash at step %d (%s): event %d is %.40q, was %.40q", at, m.trace[at-1], i, got[i], want[i])
						}
					}
				}
			}
			if steps < 30 {
				t.Errorf("only %d steps were crashed at", steps)
			}
			t.Logf("%d steps, %d recoveries", steps, recoveries)
		})
	}
}

// runStory returns how many events were acknowledged, -1 if Create was not,
// and whether everything went through.
func runStory(t *testing.T, m *memFS, o Options) (acked int, over bool) {
	t.Helper()
	d, err := OpenDir("", DirOptions{fs: m, Reserve: -1})
	if err != nil {
		t.Fatal(err)
	}
	w, err := d.Create(Header{Session: "S1"}, o)
	if err != nil {
		return -1, false
	}
	err = story(w, func(n int) { acked = n })
	if _, serr := w.Seal("logout"); err == nil {
		err = serr
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	return acked, err == nil && !m.dead
}

// TestG2FaultEndsTheSession: a full disk, an I/O error, a lost permission at
// any step: the methods refuse with a sentence, Failed is closed, and what was
// acknowledged in strict mode is kept.
func TestG2FaultEndsTheSession(t *testing.T) {
	t.Parallel()
	want := wholeStory(t)
	for _, what := range []fault{ioErr, denied} {
		for at := 4; ; at++ {
			m := newMemFS()
			m.at, m.what = at, what
			d, err := OpenDir("", DirOptions{fs: m, Reserve: -1})
			if err != nil {
				t.Fatal(err)
			}
			told := make(chan error, 1)
			w, err := d.Create(Header{Session: "S1"}, Options{Strict: true, OnFailed: func(err error) { told <- err }})
			if err != nil {
				if what == ioErr && at > 5 {
					t.Fatalf("%v at step %d: Create: %v", what, at, err)
				}
				continue
			}
			acked := 0
			failure := story(w, func(n int) { acked = n })
			if failure != nil {
				select {
				case err := <-told:
					if !errors.Is(failure, err) {
						t.Errorf("%v at step %d: OnFailed is told %v instead of %v", what, at, err, failure)
					}
				default:
					t.Fatalf("%v at step %d: %v, but OnFailed is not told", what, at, failure)
				}
				if s := failure.Error(); !strings.Contains(s, "recording of session S1 failed, so the session cannot go on") {
					t.Errorf("the failure says %q", s)
				}
				if err := w.Output(1, 1, []byte("more")); !errors.Is(err, w.Err()) {
					t.Errorf("Output after the failure: %v", err)
				}
			}
			m.mu.Lock()
			steps := m.step
			m.mu.Unlock()
			if failure == nil && steps < at {
				w.Seal("logout") //nolint:errcheck // the end of the loop
				break
			}
			w.Seal("recording_failed") //nolint:errcheck // it may fail as well
			// The disk is repaired: what was acknowledged is there.
			m.mu.Lock()
			m.at = 0
			m.mu.Unlock()
			if _, err := d.Recover(context.Background(), "S1"); err != nil {
				t.Fatalf("%v at step %d: %v", what, at, err)
			}
			got := dataOf(t, d, nil)
			if len(got) < acked {
				t.Fatalf("%v at step %d: %d events acknowledged, %d there", what, at, acked, len(got))
			}
			for i := range got {
				if got[i] != want[i] {
					t.Fatalf("%v at step %d: event %d is %.40q", what, at, i, got[i])
				}
			}
		}
	}
}

// TestG5FullDisk: when the disk is full the session ends with a sentence,
// everything that was handed over is in the sealed recording thanks to the
// reserve, and no new recording begins until there is room again.
func TestG5FullDisk(t *testing.T) {
	for _, strict := range []bool{false, true} {
		t.Run(fmt.Sprintf("strict=%v", strict), func(t *testing.T) {
			m := newMemFS()
			m.room = 3 << 20
			d, err := OpenDir("", DirOptions{fs: m, Reserve: 2 << 20})
			if err != nil {
				t.Fatal(err)
			}
			w, err := d.Create(Header{Session: "S1"}, Options{Strict: strict})
			if err != nil {
				t.Fatal(err)
			}
			var sent bytes.Buffer
			p := noise(8 << 20)
			for len(p) > 0 {
				part := p[:10<<10]
				p = p[len(part):]
				if err = w.Output(1, 1, part); err != nil {
					break
				}
				sent.Write(part)
			}
			if !errors.Is(err, syscall.ENOSPC) || !strings.Contains(err.Error(), "the disk is full") {
				t.Fatalf("after %d bytes: %v, want a full disk", sent.Len(), err)
			}
			if _, err := d.Create(Header{Session: "S2"}, Options{}); err == nil || !strings.Contains(err.Error(), "no recording can begin") {
				t.Errorf("Create on a full disk: %v", err)
			}
			if s, err := w.Seal("recording_failed"); err != nil || s.Recovered {
				t.Fatalf("Seal after the failure: %+v, %v", s, err)
			}
			got := strings.Join(dataOf(t, d, nil), "")
			if !strings.HasPrefix(got, sent.String()) {
				t.Errorf("%d bytes were acknowledged; the recording has %d that do not begin with them", sent.Len(), len(got))
			}
			if err := d.Remove("S1"); err != nil {
				t.Fatal(err)
			}
			w, err = d.Create(Header{Session: "S2"}, Options{})
			if err != nil {
				t.Fatalf("Create after room was made: %v", err)
			}
			if _, err := w.Seal("logout"); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestG2SlowDisk: a disk that is behind holds the session back; one that does
// not answer ends it.
func TestG2SlowDisk(t *testing.T) {
	m := newMemFS()
	d, err := OpenDir("", DirOptions{fs: m, Reserve: -1})
	if err != nil {
		t.Fatal(err)
	}
	w, err := d.Create(Header{Session: "S1"}, Options{Interval: 20 * time.Millisecond, Stall: 300 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	unblock := make(chan struct{})
	m.mu.Lock()
	m.block = unblock
	m.mu.Unlock()
	begin, n := time.Now(), 0
	for err == nil {
		if err = w.Output(1, 1, []byte("x")); err == nil && time.Since(begin) > 100*time.Millisecond {
			t.Fatalf("an event was accepted %v after the disk stopped; at most the interval is allowed", time.Since(begin))
		}
		n++
	}
	if !strings.Contains(err.Error(), "the disk has not answered for 300ms") {
		t.Errorf("after %d events: %v", n, err)
	}
	if _, err := w.Seal("recording_failed"); err == nil {
		t.Error("Seal succeeded on a disk that does not answer")
	}
	m.mu.Lock()
	m.block = nil
	m.mu.Unlock()
	close(unblock)
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		if _, live := d.Live("S1"); !live {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the writer is still live")
		}
	}
	if _, err := d.Recover(context.Background(), "S1"); err != nil {
		t.Fatal(err)
	}
	dataOf(t, d, nil)
}
