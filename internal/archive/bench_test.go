package archive

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"runtime/metrics"
	"testing"
	"time"

	"jit-gateway/recording"
	"jit-gateway/recording/objects"
)

// BenchmarkArchivedRecording puts a recording of a gigabyte into the object
// store and seeks in it there: memory and time are what it reports.
func BenchmarkArchivedRecording(b *testing.B) {
	dir, err := recording.OpenDir(b.TempDir(), recording.DirOptions{Reserve: -1})
	if err != nil {
		b.Fatal(err)
	}
	const size = 1 << 30
	w, err := dir.Create(recording.Header{Session: "S1"}, recording.Options{})
	if err != nil {
		b.Fatal(err)
	}
	chunk, r := make([]byte, 32<<10), rand.NewChaCha8([32]byte{1})
	for n := 0; n < size; n += len(chunk) {
		r.Read(chunk)
		if err := w.Output(0, 1, chunk); err != nil {
			b.Fatal(err)
		}
	}
	if _, err := w.Seal("logout"); err != nil {
		b.Fatal(err)
	}
	s, change := bucketOptions(b, "")
	_ = s
	var o Options
	change(&o)
	b.ResetTimer()
	for b.Loop() {
		file, err := dir.Bytes("S1")
		if err != nil {
			b.Fatal(err)
		}
		stop := peak()
		start := time.Now()
		ob, err := o.Bucket.Put(b.Context(), o.Bucket.Key(fmt.Sprint(time.Now().UnixNano())), file, file.Size(), objects.Lock{})
		if err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(float64(file.Size())/time.Since(start).Seconds()/1e6, "upload+readback-MB/s")
		b.ReportMetric(stop(), "upload-peak-heap-MB")
		file.Close()

		stop = peak()
		start = time.Now()
		at, err := o.Bucket.Open(b.Context(), ob.Key, ob.Version)
		if err != nil {
			b.Fatal(err)
		}
		rd, err := recording.NewReader(at, at.Size())
		if err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(float64(time.Since(start).Microseconds())/1e3, "open-ms")
		const seeks = 50
		start = time.Now()
		for range seeks {
			_, events, err := rd.Seek(time.Duration(rand.Int64N(int64(rd.Duration()))))
			if err != nil {
				b.Fatal(err)
			}
			for _, err := range events {
				if err != nil {
					b.Fatal(err)
				}
				break
			}
		}
		b.ReportMetric(float64(time.Since(start).Microseconds())/1e3/seeks, "seek-ms")
		b.ReportMetric(stop(), "seek-peak-heap-MB")
		at.Close()
	}
}

// peak watches the heap until the returned function says how high it was.
func peak() func() float64 {
	runtime.GC()
	done, most := make(chan struct{}), make(chan float64)
	go func() {
		sample := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
		high := uint64(0)
		for {
			metrics.Read(sample)
			high = max(high, sample[0].Value.Uint64())
			select {
			case <-done:
				most <- float64(high) / 1e6
				return
			case <-time.After(5 * time.Millisecond):
			}
		}
	}()
	return func() float64 { close(done); return <-most }
}
