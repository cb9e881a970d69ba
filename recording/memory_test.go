package recording

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"strings"
	"testing"
	"time"
)

// longRecording writes a terminal session of that many bytes, a MiB a second,
// through the writer's own segments and blocks. Its chunks repeat, so that a
// gigabyte is made in a moment: compressed once, and numbered each.
func longRecording(t testing.TB, size int64) *Reader {
	t.Helper()
	d, _ := testDir(t, DirOptions{})
	w, err := d.Create(Header{Session: "S1", User: "alice"}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	resize, err := appendEvent(nil, 0, &Event{Channel: 1, Payload: Resize{80, 24}, Kind: KindResize})
	if err != nil {
		t.Fatal(err)
	}
	w.screens.see(&Event{Kind: KindResize, Channel: 1, Payload: Resize{80, 24}})
	var text []byte
	for i := 0; len(text) < maxData-80; i++ {
		text = fmt.Appendf(text, "line %d of a build that says much and means little\r\n", i)
	}
	const events = 4
	var raw []byte
	for range events {
		raw = appendData(raw, 250*time.Millisecond/events, KindOutput, 1, 1, text)
	}
	body, flags := compress(make([]byte, dataRoom), raw, time.Second)
	if flags != flagZstd {
		t.Fatal("the chunk is not compressed")
	}
	at := time.Duration(0)
	put := func(b []byte, flags byte, n, length uint32, d time.Duration) {
		if err := w.openSegment(at); err != nil {
			t.Fatal(err)
		}
		p := prelude{segment: uint32(len(w.segments)), chunk: w.nextChunk, events: n, base: at, last: at + d, raw: length}
		b[0], b[1], b[2], b[3] = 'J', 'R', blockChunk, flags
		p.put(b[headSize:])
		putHead(b, blockChunk, flags, w.seed)
		if err := w.append(b); err != nil {
			t.Fatal(err)
		}
		at += d
		w.nextChunk++
		w.segChunks++
		w.seg.events, w.seg.raw, w.seg.to = w.seg.events+uint64(n), w.seg.raw+uint64(length), at
	}
	put(append(make([]byte, dataRoom), resize...), 0, 1, uint32(len(resize)), 0)
	w.screens.see(&Event{Kind: KindOutput, Channel: 1, Data: text[len(text)-4<<10:]})
	for made := int64(0); made < size; made += int64(len(raw)) {
		put(body, flagZstd, events, uint32(len(raw)), 250*time.Millisecond)
		if w.seg.raw >= segmentMax {
			if err := w.closeSegment(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if _, err := w.Seal("logout"); err != nil {
		t.Fatal(err)
	}
	r, err := d.Open("S1")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	return r
}

// allocated is what f allocates: what it holds at most is less.
func allocated(f func()) int64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return int64(after.TotalAlloc - before.TotalAlloc)
}

// TestAGigabyteInConstantMemory: to show any moment of a recording takes the
// same memory whether it holds 16 MiB or 1 GiB, and to read or verify one from
// end to end never holds more than some chunks of it.
func TestAGigabyteInConstantMemory(t *testing.T) {
	seek := func(r *Reader) int64 {
		rng, most := rand.New(rand.NewPCG(1, 1)), int64(0)
		for range 4 {
			at := time.Duration(rng.Int64N(int64(r.Duration())))
			most = max(most, allocated(func() {
				screens, rest, err := r.Seek(at)
				if err != nil {
					t.Fatal(err)
				}
				if !strings.Contains(screenOf(screens), "of a build") {
					t.Fatalf("the screen at %v is %q", at, screenOf(screens))
				}
				for ev, err := range rest {
					if err != nil || ev.T <= at {
						t.Fatalf("after %v: %+v, %v", at, ev, err)
					}
					break
				}
			}))
		}
		return most
	}
	small, large := longRecording(t, 16<<20), longRecording(t, 1<<30)
	seek(small) // pools and decoders are made
	few, many := seek(small), seek(large)
	t.Logf("to seek allocates at most %d KiB in 16 MiB, %d KiB in 1 GiB (%d segments, %d KiB on disk)", few>>10, many>>10, len(large.segments), large.size>>10)
	if many > 2*few || many > 32<<20 {
		t.Errorf("to seek in 1 GiB allocates %d bytes, in 16 MiB %d: it grows with the recording", many, few)
	}

	const whole, bound = 256 << 20, 32 << 20
	large = longRecording(t, whole)
	n, got := 0, int64(0)
	held := peak(func() {
		for ev, err := range large.Events() {
			if err != nil {
				t.Fatal(err)
			}
			n, got = n+1, got+int64(len(ev.Data))
		}
	})
	t.Logf("%d events and %d MiB were read with at most %d KiB in use", n, got>>20, held>>10)
	if got < whole-whole/32 || held > bound {
		t.Errorf("%d bytes were read; %d bytes were in use, at most %d are allowed", got, held, bound)
	}
	var rep Report
	held = peak(func() { rep = large.Verify() })
	t.Logf("%d MiB were verified with at most %d KiB in use", got>>20, held>>10)
	if !rep.OK || rep.Events != int64(n) || held > bound {
		t.Errorf("%s%d bytes were in use, at most %d are allowed", rep, held, bound)
	}
}

// peak is what f has on the heap at most, beyond what was there, garbage that
// was not yet collected included; the collector is told to keep that low.
func peak(f func()) int64 {
	s := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
	runtime.GC()
	metrics.Read(s)
	base := int64(s[0].Value.Uint64())
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	defer debug.SetMemoryLimit(debug.SetMemoryLimit(int64(m.Sys-m.HeapReleased) - int64(m.HeapIdle-m.HeapReleased) + 16<<20))
	stop, most := make(chan struct{}), make(chan int64)
	go func() {
		top := int64(0)
		for {
			metrics.Read(s)
			top = max(top, int64(s[0].Value.Uint64())-base)
			select {
			case <-stop:
				most <- top
				return
			case <-time.After(100 * time.Microsecond):
			}
		}
	}()
	f()
	close(stop)
	return <-most
}
