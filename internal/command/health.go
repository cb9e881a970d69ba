package command

import (
	"slices"
	"strings"

	"jit-gateway/internal/display"
)

// HealthItem is one finding about the gateway itself.
type HealthItem struct {
	Area    string `json:"area"`
	Subject string `json:"subject,omitempty"`
	Level   string `json:"level"` // ok, warn, fail
	Text    string `json:"text"`
	Fix     string `json:"fix,omitempty"`
}

type healthCmd struct {
	Targets bool `help:"Also check every target, as target check does."`
}

// Help is shown below the usage.
func (*healthCmd) Help() string {
	return "Exit status 0 if nothing fails; warnings do not count. On the gateway itself, `jit-gateway doctor` looks at the configuration and at files, too."
}

func (h *healthCmd) Run(c *call) error {
	list := c.r.o.Health(c.ctx)
	if h.Targets && c.r.o.Check != nil {
		list = append(list, c.targetsHealth()...)
	}
	if c.root.JSON {
		if err := c.json(append([]HealthItem{}, list...)); err != nil {
			return err
		}
	} else {
		c.printHealth(list)
	}
	if slices.ContainsFunc(list, func(i HealthItem) bool { return i.Level == "fail" }) {
		return errQuiet
	}
	return nil
}

// targetsHealth is a line for each target: how it is, or the first thing wrong.
func (c *call) targetsHealth() []HealthItem {
	var out []HealthItem
	for x := range c.checkEach(c.r.o.Inventory.Targets(), false) {
		item := HealthItem{Area: "Target", Subject: x.target.Name, Level: "ok", Text: "It can be reached, and accepts the gateway."}
		if x.err != nil {
			item.Level, item.Text = "fail", x.err.Error()
		}
		bad := 0
		for _, f := range x.results {
			if f.OK {
				continue
			}
			if bad++; bad == 1 {
				item.Level, item.Text, item.Fix = "fail", f.What+": "+f.Detail, f.Fix
			}
		}
		if bad > 1 {
			item.Text += " (and more: target check " + x.target.Name + ")"
		}
		out = append(out, item)
	}
	return out
}

func (c *call) printHealth(list []HealthItem) {
	for _, i := range list {
		what := i.Area
		if i.Subject != "" {
			what += ", " + display.Line(i.Subject, 64)
		}
		c.print("%-4s  %s: %s", i.Level, what, display.Line(i.Text, 400))
		if i.Level != "ok" && i.Fix != "" {
			for _, l := range strings.Split(i.Fix, "\n") {
				c.print("      → %s", display.Line(l, 600))
			}
		}
	}
}
