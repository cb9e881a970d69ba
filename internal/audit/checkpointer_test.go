package audit

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// TestG7CheckpointsWhileItGrows: at most one a second, none without growth,
// and one at the stop that covers everything.
func TestG7CheckpointsWhileItGrows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, vkey := newSigner(t)
		l := newLog(t, 1)
		var told []int64
		c := Checkpointer{Log: l, Source: l, Signer: s, Now: time.Now, OnSigned: func(c Checkpoint) { told = append(told, c.Size) }}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- c.Run(ctx) }()
		synctest.Wait()
		if len(l.points) != 1 {
			t.Fatalf("at the start: %d checkpoints, want 1", len(l.points))
		}
		for range 30 { // three seconds, ten events each
			time.Sleep(100 * time.Millisecond)
			l.add(t)
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		if n := len(l.points); n < 4 || n > 5 || l.points[n-1].Size != 31 {
			t.Errorf("after three seconds of events and an hour of none: %d checkpoints, the last of %d events", n, l.points[n-1].Size)
		}
		for i := 1; i < len(l.points); i++ {
			if d := l.points[i].Time.Sub(l.points[i-1].Time); d < time.Second {
				t.Errorf("checkpoints %v apart", d)
			}
		}
		l.add(t)
		synctest.Wait()
		l.add(t) // within the second after the last
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
		if last := l.points[len(l.points)-1]; last.Size != 33 {
			t.Errorf("the last checkpoint covers %d of 33 events", last.Size)
		}
		if len(told) != len(l.points) {
			t.Errorf("OnSigned was called for %v, %d are stored", told, len(l.points))
		}
		if r, err := Verify(context.Background(), l, vkey, VerifyOptions{}); err != nil || !r.Intact() || r.Signed != 33 {
			t.Errorf("%s, %v", r, err)
		}
	})
}

// TestG7NothingIsSignedOver: a log that was rewritten beneath the gateway gets
// no new signature.
func TestG7NothingIsSignedOver(t *testing.T) {
	for name, tamper := range map[string]func(l *memLog){
		"rewritten": func(l *memLog) { l.edit(2, "success", "denied"); l.rehash() },
		"cut":       func(l *memLog) { l.leaves = l.leaves[:3]; l.rehash() },
		"forged": func(l *memLog) {
			l.points[len(l.points)-1].Note = "gw.example.org/audit\n9\nx\n"
		},
	} {
		l, s, _ := signedLog(t, 9)
		l.add(t)
		tamper(l)
		before := len(l.points)
		c := Checkpointer{Log: l, Source: l, Signer: s, Now: time.Now}
		if err := c.Run(t.Context()); !errors.Is(err, ErrLogChanged) {
			t.Errorf("%s: Run = %v, want ErrLogChanged", name, err)
		}
		if len(l.points) != before {
			t.Errorf("%s: it was signed all the same", name)
		}
	}
}

// TestCheckpointerTriesAgain: a disk that is full for a while only delays.
func TestCheckpointerTriesAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _ := newSigner(t)
		full := errors.New("disk full")
		l := &failingLog{memLog: newLog(t, 1), err: full}
		var told error
		c := Checkpointer{Log: l, Source: l, Signer: s, Now: time.Now, OnError: func(err error) { told = err }}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- c.Run(ctx) }()
		time.Sleep(5 * time.Second)
		synctest.Wait()
		if !errors.Is(told, full) || len(l.points) != 0 {
			t.Errorf("told %v, %d checkpoints", told, len(l.points))
		}
		l.setErr(nil)
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if len(l.points) != 1 {
			t.Errorf("with room again: %d checkpoints", len(l.points))
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		c.OnError = nil
		l.setErr(full)
		l.add(t)
		if err := c.Run(t.Context()); !errors.Is(err, full) {
			t.Errorf("without OnError: %v", err)
		}
	})
}

type failingLog struct {
	*memLog
	err error
}

func (l *failingLog) setErr(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.err = err
}

func (l *failingLog) SaveCheckpoint(ctx context.Context, c Checkpoint) error {
	l.mu.Lock()
	err := l.err
	l.mu.Unlock()
	if err != nil {
		return err
	}
	return l.memLog.SaveCheckpoint(ctx, c)
}
