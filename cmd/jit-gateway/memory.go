package main

import (
	"context"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

const (
	trimEvery = 5 * time.Second
	trimApart = 6 // times trimEvery, at least
	// A gateway that allocates less than this in that time is quiet, and one
	// that has allocated more since its last collection has something to give back.
	trimQuiet = 16 << 20
	trimWorth = 32 << 20
	// Each collection halves stacks that are mostly empty; those of a key
	// exchange are eight or sixteen times as large as what waits on them.
	trimRounds = 3

	// Sessions that have begun since the last collection, counted by their
	// goroutines: a dozen, or an eighth of all.
	packEvery = 250 * time.Millisecond
	packAfter = 200
	packShare = 8
)

// packMemory collects while sessions open. Each leaves ten times as much
// garbage as it keeps, in the same pages: if a collection came only when the
// heap has grown to five times of what lives, an idle session would hold half
// as much again, for as long as it lasts.
func packMemory(ctx context.Context) error { return packEach(ctx, packEvery) }

func packEach(ctx context.Context, every time.Duration) error {
	tick := time.NewTicker(every)
	defer tick.Stop()
	last := runtime.NumGoroutine()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		now := runtime.NumGoroutine()
		if now-last > max(packAfter, last/packShare) {
			runtime.GC()
			last = now
		}
		last = min(last, now)
	}
}

// trimMemory gives memory back when a busy time is over. Between collections
// the heap may grow to five times of what lives (see serve.go), and a quiet
// gateway would keep that for hours: with a thousand idle sessions two thirds
// of what it holds.
func trimMemory(ctx context.Context) error { return trimEach(ctx, trimEvery) }

func trimEach(ctx context.Context, every time.Duration) error {
	tick := time.NewTicker(every)
	defer tick.Stop()
	read := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	allocated := func() uint64 {
		metrics.Read(read)
		return read[0].Value.Uint64()
	}
	last := allocated()
	trimmed := last
	for since := trimApart; ; since++ {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		now := allocated()
		if since >= trimApart && now-last < trimQuiet && now-trimmed > trimWorth {
			for range trimRounds {
				runtime.GC()
			}
			debug.FreeOSMemory()
			trimmed, since = allocated(), 0
		}
		last = now
	}
}
