package recording

import (
	"bytes"
	"fmt"
	"sync"
	"time"
)

// A viewer may be this far behind before it is resynchronised.
const (
	watchEvents = 1024
	watchBytes  = 512 << 10
	maxWatches  = 64
)

// Watch is a live view of a session. Events must be received until it is
// closed, or Close be called. A receiver that falls behind finds, in place of
// what it missed, a KindScreen event for each terminal: the session never
// waits for a viewer.
type Watch struct {
	// Snapshot is what the screens showed when the view began: one KindScreen
	// event for each channel with a terminal. Events continues from there.
	Snapshot []Event

	w      *Writer
	name   string
	events chan Event
	done   chan struct{} // Close was called
	gone   chan struct{} // the pump has ended
	once   sync.Once

	mu     sync.Mutex
	wake   sync.Cond
	queue  []Event
	bytes  int
	state  watchState
	closed bool
}

type watchState int

const (
	joining watchState = iota // waits for a snapshot from the worker
	following
	lost // overflowed: drains, then asks for a snapshot
)

// Watch begins a live view, and records who views.
func (w *Writer) Watch(viewer string) (*Watch, error) {
	if err := w.Event(Event{Payload: Viewer{Name: viewer, Joined: true}}); err != nil {
		return nil, err
	}
	v := &Watch{w: w, name: viewer, events: make(chan Event), done: make(chan struct{}), gone: make(chan struct{})}
	v.wake.L = &v.mu
	w.mu.Lock()
	if err := w.refusal(); err != nil {
		w.mu.Unlock()
		return nil, err
	}
	if len(w.watches)+len(w.pending) >= maxWatches {
		w.mu.Unlock()
		return nil, fmt.Errorf("session %s has %d viewers already", w.h.Session, maxWatches)
	}
	w.pending = append(w.pending, v)
	w.kick()
	w.mu.Unlock()

	v.mu.Lock()
	for v.state == joining && !v.closed {
		v.wake.Wait()
	}
	v.Snapshot, v.queue, v.bytes = v.queue, nil, 0
	v.mu.Unlock()
	go v.pump()
	return v, nil
}

// Events returns the events after Snapshot, until the session ends or Close.
func (v *Watch) Events() <-chan Event { return v.events }

// Close ends the view, and records that.
func (v *Watch) Close() {
	v.once.Do(func() {
		close(v.done)
		v.w.mu.Lock()
		for i, o := range v.w.watches {
			if o == v {
				v.w.watches = append(v.w.watches[:i:i], v.w.watches[i+1:]...)
				break
			}
		}
		v.w.mu.Unlock()
		v.end()
		v.w.Event(Event{Payload: Viewer{Name: v.name}}) //nolint:errcheck // the session may have ended first
	})
	<-v.gone
}

// end lets the pump finish after what is queued. Lock order: Writer.mu is
// never taken while Watch.mu is held.
func (v *Watch) end() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.closed = true
	v.wake.Broadcast()
}

func (v *Watch) isClosed() bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.closed
}

// dismiss ends every view. Called with mu held.
func (w *Writer) dismiss() {
	for _, v := range append(w.pending, w.watches...) {
		v.end()
	}
	w.pending, w.watches, w.resyncs = nil, nil, nil
}

// deliver queues events, or gives up on them. Called by the worker.
func (v *Watch) deliver(ev Event) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.state != following {
		return
	}
	if len(v.queue) >= watchEvents || v.bytes+len(ev.Data) > watchBytes {
		v.state = lost
		return
	}
	v.queue = append(v.queue, ev)
	v.bytes += len(ev.Data)
	v.wake.Signal()
}

// resync begins the view, or begins it anew. Called by the worker.
func (v *Watch) resync(screens []Event) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.queue = append(v.queue, screens...)
	v.state = following
	v.wake.Broadcast()
}

// pump hands queued events to the receiver.
func (v *Watch) pump() {
	defer close(v.gone)
	defer close(v.events)
	for {
		v.mu.Lock()
		for len(v.queue) == 0 && !v.closed && v.state != lost {
			v.wake.Wait()
		}
		batch, state, closed := v.queue, v.state, v.closed
		v.queue, v.bytes = nil, 0
		if state == lost && len(batch) == 0 {
			v.state = joining
		}
		v.mu.Unlock()
		for _, ev := range batch {
			select {
			case v.events <- ev:
			case <-v.done:
				return
			}
		}
		switch {
		case len(batch) > 0:
		case closed:
			return
		case state == lost:
			v.w.mu.Lock()
			v.w.resyncs = append(v.w.resyncs, v)
			v.w.kick()
			v.w.mu.Unlock()
		}
	}
}

// show feeds events to terminals and viewers. Called by the worker.
func (w *Writer) show(watches []*Watch, b []byte, base time.Duration) {
	d := decoder{b: b, t: base}
	for {
		ev, ok, err := d.next()
		if !ok || err != nil { // err: impossible, we wrote it
			return
		}
		w.screens.see(&ev)
		if len(watches) == 0 {
			continue
		}
		ev.Data = bytes.Clone(ev.Data)
		for _, v := range watches {
			v.deliver(ev)
		}
	}
}
