package bench

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"time"

	"jit-gateway/internal/audit"
	"jit-gateway/internal/search"
	"jit-gateway/internal/store/sqlite"
	"jit-gateway/recording"
	sess "jit-gateway/session"
)

// terminalOf records a terminal session of that many bytes, a MiB a second by
// its own clock.
func (r *recorder) terminalOf(ctx context.Context, size int, o recording.Options) (string, error) {
	var mu sync.Mutex
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	o.Now = func() time.Time { mu.Lock(); defer mu.Unlock(); return now }
	text := logText(1 << 20)
	file, _, err := r.session(recording.Header{Start: now, Index: recording.IndexFull}, o, func(w *recording.Writer) error {
		w.Resize(1, 120, 40) //nolint:errcheck // Output would fail too
		for at := 0; at < size && ctx.Err() == nil; at += 32 << 10 {
			mu.Lock()
			now = now.Add(time.Second / 32)
			mu.Unlock()
			if err := w.Output(1, 1, text[at%len(text):][:32<<10]); err != nil {
				return err
			}
		}
		return ctx.Err()
	})
	return file, err
}

func (r *recorder) seeks(ctx context.Context) error {
	r.head("a random moment of a terminal session", "file, MiB", "p50, ms", "p99, ms", "CPU ms each", "allocated each, KiB")
	for _, mib := range []int{10, 100, 1024} {
		file, err := r.terminalOf(ctx, mib<<20/r.scale, recording.Options{})
		if err != nil {
			return err
		}
		rd, err := recording.OpenFile(file)
		if err != nil {
			return err
		}
		rng := rand.New(rand.NewPCG(1, 1))
		var took []float64
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		cpu := cpuNow()
		for range 100 {
			t := time.Now()
			again, err := recording.OpenFile(file) // opening it is part of it
			if err != nil {
				return err
			}
			_, rest, err := again.Seek(time.Duration(rng.Int64N(int64(rd.Duration()))))
			if err != nil {
				return err
			}
			for range rest {
				break
			}
			took = append(took, float64(time.Since(t).Microseconds())/1e3)
			again.Close()
		}
		cpu = cpuNow() - cpu
		runtime.ReadMemStats(&after)
		slices.Sort(took)
		r.row(fmt.Sprintf("%d MiB of output", mib/r.scale), figure(float64(rd.Size())/(1<<20)), figure(took[50]), figure(took[98]), figure(cpu*1e3/100),
			figure(float64(after.TotalAlloc-before.TotalAlloc)/100/1024))
		rd.Close()
		os.Remove(file)
	}
	return nil
}

func (r *recorder) reading(ctx context.Context) error {
	r.head("from end to end", "MiB/s of output", "CPU s/GiB", "lines/s")
	size := 64 << 20 / r.scale
	for _, encrypted := range []bool{false, true} {
		o, name := recording.Options{}, "verify"
		if encrypted {
			o.Recipients, name = r.to, "verify, encrypted and unlocked"
		}
		file, err := r.terminalOf(ctx, size, o)
		if err != nil {
			return err
		}
		rd, err := recording.OpenFile(file)
		if err != nil {
			return err
		}
		if err := rd.Unlock(r.id); err != nil {
			return err
		}
		t, cpu := time.Now(), cpuNow()
		perGiB := func() string { return figure((cpuNow() - cpu) / float64(size) * (1 << 30)) }
		if rep := rd.Verify(); !rep.OK {
			return fmt.Errorf("verify: %s", rep)
		}
		r.row(name, figure(float64(size>>20)/time.Since(t).Seconds()), perGiB(), "–")
		if !encrypted {
			n := 0
			t, cpu = time.Now(), cpuNow()
			for range rd.Lines() {
				n++
			}
			took := time.Since(t).Seconds()
			r.row("rendered lines, as search takes them", figure(float64(size>>20)/took), perGiB(), figure(float64(n)/took))
		}
		rd.Close()
		os.Remove(file)
	}
	return nil
}

// index lets the gateway's own indexer take one recording.
func (r *recorder) index(ctx context.Context) error {
	db, err := sqlite.Open(ctx, filepath.Join(r.dir, "bench.db"), sqlite.Options{})
	if err != nil {
		return err
	}
	defer db.Close()
	file, err := r.terminalOf(ctx, 4<<20, recording.Options{})
	if err != nil {
		return err
	}
	d, err := recording.OpenDir(r.dir, recording.DirOptions{Reserve: -1})
	if err != nil {
		return err
	}
	id := filepath.Base(file[:len(file)-len(".jitrec")])
	row := sess.Row{ID: id, UserID: "U1", User: "alice", Target: "web01", GrantID: "G1", RequestID: "R1", State: sess.Open, StartedAt: time.Now()}
	if err := db.BeginSession(ctx, row, audit.Event{Type: audit.SessionStarted, Outcome: audit.Success, Session: id}); err != nil {
		return err
	}
	ev, err := db.Append(ctx, audit.Event{Type: audit.RecordingSealed, Outcome: audit.Success, Session: id})
	if err != nil {
		return err
	}
	run, stop := context.WithCancel(ctx)
	done := make(chan error, 1)
	cpu, t := cpuNow(), time.Now()
	go func() {
		done <- (&search.Indexer{Store: db, Recordings: d, Logger: slog.New(slog.NewTextHandler(r.log, nil))}).Run(run)
	}()
	for ctx.Err() == nil && time.Since(t) < time.Minute {
		if at, err := db.Cursor(ctx, "search"); err != nil || at >= ev.Seq {
			break
		}
		time.Sleep(5 * time.Millisecond)
	}
	took, used := time.Since(t).Seconds(), cpuNow()-cpu
	stop()
	if err := <-done; err != nil {
		return err
	}
	r.head("full-text index", "MiB/s of output", "CPU s/GiB")
	size := float64(4 << 20) // at most as much as the indexer takes of one
	r.row("one recording, with its pauses for sessions", figure(size/(1<<20)/took), figure(used/size*(1<<30)))
	return ctx.Err()
}
