package config

import (
	"fmt"
	"net/netip"
	"os"
	"reflect"
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
	Target     string          `yaml:"target"`
	Login      string          `yaml:"login"`
	Reason     string          `yaml:"reason"`
	Ticket     string          `yaml:"ticket"`
	Duration   policy.Duration `yaml:"duration"`
	Source     netip.Addr      `yaml:"source"`
	At         string          `yaml:"at"` // RFC 3339; now if empty
	BreakGlass bool            `yaml:"break_glass"`
	Risk       []string        `yaml:"risk"`

	Want string `yaml:"want"` // allow, auto or deny
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
		if c.Want != "allow" && c.Want != "deny" && c.Want != "auto" {
			d.fail(n, field+".want", `%q: say "allow" (someone approves), "auto" or "deny"`, c.Want)
		}
		if c.User == "" || c.Target == "" {
			d.fail(n, field, "a case needs user and target")
		}
		if _, err := c.when(time.Time{}); err != nil {
			d.fail(n, field+".at", "%q is not a time like 2026-03-29T02:30:00+01:00", c.At)
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

func (c Case) when(now time.Time) (time.Time, error) {
	if c.At == "" {
		return now, nil
	}
	return time.Parse(time.RFC3339, c.At)
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
	at, err := c.when(now)
	if err != nil {
		return policy.Input{}, err
	}
	login := c.Login
	if login == "" && len(t.Logins()) == 1 {
		login = t.Logins()[0]
	}
	return policy.Input{
		User:   identity.User{ID: c.User, Name: c.User, Kind: kind, State: identity.Active, Groups: c.Groups},
		Target: t, Login: login, Reason: c.Reason, Ticket: c.Ticket, Duration: c.Duration.Std(), Now: at,
		Source: c.Source, BreakGlass: c.BreakGlass, Risk: c.Risk,
	}, nil
}
