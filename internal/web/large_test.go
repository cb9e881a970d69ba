package web_test

import (
	"encoding/base64"
	"fmt"
	"math/rand/v2"
	"os"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"jit-gateway/internal/audit"
	"jit-gateway/recording"
	"jit-gateway/session"
)

// largeMB is how much the large recording holds: JIT_LARGE_MB=1024 is what
// docs/benchmarks.md tells of.
func largeMB() int {
	if n, err := strconv.Atoi(os.Getenv("JIT_LARGE_MB")); err == nil {
		return n
	}
	return 12
}

const everyMoment = 2 * time.Second // of the large recording's own time

// large is a finished session whose terminal printed that many megabytes, in
// as many moments of 64 KiB. Each says its number.
func (s *site) large(t *testing.T, mb int) (row session.Row, moments int) {
	t.Helper()
	live := s.begin(t, "web01", "deploy", "a long night", "ssh")
	w := live.Recorder()
	check(t, w.Resize(1, 120, 40))
	moments = mb * 16
	step := min(everyMoment, 50*time.Minute/time.Duration(moments))
	words, noise := make([]byte, 0, 64<<10), make([]byte, 48)
	r := rand.NewChaCha8([32]byte{1})
	for i := range moments {
		words = words[:0]
		for len(words) < 64<<10-200 {
			r.Read(noise)
			words = append(base64.StdEncoding.AppendEncode(words, noise), "\r\n"...)
		}
		words = fmt.Appendf(words, "=== moment %d ===\r\n", i)
		s.skew.Add(int64(step))
		check(t, w.Output(1, 1, words))
	}
	check(t, live.Finish(t.Context(), session.Outcome{}))
	return live.Row(), moments
}

var momentRE = regexp.MustCompile(`=== moment (\d+) ===`)

// A recording far larger than anybody's memory is replayed from any moment,
// and neither the gateway nor the browser holds more than a few megabytes of it.
func TestReplayOfALargeRecording(t *testing.T) {
	s := newSite(t) // not parallel: it measures memory
	row, moments := s.large(t, largeMB())
	b := s.browser(t, 1280).signIn("carol")
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	base, peak, stop := m.HeapInuse, atomic.Uint64{}, make(chan struct{})
	sampled := make(chan struct{})
	go func() {
		defer close(sampled)
		for {
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			peak.Store(max(peak.Load(), m.HeapInuse))
			select {
			case <-stop:
				return
			case <-time.After(20 * time.Millisecond):
			}
		}
	}()
	b.open("/sessions/" + row.ID)
	b.sees("not read through for this page", "check all")
	b.until(`document.querySelector(".ap-player") && !document.getElementById("player-tools").hidden`)
	shown := func() int {
		found := momentRE.FindAllStringSubmatch(eval[string](b, `document.getElementById("player").innerText`), -1)
		if len(found) == 0 {
			return -1
		}
		n, err := strconv.Atoi(found[len(found)-1][1])
		check(t, err)
		return n
	}
	rec, err := s.Recordings.Open(row.ID)
	check(t, err)
	total, size := rec.Duration(), rec.Size()
	rec.Close()
	var took []time.Duration
	for _, at := range []float64{0.5, 0.98, 0.1, 0.75, 0.3} {
		want := int(at * float64(moments))
		sec := int(at * total.Seconds())
		began := time.Now()
		b.fill("#player-jump input", fmt.Sprintf("%d:%02d", sec/60, sec%60))
		b.click2("#player-jump button")
		for deadline := time.Now().Add(wait); ; time.Sleep(10 * time.Millisecond) {
			if n := shown(); n >= want-moments/20-2 && n <= want+moments/20+2 {
				break
			} else if time.Now().After(deadline) {
				t.Fatalf("a jump to %d s of %s shows moment %d, want %d of %d\n%v", sec, total, n, want, moments, b.complaints())
			}
		}
		took = append(took, time.Since(began).Round(time.Millisecond))
	}
	// It plays on from there, over the end of several pieces.
	b.do(chooseSpeed(b, "32"))
	from := shown()
	b.click2("#player .ap-play-button, #player .ap-overlay-start")
	for deadline := time.Now().Add(wait); shown() < from+8; time.Sleep(30 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("it does not play on from moment %d: %d\n%v", from, shown(), b.complaints())
		}
	}
	close(stop)
	<-sampled
	type entry struct{ N, Bytes, Largest float64 }
	got := eval[entry](b, `(l => ({N: l.length, Bytes: l.reduce((s, e) => s + e.decodedBodySize, 0), Largest: Math.max(...l.map(e => e.decodedBodySize))}))(performance.getEntriesByType("resource").filter(e => e.name.includes("/play?")))`)
	heap := eval[float64](b, `performance.memory ? performance.memory.usedJSHeapSize : 0`)
	grew := int64(peak.Load()) - int64(base)
	t.Logf("%d MB of output, %.1f MB on the disk, %s: seeks shown after %v; %v pieces, %.1f MB in all, the largest %.2f MB; the browser's heap is %.1f MB, the gateway's grew by %.1f MB at most",
		largeMB(), float64(size)/1e6, total.Round(time.Second), took, got.N, got.Bytes/1e6, got.Largest/1e6, heap/1e6, float64(grew)/1e6)
	if grew > 64<<20 || got.Largest > 2<<20 || got.N < 7 {
		t.Errorf("the gateway's memory grew by %d bytes, the largest piece has %.0f", grew, got.Largest)
	}
	if n := len(s.Events(audit.RecordingViewed)); n != 1 {
		t.Errorf("one look in %v pieces left %d events", got.N, n)
	}
	if c := b.complaints(); len(c) > 0 {
		t.Errorf("the console says %q", c)
	}
}

// The player skips what lasts, jumps where the timeline says, and tells what
// was recorded when a recording is damaged.
func TestPlayer(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	live := s.begin(t, "web01", "deploy", "a pause for lunch", "ssh")
	w := live.Recorder()
	check(t, w.Resize(1, 80, 24))
	check(t, w.Event(recording.Event{Channel: 1, Payload: recording.Shell{}}))
	check(t, w.Output(1, 1, []byte("$ before lunch\r\n")))
	s.skew.Add(int64(20 * time.Minute))
	check(t, w.Event(recording.Event{Channel: 1, Payload: recording.Exec{Command: "make <b>"}}))
	check(t, w.Output(1, 1, []byte("$ after lunch\r\n")))
	check(t, live.Finish(t.Context(), session.Outcome{}))
	b := s.browser(t, 360).signIn("carol")
	b.open("/sessions/" + live.ID())
	b.until(`document.querySelector(".ap-player") && !document.getElementById("player-tools").hidden`)
	b.seesNot("after lunch")
	b.click2("#player .ap-overlay-start, #player .ap-play-button")
	b.sees("$ after lunch", "skipped 119") // 20 minutes less two seconds
	b.click2("#timeline li:first-of-type a[data-seek]")
	b.until(`!document.getElementById("player").innerText.includes("after lunch")`)
	if at := eval[string](b, `new URLSearchParams(location.search).get("t")`); !strings.HasPrefix(at, "0.") {
		t.Errorf("the address says %q", at)
	}
	b.wide(360)
	if c := b.complaints(); len(c) > 0 {
		t.Errorf("the console says %q", c)
	}
}
