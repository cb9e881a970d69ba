package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"jit-gateway/internal/audit"
	"jit-gateway/internal/store/sqlstore"
)

// job runs as long as the gateway does. One that fails stops the gateway.
type job struct {
	name string
	run  func(context.Context) error
}

// Jobs that follow the log and may begin again where they were: with a store
// behind a network their trouble passes.
var resumable = map[string]bool{
	"checkpoints": true, "sinks": true, "approvals": true, "search index": true, "notifications": true, "tickets": true, "archive": true,
	"object store": true, "accounts": true, "sources of targets": true, "other gateways": true,
}

// Jobs of which the installation needs one: each event is to go out once.
var single = map[string]bool{"sinks": true, "notifications": true, "tickets": true, "accounts": true}

// Jobs that work through the recordings of this gateway's directory: one
// process at a time, also while an old one drains for its successor.
var ofDirectory = map[string]bool{"archive": true, "search index": true}

func (g *gateway) job(name string, run func(context.Context) error) {
	if g.shared != nil && single[name] {
		run = g.oneOf(name, run)
	}
	if g.shared != nil && resumable[name] {
		run = g.resumed(name, run)
	}
	g.jobs = append(g.jobs, job{name, run})
}

// resumed begins a job again when it fails, unless the log itself cannot be
// trusted any more.
func (g *gateway) resumed(name string, run func(context.Context) error) func(context.Context) error {
	return func(ctx context.Context) error {
		for pause := 200 * time.Millisecond; ; pause = min(2*pause, 5*time.Second) {
			began := time.Now()
			err := run(ctx)
			if err == nil || ctx.Err() != nil || errors.Is(err, audit.ErrLogChanged) || errors.Is(err, sqlstore.ErrLost) {
				return err
			}
			if time.Since(began) > time.Minute {
				pause = 200 * time.Millisecond
			}
			g.log.Error("a job failed; it begins again", "job", name, "error", err)
			select {
			case <-time.After(pause):
			case <-ctx.Done():
				return nil
			}
		}
	}
}

// turn is how often a gateway looks whether the one that does a job has gone.
const turn = 3 * time.Second

// oneOf runs a job while no other gateway does, and otherwise waits for its turn.
func (g *gateway) oneOf(name string, run func(context.Context) error) func(context.Context) error {
	return func(ctx context.Context) error {
		for ctx.Err() == nil {
			ran, err := g.shared.Alone(ctx, "job "+name, run)
			if ctx.Err() != nil {
				return nil
			}
			if err != nil {
				return err
			}
			if ran {
				continue // it lost its lock
			}
			select {
			case <-time.After(turn):
			case <-ctx.Done():
			}
		}
		return nil
	}
}

// sinkBehind is how long a required sink may be behind, wherever it is fed.
const sinkBehind = 30 * time.Second

// sinksOK refuses while a required copy of the log is not being made. The
// gateway that feeds a sink may be another one: then its cursor tells.
func (g *gateway) sinksOK(ctx context.Context) error {
	if err := g.sinks.Check(); err != nil || g.shared == nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	for _, s := range g.conf.Sinks {
		if !s.Required {
			continue
		}
		at, err := g.db.Cursor(ctx, "sink:"+s.Name)
		if err != nil {
			return err
		}
		next, err := g.db.Events(ctx, at, 1)
		if err != nil {
			return err
		}
		if len(next) > 0 && now().Sub(next[0].Time) > sinkBehind {
			return fmt.Errorf("the audit sink %q, which is required, is behind by more than %v", s.Name, sinkBehind)
		}
	}
	return nil
}
