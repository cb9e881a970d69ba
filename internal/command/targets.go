package command

import (
	"fmt"
	"slices"
	"strings"

	"jit-gateway/approval"
	"jit-gateway/internal/display"
	"jit-gateway/internal/inventory"
)

type targetsCmd struct{}

// targetJSON is a target as its user may see it: not how it is reached.
type targetJSON struct {
	Name     string             `json:"name"`
	Kind     inventory.Kind     `json:"kind"`
	Aliases  []string           `json:"aliases,omitempty"`
	Labels   map[string]string  `json:"labels,omitempty"`
	Logins   []string           `json:"logins"`
	Grants   []approval.Grant   `json:"grants,omitempty"`
	Requests []approval.Request `json:"requests,omitempty"`
}

func (*targetsCmd) Run(c *call) error {
	views, err := c.r.o.Approvals.Targets(c.ctx, c.inv.Caller)
	if err != nil {
		return err
	}
	if c.root.JSON {
		out := make([]targetJSON, len(views))
		for i, v := range views {
			out[i] = targetJSON{v.Target.Name, v.Target.Kind, v.Target.Aliases, v.Target.Labels, v.Logins, v.Grants, v.Requests}
		}
		return c.json(out)
	}
	if len(views) == 0 {
		c.say("No rule lets you ask for any target. An administrator can change that.")
		return nil
	}
	t := newTable("TARGET", "KIND", "LOGINS", "LABELS", "ACCESS")
	for _, v := range views {
		t.row(v.Target.Name, string(v.Target.Kind), names(v.Logins), labels(v.Target.Labels), c.access(v))
	}
	return c.table(t)
}

// access is where the user stands with a target.
func (c *call) access(v approval.TargetView) cell {
	now := c.r.o.Now()
	var waiting, pending string
	for _, g := range v.Grants {
		switch {
		case g.Live(now):
			return cell{fmt.Sprintf("%s open for %s", g.Login, c.left(g.End)), green}
		case g.State == approval.Active:
			return cell{fmt.Sprintf("%s opens in %s", g.Login, c.left(g.Start)), yellow}
		case g.State == approval.Waiting:
			waiting = g.ID
		}
	}
	for _, r := range v.Requests {
		pending = r.ID
	}
	switch {
	case waiting != "":
		return cell{"approved: activate " + waiting, yellow}
	case pending != "":
		return cell{"asked: " + pending, yellow}
	}
	return cell{"may ask", dim}
}

func labels(m map[string]string) string {
	var parts []string
	for k, v := range m {
		parts = append(parts, k+"="+v)
	}
	slices.Sort(parts)
	return display.Line(strings.Join(parts, " "), maxCell)
}
