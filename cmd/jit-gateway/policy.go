package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/netip"
	"strings"

	"jit-gateway/approval/policy"
	"jit-gateway/internal/config"
	"jit-gateway/internal/display"
	"jit-gateway/internal/inventory"
)

type policyCmd struct {
	Test    policyTestCmd    `cmd:"" help:"Run cases with expected verdicts against the rules of --config."`
	Explain policyExplainCmd `cmd:"" help:"Show which rule decides, which condition failed, and who could approve."`
}

type policyTestCmd struct {
	File string `arg:"" help:"YAML file with cases; docs/rules.md describes it." type:"path"`
}

func (p policyTestCmd) Run(cli *local, s *io3) error {
	set, inv, err := loadPolicy(cli.Config)
	if err != nil {
		return err
	}
	cases, err := config.LoadCases(p.File)
	if err != nil {
		return err
	}
	failed := 0
	for _, c := range cases {
		got, rule, why := "deny", "", ""
		in, err := c.Input(inv, now())
		if err != nil {
			why = err.Error()
		} else {
			v := set.Decide(in)
			rule, why = v.Rule.Name, v.Reason
			if v.Allowed && v.Rule.Auto {
				got = "auto"
			} else if v.Allowed {
				got = "allow"
			}
		}
		if got != c.Want || (c.Rule != "" && c.Rule != rule) {
			failed++
			fmt.Fprintf(s.out, "FAIL  %s (%s:%d): got %s by rule %q, want %s", display.Line(c.Name, 80), p.File, c.Line, got, rule, c.Want)
			if c.Rule != "" {
				fmt.Fprintf(s.out, " by rule %q", c.Rule)
			}
			if why != "" {
				fmt.Fprintf(s.out, ": %s", display.Line(why, 300))
			}
			fmt.Fprintln(s.out)
		}
	}
	fmt.Fprintf(s.out, "%d cases, %d failed\n", len(cases), failed)
	if failed > 0 {
		return exitError(1)
	}
	return nil
}

type policyExplainCmd struct {
	User   string     `required:"" help:"User name."`
	Groups []string   `name:"group" help:"Group of the user; repeat it."`
	Target string     `required:"" help:"Target name."`
	Login  string     `help:"Login or role; may be left out where the target has only one."`
	Ticket string     `help:"Ticket."`
	Source netip.Addr `help:"Client address."`
	JSON   bool       `help:"As JSON."`
}

func (p policyExplainCmd) Run(cli *local, s *io3) error {
	set, inv, err := loadPolicy(cli.Config)
	if err != nil {
		return err
	}
	c := config.Case{User: p.User, Groups: p.Groups, Target: p.Target, Login: p.Login, Ticket: p.Ticket, Source: p.Source}
	in, err := c.Input(inv, now())
	if err != nil {
		return err
	}
	if in.Login == "" { // no rule is about no login: the explanation would be about that alone
		fmt.Fprintf(s.err, "jit-gateway: %s has several logins; name one: --login %s\n", display.Line(p.Target, 64), display.Line(strings.Join(in.Target.Logins(), "|"), 200))
		return exitError(2)
	}
	v, steps := set.Decide(in), set.Explain(in)
	if p.JSON {
		e := json.NewEncoder(s.out)
		e.SetIndent("", "  ")
		return e.Encode(map[string]any{"allowed": v.Allowed, "rule": v.Rule.Name, "reason": v.Reason, "steps": steps})
	}
	explain(s.out, v, steps, in)
	return nil
}

func explain(w io.Writer, v policy.Verdict, steps []policy.Step, in policy.Input) {
	last := ""
	for _, st := range steps {
		if st.Rule != last {
			fmt.Fprintf(w, "rule %s (%s)\n", display.Line(st.Rule, 80), st.Effect)
			last = st.Rule
		}
		mark := "ok  "
		if !st.OK {
			mark = "no  "
		}
		fmt.Fprintf(w, "  %s%-16s %s\n", mark, st.Field, display.Line(st.Detail, 200))
	}
	if !v.Allowed {
		fmt.Fprintf(w, "Refused: %s\n", display.Line(v.Reason, 300))
		return
	}
	if v.Rule.Auto {
		fmt.Fprintf(w, "Allowed by rule %s, which approves by itself.\n", v.Rule.Name)
		return
	}
	fmt.Fprintf(w, "Allowed by rule %s, after approval by:\n", v.Rule.Name)
	for _, e := range v.Rule.Electorates([]inventory.Target{in.Target}, false) {
		fmt.Fprintf(w, "  %s\n", e.Label)
	}
}

// loadPolicy reads rules and configured targets; it needs no running gateway.
func loadPolicy(path string) (*policy.Set, *inventory.Live, error) {
	c, err := config.Load(path)
	if err != nil {
		return nil, nil, err
	}
	set, err := policy.NewSet(c.Rules)
	if err != nil {
		return nil, nil, err
	}
	inv, err := inventory.NewLive(c.Targets)
	return set, inv, err
}
