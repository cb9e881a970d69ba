package bench

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"syscall"
	"time"

	"filippo.io/age"

	"jit-gateway/recording"
)

// Recording measures the recorder by itself, in this process and on this
// machine's disk: what a byte and a statement cost in each mode, how small
// they become, and what it takes to find, verify and index them again. With
// parts (output, sql, seek, read, index) only those.
func Recording(ctx context.Context, quick bool, parts []string, out, log io.Writer) error {
	dir, err := os.MkdirTemp("", "jit-bench-rec-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	id, err := age.GenerateX25519Identity()
	if err != nil {
		return err
	}
	r := &recorder{dir: dir, log: log, scale: 1, to: []string{id.Recipient().String()}, id: id}
	if quick {
		r.scale = 4
	}
	before, began := load(), time.Now()
	for _, part := range []struct {
		name string
		f    func(context.Context) error
	}{{"output", r.output}, {"sql", r.statements}, {"seek", r.seeks}, {"read", r.reading}, {"index", r.index}} {
		if len(parts) > 0 && !slices.Contains(parts, part.name) {
			continue
		}
		if err := part.f(ctx); err != nil {
			return fmt.Errorf("measure %s: %w", part.name, err)
		}
	}
	fmt.Fprintf(out, "\nRecording, %s. %s, %d CPUs, Linux %s; load average %s before, %s after. %s.\n\n%s\nTook %.0f s.\n",
		began.UTC().Format("2006-01-02 15:04 UTC"), processor(), runtime.NumCPU(), firstLine("uname", "-r"), before, load(), firstLine("go", "version"), r.table.String(), time.Since(began).Seconds())
	return nil
}

type recorder struct {
	dir   string
	log   io.Writer
	scale int // sizes are divided by it
	to    []string
	id    age.Identity
	n     int
	table bytes.Buffer
}

func (r *recorder) modes() []mode {
	return []mode{{"interval", recording.Options{}}, {"strict", recording.Options{Strict: true}}, {"encrypted", recording.Options{Recipients: r.to}},
		{"strict, encrypted", recording.Options{Strict: true, Recipients: r.to}}}
}

type mode struct {
	name string
	o    recording.Options
}

func (r *recorder) head(columns ...string) {
	r.table.WriteString("\n")
	r.row(columns...)
	for i := range columns {
		columns[i] = "---:"
	}
	columns[0] = "---"
	r.row(columns...)
}

func (r *recorder) row(cells ...string) {
	for _, c := range cells {
		fmt.Fprintf(&r.table, "| %s ", c)
	}
	r.table.WriteString("|\n")
	fmt.Fprintln(r.log, cells)
}

// session records one session and returns its file.
func (r *recorder) session(h recording.Header, o recording.Options, f func(w *recording.Writer) error) (string, recording.Seal, error) {
	d, err := recording.OpenDir(r.dir, recording.DirOptions{Reserve: -1})
	if err != nil {
		return "", recording.Seal{}, err
	}
	r.n++
	h.Session = fmt.Sprintf("S%d", r.n)
	w, err := d.Create(h, o)
	if err != nil {
		return "", recording.Seal{}, err
	}
	if err := f(w); err != nil {
		return "", recording.Seal{}, err
	}
	s, err := w.Seal("logout")
	return filepath.Join(r.dir, h.Session+".jitrec"), s, err
}

func cpuNow() float64 {
	var ru syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &ru) //nolint:errcheck // it cannot fail
	return time.Duration(ru.Utime.Nano() + ru.Stime.Nano()).Seconds()
}

// logText is n bytes like a service's log: words repeat, numbers do not.
func logText(n int) []byte {
	rng := rand.New(rand.NewPCG(1, 2))
	var b bytes.Buffer
	for i := 0; b.Len() < n; i++ {
		fmt.Fprintf(&b, "2026-11-22T06:%02d:%02d.%03dZ INFO request id=%016x path=/api/v1/orders/%d status=%d took=%dms\r\n",
			i/60000%60, i/1000%60, i%1000, rng.Uint64(), rng.IntN(100000), []int{200, 200, 200, 404, 502}[rng.IntN(5)], rng.IntN(900))
	}
	return b.Bytes()[:n]
}

func (r *recorder) output(ctx context.Context) error {
	r.head("output in packets of 32 KiB", "mode", "MiB/s", "CPU s/GiB", "raw : file")
	random := make([]byte, 8<<20)
	rand.NewChaCha8([32]byte{1}).Read(random) //nolint:errcheck // it cannot fail
	for _, data := range []struct {
		name     string
		p        []byte
		terminal bool
	}{{"log lines", logText(8 << 20), false}, {"log lines on a terminal", logText(8 << 20), true}, {"random bytes", random, false}} {
		for _, m := range r.modes() {
			size := 64 << 20 / r.scale
			if m.o.Strict {
				size /= 4
			}
			cpu, t := cpuNow(), time.Now()
			file, s, err := r.session(recording.Header{}, m.o, func(w *recording.Writer) error {
				if data.terminal {
					w.Resize(1, 120, 40) //nolint:errcheck // Output would fail too
				}
				for at := 0; at < size; at += 32 << 10 {
					if err := w.Output(1, 1, data.p[at%len(data.p):][:32<<10]); err != nil {
						return err
					}
				}
				return ctx.Err()
			})
			if err != nil {
				return err
			}
			took, used := time.Since(t).Seconds(), cpuNow()-cpu
			r.row(data.name, m.name, figure(float64(size>>20)/took), figure(used/float64(size)*(1<<30)), figure(float64(size)/float64(s.Size)))
			os.Remove(file)
		}
	}
	return nil
}

func (r *recorder) statements(ctx context.Context) error {
	r.head("SQL statements with two values", "mode", "statements/s", "CPU µs each", "bytes of file each")
	for _, m := range r.modes() {
		for _, clients := range []int{1, 32} {
			n := 200_000 / r.scale
			if m.o.Strict {
				n = 1000 * clients / r.scale
			}
			cpu, t := cpuNow(), time.Now()
			file, s, err := r.session(recording.Header{}, m.o, func(w *recording.Writer) error {
				var g sync.WaitGroup
				errs := make(chan error, clients)
				for c := range clients {
					g.Go(func() {
						q := recording.SQL{Op: "execute", Statement: "UPDATE accounts SET balance = balance + $1 WHERE id = $2", Name: "s1",
							Params: []recording.Param{{Type: 23, Text: "17"}, {Type: 23, Text: "4711"}}}
						for i := range n / clients {
							q.Seq = int64(i)
							if err := w.SQL(uint32(c), &q); err != nil {
								errs <- err
								return
							}
						}
					})
				}
				g.Wait()
				select {
				case err := <-errs:
					return err
				default:
					return ctx.Err()
				}
			})
			if err != nil {
				return err
			}
			took, used := time.Since(t).Seconds(), cpuNow()-cpu
			r.row(fmt.Sprintf("%d at a time", clients), m.name, figure(float64(n)/took), figure(used/float64(n)*1e6), figure(float64(s.Size)/float64(n)))
			os.Remove(file)
		}
	}
	return nil
}
