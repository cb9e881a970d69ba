package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/netip"
	"strings"

	"jit-gateway/approval/policy"
	"jit-gateway/internal/command"
	"jit-gateway/internal/config"
	"jit-gateway/internal/display"
	"jit-gateway/internal/identity"
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
		got, rule, why := verdict(set, inv, c)
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

// verdict is what the rules say of a case. One that names no target or login of
// the configuration has none: a misspelt name must not pass for a refusal.
func verdict(set *policy.Set, inv inventory.Inventory, c config.Case) (got, rule, why string) {
	in, err := c.Input(inv, now())
	switch {
	case err != nil:
		return "nothing", "", err.Error()
	case in.Login == "":
		return "nothing", "", c.Target + " has several logins; name one"
	}
	v := set.Decide(in)
	switch {
	case !v.Allowed:
		got = "deny"
	case v.Rule.Auto:
		got = "auto"
	case v.Rule.BreakGlass != nil:
		got = "emergency"
	default:
		got = "allow"
	}
	return got, v.Rule.Name, v.Reason
}

type policyExplainCmd struct {
	User       string          `required:"" help:"User: as the running gateway knows them, unless --group or --machine says otherwise."`
	Groups     []string        `name:"group" help:"Group of the user; repeat it."`
	Machine    bool            `help:"The user is a machine."`
	Target     string          `required:"" help:"Target name."`
	Login      string          `help:"Login or role; may be left out where the target has only one."`
	Ticket     string          `help:"Ticket."`
	Source     netip.Addr      `help:"Client address."`
	For        policy.Duration `help:"Duration that is asked for." placeholder:"30m"`
	At         string          `help:"Time, such as 2026-03-29T02:30:00+01:00; now if left out." placeholder:"TIME"`
	BreakGlass bool            `help:"An emergency is declared."`
	JSON       bool            `help:"As JSON."`
}

func (p policyExplainCmd) Run(ctx context.Context, cli *local, s *io3) error {
	set, inv, err := loadPolicy(cli.Config)
	if err != nil {
		return err
	}
	users, running := asked[identity.User](ctx, cli.Config, "user", "list")
	if list, ok := asked[inventory.Target](ctx, cli.Config, "target", "list"); ok {
		if live, err := inventory.NewLive(list); err == nil { // with what was added and what sources bring
			inv = live
		}
	}
	c := config.Case{User: p.User, Groups: p.Groups, Machine: p.Machine, Target: p.Target, Login: p.Login, Ticket: p.Ticket, Source: p.Source,
		Duration: p.For, At: p.At, BreakGlass: p.BreakGlass}
	in, err := c.Input(inv, now())
	if err != nil {
		return err
	}
	if in.User, err = p.who(in.User, users, running, s.err); err != nil {
		return err
	}
	if in.Login == "" { // no rule is about no login: the explanation would be about that alone
		fmt.Fprintf(s.err, "jit-gateway: %s has several logins; name one: --login %s\n", display.Line(p.Target, 64), display.Line(strings.Join(in.Target.Logins(), "|"), 200))
		return exitError(2)
	}
	v, steps := set.Decide(in), set.Explain(in)
	approvers := couldApprove(v, in, users, running)
	if p.JSON {
		e := json.NewEncoder(s.out)
		e.SetIndent("", "  ")
		return e.Encode(map[string]any{"allowed": v.Allowed, "rule": v.Rule.Name, "reason": v.Reason, "steps": steps, "approvers": approvers})
	}
	explain(s.out, v, steps, approvers)
	return nil
}

// who is the user that is asked about: the gateway's, or one who could be.
func (p policyExplainCmd) who(could identity.User, users []identity.User, running bool, notes io.Writer) (identity.User, error) {
	if len(p.Groups) > 0 || p.Machine {
		return could, nil
	}
	if !running {
		fmt.Fprintf(notes, "jit-gateway: no gateway runs here, so %s is taken to be in no group; give --group\n", display.Line(p.User, 64))
		return could, nil
	}
	for _, u := range users {
		if u.Name == p.User {
			return u, nil
		}
	}
	return could, fmt.Errorf("there is no user %q; to ask about one who could be, give --group", p.User)
}

// asked is what the running gateway lists; false if none runs.
func asked[T any](ctx context.Context, path string, args ...string) (list []T, ok bool) {
	c, err := config.Load(path)
	if err != nil {
		return nil, false
	}
	var out bytes.Buffer
	status := command.Call(ctx, socketPath(c), append(args, "--json"), command.Stdio{In: strings.NewReader(""), Out: &out, Err: io.Discard})
	if status != 0 || json.Unmarshal(out.Bytes(), &list) != nil {
		return nil, false
	}
	return list, true
}

// approverGroup is one quorum of a rule, and who could meet it.
type approverGroup struct {
	Label string   `json:"label"`
	Need  int      `json:"need"`
	Who   []string `json:"who,omitempty"`
	Known bool     `json:"known"` // false: no gateway runs, so nobody knows who is in the groups
}

func couldApprove(v policy.Verdict, in policy.Input, users []identity.User, known bool) []approverGroup {
	out := []approverGroup{}
	if !v.Allowed {
		return out
	}
	for _, e := range v.Rule.Electorates([]inventory.Target{in.Target}, false) {
		g := approverGroup{Label: e.Label, Need: e.Need, Known: known}
		for _, u := range users {
			if u.Usable(in.Now) && u.Person() != in.User.Person() && e.Fits(u) {
				g.Who = append(g.Who, u.Name)
			}
		}
		out = append(out, g)
	}
	return out
}

func explain(w io.Writer, v policy.Verdict, steps []policy.Step, approvers []approverGroup) {
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
	switch {
	case !v.Allowed:
		fmt.Fprintf(w, "Refused: %s\n", display.Line(v.Reason, 300))
		return
	case v.Rule.Auto:
		fmt.Fprintf(w, "Allowed by rule %s, which approves by itself.\n", v.Rule.Name)
		return
	case v.Rule.BreakGlass != nil:
		fmt.Fprintf(w, "Allowed by rule %s as an emergency, to be reviewed by %s.\n", v.Rule.Name, display.Line(strings.Join(v.Rule.BreakGlass.Reviews, " or "), 200))
		return
	}
	fmt.Fprintf(w, "Allowed by rule %s, after approval by:\n", v.Rule.Name)
	for _, g := range approvers {
		who := ""
		switch {
		case g.Known && len(g.Who) < g.Need:
			who = fmt.Sprintf(", of whom there are %d: nobody could approve it", len(g.Who))
		case g.Known:
			who = ": " + display.Line(strings.Join(g.Who, ", "), 300)
		}
		fmt.Fprintf(w, "  %d of %s%s\n", g.Need, display.Line(g.Label, 200), who)
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
