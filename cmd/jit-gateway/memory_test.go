package main

import (
	"context"
	"runtime"
	"sync"
	"testing"
	"time"
)

// What a busy time leaves behind is given back when it is over.
func TestQuietGatewayGivesMemoryBack(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- trimEach(ctx, 20*time.Millisecond) }()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range 64 {
		garbage = make([]byte, 1<<20)
	}
	garbage = nil
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		if runtime.ReadMemStats(&after); after.NumForcedGC > before.NumForcedGC && after.HeapIdle-after.HeapReleased < 8<<20 {
			break
		}
		if time.Now().After(deadline) {
			t.Errorf("%d KiB are idle and not given back", (after.HeapIdle-after.HeapReleased)>>10)
			break
		}
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// While sessions open, what they leave behind is collected.
func TestMemoryIsPackedWhileSessionsOpen(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- packEach(ctx, 10*time.Millisecond) }()
	forced := func() uint32 {
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.NumForcedGC
	}
	before := forced()
	leave := make(chan struct{})
	var sessions sync.WaitGroup
	for deadline := time.Now().Add(20 * time.Second); forced() == before; time.Sleep(20 * time.Millisecond) {
		for range packAfter { // more and more, whenever it began to count
			sessions.Go(func() { <-leave })
		}
		if time.Now().After(deadline) {
			t.Error("nothing was collected")
			break
		}
	}
	close(leave)
	sessions.Wait()
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

var garbage []byte
