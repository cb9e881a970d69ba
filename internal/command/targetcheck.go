package command

import (
	"slices"
	"strings"

	"jit-gateway/internal/display"
	"jit-gateway/internal/inventory"
)

type targetCheckCmd struct {
	Names    []string `arg:"" optional:"" name:"target" help:"Targets; all if none is named."`
	Standing bool     `help:"Also look for other ways in: passwords, other CAs, authorized_keys."`
}

// checkJSON is what --json prints for a target.
type checkJSON struct {
	Target  string        `json:"target"`
	OK      bool          `json:"ok"`
	Results []CheckResult `json:"results"`
}

func (k *targetCheckCmd) Run(c *call) error {
	list := slices.Clone(c.r.o.Inventory.Targets())
	if len(k.Names) > 0 {
		list = list[:0]
		for _, n := range k.Names {
			t, ok := c.r.o.Inventory.Target(inventory.Normalize(n))
			if !ok {
				return failf("There is no target %s. See: %starget list", display.Line(n, 64), c.prefix())
			}
			list = append(list, t)
		}
	}
	var out []checkJSON
	bad := 0
	for x := range c.checkEach(list, k.Standing) {
		t, results := x.target, x.results
		if x.err != nil {
			results = append(results, CheckResult{What: "check", Detail: x.err.Error()})
		}
		ok := !slices.ContainsFunc(results, func(r CheckResult) bool { return !r.OK })
		if !ok {
			bad++
		}
		out = append(out, checkJSON{t.Name, ok, results})
		if c.root.JSON {
			continue
		}
		for _, r := range results {
			mark := paint("ok  ", green, c.color())
			if !r.OK {
				mark = paint("FAIL", red, c.color())
			}
			c.print("%s  %s: %s  %s", mark, display.Line(t.Name, 64), display.Line(r.What, 0), display.Line(r.Detail, 0))
			if !r.OK && r.Fix != "" {
				for line := range strings.Lines(r.Fix) {
					c.print("      %s", display.Line(strings.TrimRight(line, "\n"), 0))
				}
			}
		}
	}
	if c.root.JSON {
		if err := c.json(out); err != nil {
			return err
		}
	}
	if bad > 0 {
		c.say("%s of %d with trouble.", count(bad, "target", "targets"), len(list))
		return errQuiet
	}
	return nil
}
