package session_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"jit-gateway/internal/audit"
	"jit-gateway/internal/testenv/world"
	"jit-gateway/recording"
	"jit-gateway/session"
)

func TestG2ARecordingThatFailsEndsTheSession(t *testing.T) {
	var log *faultyLog
	o := world.Options{Session: func(o *session.Options) {
		log = &faultyLog{Log: o.Log}
		o.Log = log
	}}
	bubble(t, o, func(t *testing.T, w *world.World) {
		s := w.Begin(w.Grant("web01", "deploy", time.Hour))
		// Enough for a segment, which is closed within a minute.
		if err := s.Recorder().Output(0, 1, []byte(strings.Repeat("hello again ", 50_000))); err != nil {
			t.Fatal(err)
		}
		log.fail.Store(audit.RecordingSegment) // whose leaf would prove the segment
		<-s.Context().Done()
		var term *session.Termination
		if errors.As(context.Cause(s.Context()), &term); term.Cause != "recording_failed" {
			t.Errorf("it ended with %+v", term)
		}
		if err := s.Recorder().Output(0, 1, []byte("more")); err == nil {
			t.Error("more was taken after the failure")
		}
		s.Finish(context.Background(), session.Outcome{})
		if time.Until(s.End()) < 50*time.Minute {
			t.Errorf("it took until %s before the end", time.Until(s.End()))
		}
		if evs := w.Events(audit.RecordingFailed); len(evs) != 1 || evs[0].Session != s.ID() {
			t.Errorf("the log says %+v", evs)
		}
	})
}

func TestASessionLeavesOneSealedRecording(t *testing.T) {
	bubble(t, world.Options{}, func(t *testing.T, w *world.World) {
		s := w.Begin(w.Grant("web01", "deploy", time.Hour))
		if err := s.Recorder().Output(0, 1, []byte("hello")); err != nil {
			t.Fatal(err)
		}
		s.Terminate(session.Termination{Cause: "budget", Reason: "Too much."})
		ended(t, s)
		r, err := w.Recordings.Open(s.ID())
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		seal, ok := r.Sealed()
		if !ok || seal.Outcome != "budget" || !r.Verify().OK {
			t.Errorf("the seal is %+v, %v", seal, ok)
		}
		var kinds []string
		for ev, err := range r.Events() {
			if err != nil {
				t.Fatal(err)
			}
			kinds = append(kinds, string(ev.Kind))
		}
		if got := strings.Join(kinds, " "); got != "o "+string(recording.KindTermination) {
			t.Errorf("recorded %q", got)
		}
		if h := r.Header(); h.Session != s.ID() || h.User != "alice" || h.Target != "web01" || h.Login != "deploy" {
			t.Errorf("the header is %+v", h)
		}
		if evs := w.Events(audit.RecordingSealed); len(evs) != 1 || evs[0].Detail["hash"] != seal.Hash {
			t.Errorf("the leaf is %+v, the seal's hash %s", evs, seal.Hash)
		}
	})
}

// faultyLog refuses one type of event.
type faultyLog struct {
	session.Log
	fail atomic.Value // audit.Type
}

func (l *faultyLog) Append(ctx context.Context, ev audit.Event) (audit.Event, error) {
	if l.fail.Load() == ev.Type {
		return audit.Event{}, fmt.Errorf("no %s today", ev.Type)
	}
	return l.Log.Append(ctx, ev)
}
