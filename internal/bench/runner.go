package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"
	"time"
)

// Options says how much to measure. Zero fields take the defaults of Full.
type Options struct {
	Gateway  string         // path of the gateway's program
	Size     int            // MiB of each bulk transfer over SSH
	Rows     int            // of the table that is selected and copied: 1.6 million are 200 MB
	Seconds  int            // of each pgbench run
	Rounds   int            // at most, of each cell
	Idle     int            // idle sessions or connections
	Sessions int            // that Leak opens and ends
	Live     int            // sessions of each protocol that Scale holds open at once
	Events   int            // audit events in the store that Scale restarts with; 0: only its own
	Limit    time.Duration  // of the whole run; rounds are left out to keep it; 0: none
	Only     *regexp.Regexp // names of the cells to measure; nil: all
	Out      io.Writer      // takes the table
	Log      io.Writer      // takes progress
}

// Full is what a quiet machine is measured with.
func Full() Options {
	return Options{Size: 1024, Rows: 1_600_000, Seconds: 3, Rounds: 5, Idle: 200, Sessions: 10_000, Live: 1000, Events: 1_000_000}
}

// Quick is what three minutes of a busy machine allow.
func Quick() Options {
	return Options{Size: 128, Rows: 400_000, Seconds: 1, Rounds: 3, Idle: 200, Sessions: 500, Live: 200, Events: 100_000, Limit: 170 * time.Second}
}

// A path is one way to the server that all paths lead to.
type path struct {
	name string
	cpu  meter // of what stands in between; nil: nothing does, or it cannot be told
	pids []int // roots of the process trees in between, for their memory
}

// A sample is what one run of a cell on one path came to.
type sample struct {
	value float64
	work  float64            // what the CPU time is divided by; 0: CPU is not reported
	cpu   float64            // CPU seconds per work, if the cell knows better than before and after
	also  map[string]float64 // further rows, by name
}

// A cell is one thing to measure on several paths: direct, the usual tool, and
// the gateway, in this order.
type cell struct {
	name, unit string
	per        string  // unit of the CPU figure
	scale      float64 // CPU seconds to that unit
	once       bool    // one round is enough
	weight     int     // share of the time, 1 if zero
	paths      []*path // nil entries are not measured
	run        func(ctx context.Context, p *path) (sample, error)
}

// longest bounds one run of one cell, so that a hang is a failure.
const longest = 5 * time.Minute

type runner struct {
	Options
	began  time.Time
	result []*row
	notes  []string
	failed int // cells on paths that have no figure
}

func (r *runner) note(format string, args ...any) {
	text := strings.Join(strings.Fields(fmt.Sprintf(format, args...)), " ")
	if len(text) > 300 {
		text = strings.ToValidUTF8(text[:300], "") + " …"
	}
	r.notes = append(r.notes, text)
	fmt.Fprintln(r.Log, "  !", text)
}

// measure runs the cells, each for its rounds or as long as its share of the
// time allows, and always once.
func (r *runner) measure(ctx context.Context, cells []cell) error {
	var todo []cell
	rest := 0
	for _, c := range cells {
		if r.Only != nil && !r.Only.MatchString(c.name) {
			continue
		}
		c.weight = max(c.weight, 1)
		rest += c.weight
		todo = append(todo, c)
	}
	for _, c := range todo {
		var until time.Time
		if r.Limit > 0 {
			left := time.Until(r.began.Add(r.Limit))
			if left <= 0 {
				r.failed++
				r.note("%s: not measured, the time was up", c.name)
				continue
			}
			until = time.Now().Add(left * time.Duration(c.weight) / time.Duration(rest))
		}
		rest -= c.weight
		if err := r.cell(ctx, c, until); err != nil {
			return err
		}
	}
	return nil
}

func (r *runner) cell(ctx context.Context, c cell, until time.Time) error {
	rounds := r.Rounds
	if c.once {
		rounds = 1
	}
	main := newRow(c)
	r.result = append(r.result, main)
	also := map[string]*row{}
	var last time.Duration
	for round := range rounds {
		start := time.Now()
		if round > 0 && !until.IsZero() && start.Add(last).After(until) {
			break
		}
		for i := range c.paths {
			if round%2 == 1 { // there and back, so that nobody always goes first
				i = len(c.paths) - 1 - i
			}
			p := c.paths[i]
			if p == nil {
				continue
			}
			s, cpu, err := r.once(ctx, c, p)
			if ctx.Err() != nil {
				return ctx.Err()
			}
			if err != nil {
				r.failed++
				r.note("%s, %s: %v", c.name, p.name, err)
				continue
			}
			main.add(round, i, s.value, cpu)
			for _, name := range sorted(s.also) {
				if also[name] == nil {
					also[name] = newRow(cell{name: c.name + ", " + name, paths: c.paths})
					r.result = append(r.result, also[name])
				}
				also[name].add(round, i, s.also[name], nil)
			}
		}
		last = time.Since(start)
	}
	fmt.Fprintf(r.Log, "%6.0f s  %s\n", time.Since(r.began).Seconds(), main)
	return nil
}

// once runs a cell once, and reads the CPU time of what stands in between.
func (r *runner) once(ctx context.Context, c cell, p *path) (s sample, cpu *float64, err error) {
	ctx, cancel := context.WithTimeout(ctx, longest)
	defer cancel()
	var before float64
	if p.cpu != nil {
		if before, err = p.cpu(); err != nil {
			return s, nil, fmt.Errorf("read the CPU time: %w", err)
		}
	}
	if s, err = c.run(ctx, p); err != nil || p.cpu == nil || s.work == 0 && s.cpu == 0 {
		return s, nil, err
	}
	if s.cpu > 0 {
		used := s.cpu * c.scale
		return s, &used, nil
	}
	time.Sleep(150 * time.Millisecond) // ends of sessions, and what the recorder has in hand
	after, err := p.cpu()
	if err != nil {
		return s, nil, fmt.Errorf("read the CPU time: %w", err)
	}
	used := (after - before) / s.work * c.scale
	return s, &used, nil
}

// verdict is an error if something that was to be measured was not.
func (r *runner) verdict() error {
	if r.failed > 0 {
		return errors.New("not everything was measured: see below the table")
	}
	return nil
}
