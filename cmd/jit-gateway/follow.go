package main

import (
	"context"
	"strconv"
	"time"

	"jit-gateway/approval/policy"
	"jit-gateway/internal/audit"
)

// follow does at once what an event of any gateway asks of this one, beyond
// what approvals and sessions follow themselves: keys after a rotation,
// budgets that an approver raised, targets that were added to the store or
// removed from it.
func (g *gateway) follow(ctx context.Context) error {
	for ctx.Err() == nil {
		for ev, err := range audit.Tail(ctx, g.db, g.loaded) {
			if err != nil {
				break
			}
			g.loaded = ev.Seq
			switch ev.Type {
			case audit.GrantBudget:
				g.raiseBudget(ev)
			case audit.CARotated:
				if err := g.reloadKeys(ctx); err != nil {
					g.log.Error("read the certificate authorities again; those in memory stay", "error", err)
				}
			case audit.TargetAdded, audit.TargetUpdated, audit.TargetRemoved:
				g.targetsChanged()
			}
		}
		select {
		case <-ctx.Done():
		case <-time.After(time.Second):
		}
	}
	return nil
}

// targetsChanged makes followTargets look. One gateway alone has looked
// already, in the command that changed them.
func (g *gateway) targetsChanged() {
	if g.shared == nil {
		return
	}
	select {
	case g.stale <- struct{}{}:
	default: // it is told already, and has not looked yet
	}
}

// followTargets makes the inventory anew after changes of the store's targets:
// once for many, since an import writes an event for each.
func (g *gateway) followTargets(ctx context.Context) error {
	for {
		select {
		case <-g.stale:
		case <-ctx.Done():
			return nil
		}
		if err := g.loadTargets(ctx); err != nil && ctx.Err() == nil {
			g.log.Error("take over the targets of the store; those in memory stay until the next try", "error", err)
			g.targetsChanged()
		}
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
			return nil
		}
	}
}

// raiseBudget tells live sessions what the event adds to their budget.
func (g *gateway) raiseBudget(ev audit.Event) {
	var to policy.Budget
	for name, into := range map[string]*int64{"rows": &to.Rows, "bytes": &to.Bytes, "statements": &to.Statements} {
		if n, err := strconv.ParseInt(ev.Detail[name], 10, 64); err == nil { // absent: nothing was added
			*into = n
		}
	}
	g.postgres.RaiseBudget(ev.Grant, to)
}
