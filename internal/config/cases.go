package config

import (
	"fmt"
	"net/netip"
	"os"
	"reflect"
	"slices"
	"time"

	"jit-gateway/approval/policy"
	"jit-gateway/internal/identity"
	"jit-gateway/internal/inventory"
)

// Case is one line of a policy test: who asks for what, and what the rules
// must answer.
type Case struct {
	Name       string          `yaml:"name"`
	User       string          `yaml:"user"`
	Groups     []string        `yaml:"groups"`
	Machine    bool            `yaml:"machine"`
	Owner      string          `yaml:"owner"` // who answers for the account
	Target     string          `yaml:"target"`
	Login      string          `yaml:"login"`
	Reason     string          `yaml:"reason"`
	Ticket     string          `yaml:"ticket"`
	Duration   policy.Duration `yaml:"duration"`
	Source     netip.Addr      `yaml:"source"`
	At         string          `yaml:"at"`    // RFC 3339; now if empty
	Start      string          `yaml:"start"` // RFC 3339: scheduled; at once if empty
	BreakGlass bool            `yaml:"break_glass"`
	Risk       []string        `yaml:"risk"`
	History    policy.History  `yaml:"history"`

	Want string `yaml:"want"` // allow, auto, emergency or deny
	Rule string `yaml:"rule"` // and by this rule, if given
	Line int    `yaml:"-"`
}

// caseFile is what `policy test` reads.
type caseFile struct {
	Cases []Case `yaml:"cases"`
}

// LoadCases reads a file of policy test cases, with errors like Load's.
func LoadCases(path string) ([]Case, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read policy cases: %w", err)
	}
	doc, err := parseYAML(path, raw)
	if err != nil {
		return nil, err
	}
	d := &decoder{file: path}
	var f caseFile
	if len(doc.Content) > 0 {
		d.value(doc.Content[0], reflect.ValueOf(&f).Elem(), "", false)
	}
	for i := range f.Cases {
		c, field := &f.Cases[i], fmt.Sprintf("cases[%d]", i)
		n := locate(doc, field)
		c.Line = n.Line
		if c.Name == "" {
			c.Name = fmt.Sprintf("case %d", i+1)
		}
		if !slices.Contains([]string{"allow", "auto", "emergency", "deny"}, c.Want) {
			d.fail(n, field+".want", `%q: say "allow" (someone approves), "auto", "emergency" or "deny"`, c.Want)
		}
		if c.User == "" || c.Target == "" {
			d.fail(n, field, "a case needs user and target")
		}
		for name, text := range map[string]string{"at": c.At, "start": c.Start} {
			if _, err := moment(text, time.Time{}); err != nil {
				d.fail(n, field+"."+name, "%q is not a time like 2026-03-29T02:30:00+01:00", text)
			}
		}
	}
	if len(d.errs) == 0 && len(f.Cases) == 0 {
		d.fail(doc, "cases", "there are none: a test without cases passes for the wrong reason")
	}
	if len(d.errs) > 0 {
		return nil, d.joined()
	}
	return f.Cases, nil
}

// moment reads a time, which may be left out.
func moment(text string, otherwise time.Time) (time.Time, error) {
	if text == "" {
		return otherwise, nil
	}
	return time.Parse(time.RFC3339, text)
}

// Input is the case as the rules see it, or an error if its target is not in
// the inventory.
func (c Case) Input(inv inventory.Inventory, now time.Time) (policy.Input, error) {
	t, ok := inv.Target(c.Target)
	if !ok {
		return policy.Input{}, fmt.Errorf("target %q is not configured", c.Target)
	}
	kind := identity.Human
	if c.Machine {
		kind = identity.Machine
	}
	at, err := moment(c.At, now)
	if err != nil {
		return policy.Input{}, err
	}
	start, err := moment(c.Start, time.Time{})
	if err != nil {
		return policy.Input{}, err
	}
	login := c.Login
	if login == "" && len(t.Logins()) == 1 {
		login = t.Logins()[0]
	}
	return policy.Input{
		User:   identity.User{ID: c.User, Name: c.User, Kind: kind, Owner: c.Owner, State: identity.Active, Groups: c.Groups},
		Target: t, Login: login, Reason: c.Reason, Ticket: c.Ticket, Duration: c.Duration.Std(), Now: at, StartAt: start,
		Source: c.Source, BreakGlass: c.BreakGlass, Risk: c.Risk, History: c.History,
	}, nil
}
