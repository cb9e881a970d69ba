package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"jit-gateway/internal/audit"
	"jit-gateway/internal/config"
	"jit-gateway/internal/inventory"
	"jit-gateway/internal/source"
)

// newSources makes what keeps the configured sources of targets read.
func (g *gateway) newSources(c *config.Config) (err error) {
	g.sources, err = source.NewSyncer(source.Options{Dir: c.SourceDir(), Now: now, Logger: g.log, Apply: g.loadTargets, Told: g.synced})
	g.job("sources of targets", g.sources.Run)
	g.job("targets of the store", g.followTargets)
	return err
}

// loadInventory makes the configuration's targets and sources effective, or
// leaves everything as it was.
func (g *gateway) loadInventory(ctx context.Context, c *config.Config) error {
	if err := g.sources.Configure(c.Sources, reader(c)); err != nil {
		return err
	}
	before := g.configured(c.Targets)
	if err := g.loadTargets(ctx); err != nil {
		g.configured(before)
		return err
	}
	g.truster.Store(c.Truster())
	return nil
}

// configured replaces the configuration's targets, and returns those of before.
func (g *gateway) configured(list []inventory.Target) (before []inventory.Target) {
	g.loading.Lock()
	defer g.loading.Unlock()
	before, g.targets = g.targets, list
	return before
}

func reader(c *config.Config) source.Reader {
	return source.Reader{YAML: config.DecodeTargets, Secret: config.Secret, Trust: c.Truster()}
}

// loadTargets makes the inventory from the configuration, the store and the
// sources, and tells what vanished: that ends grants and sessions there.
// Nothing changes when two of them claim one name.
func (g *gateway) loadTargets(ctx context.Context) error {
	g.loading.Lock()
	defer g.loading.Unlock()
	stored, err := g.db.StoredTargets(ctx)
	if err != nil {
		return err
	}
	var all []inventory.Target
	all = append(append(append(all, g.targets...), stored...), g.sources.Targets()...)
	if g.inventory == nil {
		g.inventory, err = inventory.NewLive(all)
		return err
	}
	before := g.inventory.Targets()
	if err := g.inventory.Swap(all); err != nil {
		return err
	}
	for _, t := range before {
		if _, there := g.inventory.Target(t.Name); there || t.Source == "store" { // whoever removed it from the store said so
			continue
		}
		_, err := g.db.Append(ctx, audit.Event{Type: audit.TargetRemoved, Outcome: audit.Success, Actor: audit.Gateway, Target: t.Name,
			Detail: map[string]string{"source": t.Source}})
		if err != nil { // back to before, so that the next try finds it missing again
			return errors.Join(fmt.Errorf("note that target %s was removed: %w", t.Name, err), g.inventory.Swap(before))
		}
	}
	return nil
}

// synced writes down what a reading changed, or why it was refused.
func (g *gateway) synced(ctx context.Context, r source.Result) {
	ev := audit.Event{Type: audit.TargetsSynced, Outcome: audit.Success, Actor: audit.Gateway,
		Detail: map[string]string{"source": r.Source, "before": strconv.Itoa(r.Diff.Before), "after": strconv.Itoa(r.Diff.After),
			"added": strconv.Itoa(len(r.Diff.Added)), "changed": strconv.Itoa(len(r.Diff.Changed)), "removed": strconv.Itoa(len(r.Diff.Removed))}}
	if r.Err != nil {
		ev.Outcome, ev.Reason = audit.Failure, r.Err.Error()
	}
	if _, err := g.db.Append(ctx, ev); err != nil {
		g.log.Error("note that a source of targets was read", "source", r.Source, "error", err)
	}
}

// parseImport reads what `target import` gets.
func (g *gateway) parseImport(format string, raw []byte, defaults inventory.Target) ([]inventory.Target, error) {
	r := reader(g.conf)
	r.Trust = g.truster.Load()
	return r.Import(format, raw, defaults)
}
