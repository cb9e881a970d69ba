package source

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"jit-gateway/internal/inventory"
)

// Options of a Syncer.
type Options struct {
	Dir string // where accepted readings are kept: DataDir/sources, 0700
	// Apply makes the inventory anew from Targets. Its error refuses a reading.
	Apply func(ctx context.Context) error
	// Told is called after each reading that changed something or was refused.
	Told   func(ctx context.Context, r Result)
	Now    func() time.Time
	Logger *slog.Logger
}

// A Syncer keeps the sources of the configuration read. It is safe for
// concurrent use.
type Syncer struct {
	o Options

	run   sync.Mutex // one reading at a time
	mu    sync.Mutex
	read  Reader
	conf  []Source
	state map[string]*state
	kick  chan struct{}
}

type state struct {
	targets []inventory.Target // the last accepted reading
	next    time.Time
	err     error // of the last reading
	at      time.Time
}

// Result of one reading.
type Result struct {
	Source string    `json:"source"`
	Diff   Diff      `json:"diff"`
	DryRun bool      `json:"dry_run,omitempty"`
	Err    error     `json:"-"`
	Error  string    `json:"error,omitempty"`
	At     time.Time `json:"at"`
}

// LossError refuses a reading that takes too much away.
type LossError struct {
	Diff  Diff
	Limit int // percent
}

func (e *LossError) Error() string {
	return fmt.Sprintf("it would take away %d of %d targets, more than %d %%; if that is meant: target sync --accept-loss", len(e.Diff.Removed), e.Diff.Before, e.Limit)
}

// NewSyncer returns a Syncer without sources; see Configure.
func NewSyncer(o Options) (*Syncer, error) {
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Told == nil {
		o.Told = func(context.Context, Result) {}
	}
	return &Syncer{o: o, state: map[string]*state{}, kick: make(chan struct{}, 1)}, nil
}

// Configure replaces the sources. Those that are new have what was last
// accepted of them, from their file; the next reading is due at once.
func (s *Syncer) Configure(conf []Source, read Reader) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	next := map[string]*state{}
	for _, src := range conf {
		if st := s.state[src.Name]; st != nil {
			st.next = time.Time{}
			next[src.Name] = st
			continue
		}
		kept, err := s.load(src.Name)
		if err != nil {
			return err
		}
		next[src.Name] = &state{targets: kept}
	}
	s.conf, s.read, s.state = slices.Clone(conf), read, next
	select {
	case s.kick <- struct{}{}:
	default:
	}
	return nil
}

// Targets are the accepted targets of all sources.
func (s *Syncer) Targets() []inventory.Target {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []inventory.Target
	for _, src := range s.conf {
		out = append(out, s.state[src.Name].targets...)
	}
	return out
}

// Run reads each source when it is due, until ctx is done.
func (s *Syncer) Run(ctx context.Context) error {
	for {
		wait := time.Hour
		for _, src := range s.due() {
			_, _ = s.one(ctx, src, false, false) // told and logged
		}
		s.mu.Lock()
		for _, src := range s.conf {
			wait = min(wait, max(s.state[src.Name].next.Sub(s.o.Now()), time.Second))
		}
		s.mu.Unlock()
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-timer.C:
		case <-s.kick:
			timer.Stop()
		}
	}
}

func (s *Syncer) due() []Source {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.o.Now()
	var out []Source
	for _, src := range s.conf {
		if !s.state[src.Name].next.After(now) {
			out = append(out, src)
		}
	}
	return out
}

// Sync reads one source, or all if name is empty, at once. A dry run changes
// nothing and tells what would change.
func (s *Syncer) Sync(ctx context.Context, name string, dryRun, acceptLoss bool) ([]Result, error) {
	s.mu.Lock()
	conf := slices.Clone(s.conf)
	s.mu.Unlock()
	var out []Result
	for _, src := range conf {
		if name == "" || src.Name == name {
			r, _ := s.one(ctx, src, dryRun, acceptLoss)
			out = append(out, r)
		}
	}
	if len(out) == 0 && name != "" {
		return nil, fmt.Errorf("there is no source %q in the configuration", name)
	}
	return out, nil
}

// one reads a source and, if it is accepted, makes it effective. Everything
// before Apply changes nothing.
func (s *Syncer) one(ctx context.Context, src Source, dryRun, acceptLoss bool) (Result, error) {
	s.run.Lock()
	defer s.run.Unlock()
	s.mu.Lock()
	st, read := s.state[src.Name], s.read
	s.mu.Unlock()
	r := Result{Source: src.Name, DryRun: dryRun, At: s.o.Now().UTC()}
	if st == nil { // configured away meanwhile
		r.Err = errors.New("the source is not configured any more")
		return r, r.Err
	}
	list, err := read.Read(ctx, src)
	if err == nil {
		r.Diff = Compare(st.targets, list)
		if loss := r.Diff.loss(); loss > src.maxLoss() && !acceptLoss {
			err = &LossError{r.Diff, src.maxLoss()}
		}
	}
	if err == nil && !dryRun && !r.Diff.Empty() {
		err = s.accept(ctx, src, st, list)
	}
	if err != nil {
		r.Err, r.Error = err, err.Error()
	}
	if dryRun {
		return r, err
	}
	s.mu.Lock()
	news := err != nil && (st.err == nil || st.err.Error() != err.Error()) // the same trouble is told once
	st.err, st.at, st.next = err, r.At, s.o.Now().Add(src.every())
	s.mu.Unlock()
	switch {
	case news && ctx.Err() == nil:
		s.o.Logger.Error("a source of targets was not taken over; what it last gave stays", "source", src.Name, "error", err)
		s.o.Told(ctx, r)
	case err == nil && !r.Diff.Empty():
		s.o.Logger.Info("a source of targets changed", "source", src.Name, "diff", r.Diff.String())
		s.o.Told(ctx, r)
	}
	return r, err
}

// accept makes a reading effective, or leaves everything as it was.
func (s *Syncer) accept(ctx context.Context, src Source, st *state, list []inventory.Target) error {
	s.mu.Lock()
	before := st.targets
	st.targets = list
	s.mu.Unlock()
	err := s.o.Apply(ctx)
	if err == nil {
		if err = s.keep(src.Name, list); err == nil {
			return nil
		}
		// Effective, but not kept: after a restart it would be read again.
		s.o.Logger.Error("what a source of targets gave could not be kept", "source", src.Name, "error", err)
		return nil
	}
	s.mu.Lock()
	st.targets = before
	s.mu.Unlock()
	return err
}

// Status of a source, for doctor and metrics.
type Status struct {
	Source  string
	Targets int
	ReadAt  time.Time // of the last reading, zero before the first
	Err     error     // why it was refused
}

// Status lists all sources.
func (s *Syncer) Status() []Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []Status
	for _, src := range s.conf {
		st := s.state[src.Name]
		out = append(out, Status{src.Name, len(st.targets), st.at, st.err})
	}
	return out
}

func (s *Syncer) file(name string) string { return filepath.Join(s.o.Dir, name+".json") }

// load is what was last accepted of a source; nothing if there never was.
func (s *Syncer) load(name string) ([]inventory.Target, error) {
	raw, err := os.ReadFile(s.file(name))
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read what source %s last gave: %w", name, err)
	}
	var list []inventory.Target
	if err := json.Unmarshal(raw, &list); err != nil {
		return nil, fmt.Errorf("%s: %w; remove it and the source is read anew", s.file(name), err)
	}
	for i := range list {
		list[i].Source = name
	}
	return list, check(list)
}

func (s *Syncer) keep(name string, list []inventory.Target) error {
	if err := os.MkdirAll(s.o.Dir, 0o700); err != nil {
		return err
	}
	raw, err := json.Marshal(list)
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(s.o.Dir, "."+name+"-")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // gone after the rename
	_, err = f.Write(raw)
	err = errors.Join(err, f.Sync(), f.Close())
	if err != nil {
		return err
	}
	return os.Rename(f.Name(), s.file(name))
}
