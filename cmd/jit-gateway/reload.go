package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"jit-gateway/approval"
	"jit-gateway/approval/policy"
	"jit-gateway/internal/audit"
	"jit-gateway/internal/command"
	"jit-gateway/internal/config"
	"jit-gateway/internal/display"
)

// load makes rules and inventory from a configuration, the store and the
// sources, and swaps both, or neither. What changed is in the log.
func (g *gateway) load(ctx context.Context, c *config.Config, who audit.Actor) error {
	set, err := policy.NewSet(c.Rules)
	if err != nil {
		return err
	}
	if err := g.loadInventory(ctx, c); err != nil {
		return err
	}
	before := g.rules.Swap(set)
	ev := audit.Event{Type: audit.ConfigLoaded, Outcome: audit.Success, Actor: who,
		Detail: map[string]string{"rules_hash": set.Hash(), "targets": fmt.Sprint(len(g.inventory.Targets())), "rules": fmt.Sprint(len(c.Rules)), "instance": g.instance}}
	if before != nil && before.Hash() != set.Hash() {
		ev.Detail["rules_before"] = before.Hash()
		ev.Detail["rules_diff"] = diffText(policy.Diff(before, set))
	}
	_, err = g.db.Append(ctx, ev)
	return err
}

// maxDiff is how much of a diff the log takes; the hashes tell of the rest.
const maxDiff = 4000

func diffText(changes []policy.Change) string {
	var out []string
	for _, ch := range changes {
		out = append(out, display.Line(ch.String(), 1000))
	}
	return display.Line(strings.Join(out, " | "), maxDiff)
}

// reload reads the file again; only rules and targets change.
func (g *gateway) reload(ctx context.Context) error {
	_, err := g.reloaded(ctx, audit.Gateway, false)
	return err
}

// reloaded is reload for somebody, or, dry, what it would do. It ends nothing:
// grants that the rules would refuse are listed.
func (g *gateway) reloaded(ctx context.Context, who audit.Actor, dry bool) (command.Reloaded, error) {
	var out command.Reloaded
	c, err := config.Load(g.conf.Path)
	if err != nil {
		return out, err
	}
	set, err := policy.NewSet(c.Rules)
	if err != nil {
		return out, err
	}
	before := g.rules.Load()
	out.Before, out.After, out.Changes, out.Restart = before.Hash(), set.Hash(), policy.Diff(before, set), config.NeedRestart(g.conf, c)
	if !dry {
		if err := errors.Join(g.reloadKeys(ctx), g.load(ctx, c, who)); err != nil {
			return out, err
		}
	}
	refused, err := g.approvals.Refused(ctx, set)
	if err != nil {
		return out, err
	}
	for _, r := range refused {
		out.Refused = append(out.Refused, command.RefusedGrant{Grant: r.Grant.ID, User: r.Grant.User, Targets: r.Grant.Targets, Live: r.Grant.State == approval.Active, Why: r.Error()})
	}
	if len(refused) > 0 && !dry {
		g.log.Warn("live grants are refused by the rules as they are now; `jit-gateway reload --end` ends them", "grants", len(refused))
	}
	if len(out.Restart) > 0 {
		g.log.Warn("these fields of the configuration need a restart", "fields", out.Restart)
	}
	return out, nil
}
