// Package sink copies the audit log to where others keep it: a JSON Lines
// file, syslog over TLS (RFC 5424, RFC 5425), a signed webhook. Checkpoints
// of the log go along, so that an outside copy proves what was removed.
//
// Each sink has a cursor in the store and takes events in order, at least
// once: an event's id tells a receiver what it has seen already. A sink that
// is down is tried again with growing pauses while its lag is a metric; none
// holds up another, and none holds up a session unless it is configured as
// required, in which case the gateway admits nobody while it lags too far.
//
// Start reading at Runner.Run. What an event looks like is in Encode (native)
// and ocsf.go (OCSF 1.8).
package sink

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"jit-gateway/internal/audit"
)

// A Sink takes messages in order. Send returns once they are safe at the
// other side; after an error the same ones are sent again.
type Sink interface {
	Name() string
	Send(ctx context.Context, batch []Message) error
	Close() error
}

// Message is one event or checkpoint in its outward form.
type Message struct {
	ID       string // for deduplication
	Seq      int64  // of the event; of a checkpoint, its tree size
	Time     time.Time
	Type     audit.Type // "log.checkpoint" for checkpoints
	Severity int        // syslog severity, RFC 5424 section 6.2.1
	JSON     []byte     // one line, no line break
}

// Checkpoint is the type of messages that carry a signed checkpoint.
const Checkpoint audit.Type = "log.checkpoint"

// Store keeps the cursors.
type Store interface {
	audit.Source
	Cursor(ctx context.Context, name string) (int64, error) // -1 at first
	SaveCursor(ctx context.Context, name string, seq int64) error
	LastCheckpoint(ctx context.Context) (audit.Checkpoint, error) // zero if there is none
}

// Options builds a Runner.
type Options struct {
	Store Store
	Sinks []Sink
	OCSF  map[string]bool // by sink name: OCSF instead of the native form
	// Required sinks must keep up: see Runner.Check.
	Required map[string]bool
	Product  string // version, for OCSF's metadata
	Now      func() time.Time
	Metrics  *Metrics // may be nil
	Logger   *slog.Logger
}

const (
	batchSize = 200
	minPause  = time.Second
	maxPause  = time.Minute

	checkpointWait = 2 * time.Second // a little more than the pause between checkpoints
)

// Runner feeds sinks.
type Runner struct {
	o  Options
	mu sync.Mutex
	// failing holds since when a required sink has been refusing events.
	failing map[string]time.Time
}

// maxBehind is how long a required sink may refuse before nobody is admitted.
const maxBehind = 30 * time.Second

// Check returns an error while a required sink has been down for longer than
// maxBehind: whoever asks for it wants no access that is not copied outside.
func (r *Runner) Check() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	for name, since := range r.failing {
		if down := r.o.Now().Sub(since); down > maxBehind {
			return fmt.Errorf("the audit sink %q, which is required, has been down for %v", name, down.Round(time.Second))
		}
	}
	return nil
}

func (r *Runner) down(name string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, known := r.failing[name]; !known && r.o.Required[name] {
		r.failing[name] = r.o.Now()
	}
}

func (r *Runner) up(name string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.failing, name)
}

// New returns a Runner, or an error that names what is missing.
func New(o Options) (*Runner, error) {
	if o.Store == nil {
		return nil, errors.New("sink: Store is missing")
	}
	seen := map[string]bool{}
	for _, s := range o.Sinks {
		if s.Name() == "" || seen[s.Name()] {
			return nil, fmt.Errorf("sink: the name %q is empty or given twice", s.Name())
		}
		seen[s.Name()] = true
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return &Runner{o: o, failing: map[string]time.Time{}}, nil
}

// Run feeds every sink until ctx is done. Trouble of a sink is logged and
// counted, never returned: the log itself is complete without it.
func (r *Runner) Run(ctx context.Context) error {
	var g errgroup.Group
	for _, s := range r.o.Sinks {
		g.Go(func() error { return r.feed(ctx, s) })
	}
	return g.Wait()
}

// feed runs one sink. Which checkpoint it has is not kept: after a restart the
// newest one is sent once more.
func (r *Runner) feed(ctx context.Context, s Sink) (err error) {
	defer func() { err = errors.Join(err, s.Close()) }()
	pause, signed := minPause, int64(0)
	for ctx.Err() == nil {
		if err := r.step(ctx, s, &signed); err != nil && ctx.Err() == nil {
			r.o.Metrics.failed(s.Name())
			r.down(s.Name())
			r.o.Logger.Warn("sink is behind", "sink", s.Name(), "error", err, "next_try", pause)
			select {
			case <-ctx.Done():
			case <-time.After(pause):
			}
			pause = min(2*pause, maxPause)
			continue
		}
		pause = minPause
	}
	return nil
}

// step sends what is there, or waits until something is. signed is the tree
// size of the last checkpoint that the sink took.
func (r *Runner) step(ctx context.Context, s Sink, signed *int64) error {
	after, err := r.o.Store.Cursor(ctx, "sink:"+s.Name())
	if err != nil {
		return err
	}
	events, err := r.o.Store.Events(ctx, after, batchSize)
	if err != nil {
		return err
	}
	last, err := r.o.Store.LastSeq(ctx)
	if err != nil {
		return err
	}
	r.o.Metrics.lag(s.Name(), last-after)
	newest := after
	batch := make([]Message, 0, len(events)+1)
	for _, e := range events {
		m, err := r.message(s, e)
		if err != nil {
			return err
		}
		batch, newest = append(batch, m), e.Seq
	}
	c, err := r.o.Store.LastCheckpoint(ctx)
	if err != nil {
		return err
	}
	due := c.Size > *signed && c.Size <= newest+1 // only over events that the sink has
	if due {
		m, err := checkpoint(c)
		if err != nil {
			return err
		}
		batch = append(batch, m)
	}
	if len(batch) == 0 {
		return r.wait(ctx, after, *signed <= newest)
	}
	if err := s.Send(ctx, batch); err != nil {
		return err
	}
	r.up(s.Name())
	if due {
		*signed = c.Size
	}
	if err := r.o.Store.SaveCursor(ctx, "sink:"+s.Name(), newest); err != nil {
		return err
	}
	r.o.Metrics.sent(s.Name(), len(events), last-newest)
	return nil
}

// wait returns when there is an event, or after a while if a checkpoint is
// expected: signing one is no event.
func (r *Runner) wait(ctx context.Context, after int64, expectCheckpoint bool) error {
	if !expectCheckpoint {
		return r.o.Store.WaitEvents(ctx, after)
	}
	soon, cancel := context.WithTimeout(ctx, checkpointWait)
	defer cancel()
	err := r.o.Store.WaitEvents(soon, after)
	if soon.Err() != nil && ctx.Err() == nil {
		return nil
	}
	return err
}

func (r *Runner) message(s Sink, e audit.Event) (Message, error) {
	body, err := audit.Encode(e)
	if r.o.OCSF[s.Name()] {
		body, err = json.Marshal(OCSF(e, r.o.Product))
	}
	return Message{e.ID, e.Seq, e.Time, e.Type, severity(e), body}, err
}

func checkpoint(c audit.Checkpoint) (Message, error) {
	body, err := json.Marshal(map[string]any{"type": Checkpoint, "size": c.Size, "checkpoint": c.Note})
	return Message{fmt.Sprintf("checkpoint-%d", c.Size), c.Size, c.Time, Checkpoint, 6, body}, err
}

// severity is syslog's: 6 informational, 5 notice, 4 warning, 2 critical.
func severity(e audit.Event) int {
	switch {
	case e.Type == audit.CredentialAlive, e.Type == audit.RecordingFailed:
		return 2
	case e.Outcome == audit.Failure, e.Type == audit.FindingRaised, e.Type == audit.SessionCrashed:
		return 4
	case e.Outcome == audit.Denied:
		return 5
	}
	return 6
}
