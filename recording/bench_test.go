package recording

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"runtime"
	"syscall"
	"testing"
	"time"

	"filippo.io/age"
)

// cpu is the process's CPU time so far.
func cpu(b *testing.B) time.Duration {
	var ru syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &ru); err != nil {
		b.Fatal(err)
	}
	return time.Duration(ru.Utime.Nano() + ru.Stime.Nano())
}

// perGiB reports CPU seconds per GiB of n bytes.
func perGiB(b *testing.B, before time.Duration, n int64) {
	b.ReportMetric((cpu(b)-before).Seconds()/(float64(n)/(1<<30)), "cpu-s/GiB")
}

func noise(n int) []byte {
	r := rand.NewChaCha8([32]byte{1})
	p := make([]byte, n)
	r.Read(p) //nolint:errcheck // never fails
	return p
}

// logLines is n bytes like a service's log: words repeat, numbers do not.
func logLines(n int) []byte {
	r := rand.New(rand.NewPCG(1, 2))
	var b bytes.Buffer
	for i := 0; b.Len() < n; i++ {
		fmt.Fprintf(&b, "2026-11-22T06:%02d:%02d.%03dZ INFO request id=%016x path=/api/v1/orders/%d status=%d took=%dms\r\n",
			i/60000%60, i/1000%60, i%1000, r.Uint64(), r.IntN(100000), []int{200, 200, 200, 404, 502}[r.IntN(5)], r.IntN(900))
	}
	return b.Bytes()[:n]
}

var modes = []struct {
	name string
	o    Options
}{
	{"interval", Options{}},
	{"strict", Options{Strict: true}},
}

func create(b testing.TB, h Header, o Options) *Writer {
	d, _ := testDir(b, DirOptions{})
	if h.Session == "" {
		h.Session = "S1"
	}
	w, err := d.Create(h, o)
	if err != nil {
		b.Fatal(err)
	}
	return w
}

// BenchmarkOutput: the whole cost of recording, the worker's share included,
// of 32 KiB packets, as a bulk transfer has them.
func BenchmarkOutput(b *testing.B) {
	id, err := age.GenerateX25519Identity()
	if err != nil {
		b.Fatal(err)
	}
	for _, data := range []struct {
		name string
		p    []byte
		pty  bool
	}{{"random", noise(8 << 20), false}, {"log", logLines(8 << 20), false}, {"zero", make([]byte, 8<<20), false}, {"log-pty", logLines(8 << 20), true}} {
		for _, m := range append(modes, struct {
			name string
			o    Options
		}{"encrypted", Options{Recipients: []string{id.Recipient().String()}}}) {
			b.Run(data.name+"/"+m.name, func(b *testing.B) {
				const packet = 32 << 10
				w := create(b, Header{}, m.o)
				if data.pty {
					w.Resize(1, 80, 24) //nolint:errcheck // Output would fail too
				}
				b.SetBytes(packet)
				b.ReportAllocs()
				b.ResetTimer()
				before := cpu(b)
				for i := range b.N {
					off := i * packet % len(data.p)
					if err := w.Output(1, 1, data.p[off:off+packet]); err != nil {
						b.Fatal(err)
					}
				}
				s, err := w.Seal("logout")
				if err != nil {
					b.Fatal(err)
				}
				b.StopTimer()
				perGiB(b, before, int64(b.N)*packet)
				b.ReportMetric(float64(b.N)*packet/float64(s.Size), "ratio")
			})
		}
	}
}

// BenchmarkSQL: one statement with two bind values.
func BenchmarkSQL(b *testing.B) {
	for _, m := range modes {
		b.Run(m.name, func(b *testing.B) {
			w := create(b, Header{}, m.o)
			s := SQL{Op: "execute", Statement: "UPDATE accounts SET balance = balance + $1 WHERE id = $2", Name: "s1",
				Params: []Param{{Type: 23, Text: "17"}, {Type: 23, Text: "4711"}}, Tag: "UPDATE 1", Rows: 1, TxStatus: "T"}
			b.ReportAllocs()
			b.ResetTimer()
			before := cpu(b)
			for i := range b.N {
				s.Duration, s.Rows = time.Duration(i%1000)*time.Microsecond, int64(i)
				if err := w.SQL(1, &s); err != nil {
					b.Fatal(err)
				}
			}
			seal, err := w.Seal("logout")
			if err != nil {
				b.Fatal(err)
			}
			b.StopTimer()
			b.ReportMetric(float64((cpu(b)-before).Nanoseconds())/float64(b.N), "cpu-ns/op")
			b.ReportMetric(float64(seal.Size)/float64(b.N), "file-B/op")
		})
	}
}

// BenchmarkEcho: one keystroke's echo at a time, as an idle shell has them.
func BenchmarkEcho(b *testing.B) {
	for _, m := range modes {
		b.Run(m.name, func(b *testing.B) {
			w := create(b, Header{}, m.o)
			b.ReportAllocs()
			for b.Loop() {
				if err := w.Output(1, 1, []byte("x")); err != nil {
					b.Fatal(err)
				}
			}
			if _, err := w.Seal("logout"); err != nil {
				b.Fatal(err)
			}
		})
	}
}

// BenchmarkIdleSession: memory of a session that has had a screenful and is quiet.
func BenchmarkIdleSession(b *testing.B) {
	d, _ := testDir(b, DirOptions{})
	screen := bytes.Repeat([]byte("drwxr-xr-x 2 root root 4096 Nov 22 06:11 some-directory-name\r\n"), 30)
	const n = 200
	var before, after runtime.MemStats
	for b.Loop() {
		var ws []*Writer
		runtime.GC()
		runtime.ReadMemStats(&before)
		for i := range n {
			w, err := d.Create(Header{Session: fmt.Sprintf("S%d", i)}, Options{})
			if err != nil {
				b.Fatal(err)
			}
			w.Resize(1, 80, 24)    //nolint:errcheck // Flush would fail too
			w.Output(1, 1, screen) //nolint:errcheck // likewise
			if err := w.Flush(); err != nil {
				b.Fatal(err)
			}
			w.mu.Lock()
			w.trim = true
			w.kick()
			w.mu.Unlock()
			ws = append(ws, w)
		}
		for _, w := range ws {
			w.jobs.Wait()
		}
		runtime.GC()
		runtime.GC()
		runtime.ReadMemStats(&after)
		b.ReportMetric((float64(after.HeapAlloc+after.StackInuse)-float64(before.HeapAlloc+before.StackInuse))/n/1024, "KiB/session")
		for i, w := range ws {
			if _, err := w.Seal("logout"); err != nil {
				b.Fatal(err)
			}
			d.Remove(fmt.Sprintf("S%d", i)) //nolint:errcheck // the directory goes anyway
		}
	}
}

// BenchmarkSeek: a random moment of a terminal session, against its size.
// What grows with it is the footer's table alone.
func BenchmarkSeek(b *testing.B) {
	for _, lines := range []int{10, 100, 1000} {
		r, err := OpenFile(terminalSession(b, lines, Options{}, 1<<20))
		if err != nil {
			b.Fatal(err)
		}
		b.Run(fmt.Sprintf("raw=%dMiB", lines), func(b *testing.B) {
			rng := rand.New(rand.NewPCG(1, 1))
			for b.Loop() {
				if _, _, err := r.Seek(time.Duration(rng.Int64N(int64(r.Duration())))); err != nil {
					b.Fatal(err)
				}
			}
		})
		r.Close()
	}
}

// BenchmarkVerify: every byte checked, every event decoded.
func BenchmarkVerify(b *testing.B) {
	for _, data := range []struct {
		name string
		p    []byte
	}{{"random", noise(32 << 20)}, {"log", logLines(32 << 20)}} {
		b.Run(data.name, func(b *testing.B) {
			w := create(b, Header{}, Options{})
			if err := w.Output(1, 1, data.p); err != nil {
				b.Fatal(err)
			}
			if _, err := w.Seal("logout"); err != nil {
				b.Fatal(err)
			}
			r, err := w.dir.Open("S1")
			if err != nil {
				b.Fatal(err)
			}
			defer r.Close()
			b.SetBytes(int64(len(data.p)))
			for b.Loop() {
				if rep := r.Verify(); !rep.OK {
					b.Fatal(rep)
				}
			}
		})
	}
}

// BenchmarkLines: what the search index is fed with.
func BenchmarkLines(b *testing.B) {
	w := create(b, Header{}, Options{})
	p := logLines(8 << 20)
	w.Resize(1, 120, 40) //nolint:errcheck // Output would fail too
	if err := w.Output(1, 1, p); err != nil {
		b.Fatal(err)
	}
	if _, err := w.Seal("logout"); err != nil {
		b.Fatal(err)
	}
	r, err := w.dir.Open("S1")
	if err != nil {
		b.Fatal(err)
	}
	defer r.Close()
	b.SetBytes(int64(len(p)))
	n := 0
	for b.Loop() {
		n = 0
		for range r.Lines() {
			n++
		}
	}
	b.ReportMetric(float64(n), "lines/op")
}
