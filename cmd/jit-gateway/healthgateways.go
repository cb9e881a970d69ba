package main

import (
	"context"
	"fmt"
	"time"

	"jit-gateway/internal/audit"
	"jit-gateway/internal/store"
)

// heardOf is within which time a gateway that lives has said so: three beats.
const heardOf = 15 * time.Second

// healthOfGateways compares the gateways of a shared store: each reads its own
// configuration, and one with other rules admits other people.
func (g *gateway) healthOfGateways(ctx context.Context, add addHealth) {
	if g.shared == nil {
		return
	}
	const area = "Gateways"
	alive, err := g.db.Gateways(ctx, now().Add(-min(heardOf, g.conf.Limits.StoreGrace)))
	if err != nil {
		add(area, "", "fail", err.Error(), "")
		return
	}
	loads, err := g.db.FindEvents(ctx, audit.Filter{Types: []audit.Type{audit.ConfigLoaded}, Limit: 1000})
	if err != nil {
		add(area, "", "fail", err.Error(), "")
		return
	}
	rules := map[string]string{} // by instance, as it read them last
	for _, ev := range loads {
		if id := ev.Detail["instance"]; rules[id] == "" {
			rules[id] = ev.Detail["rules_hash"]
		}
	}
	mine := g.rules.Load().Hash()
	for _, o := range alive {
		level, text, fix := g.compare(o, rules[o.ID], mine)
		add(area, o.Name, level, text, fix)
	}
}

func (g *gateway) compare(o store.Gateway, rules, mine string) (level, text, fix string) {
	text = fmt.Sprintf("Version %s, since %s, heard of %s ago.", o.Version, o.Started.Format(time.RFC3339), max(0, now().Sub(o.Beat)).Round(time.Second))
	if o.ID == g.instance {
		return "ok", text + " This one.", ""
	}
	if rules != "" && rules != mine {
		return "warn", text + " It has other rules than this one.", "Deploy one configuration to all gateways, then `jit-gateway reload` on each. One that drains after an upgrade keeps its rules to its end."
	}
	return "ok", text, ""
}
