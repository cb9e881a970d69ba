package policy

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"jit-gateway/internal/identity"
	"jit-gateway/internal/inventory"
)

// Input is everything that a decision depends on.
type Input struct {
	User       identity.User
	Target     inventory.Target
	Login      string
	Reason     string
	Ticket     string
	Duration   time.Duration // 0: the rule's default
	StartAt    time.Time     // scheduled; zero: now
	Now        time.Time
	Source     netip.Addr // of the client; the zero Addr is outside every network
	BreakGlass bool       // the emergency was asked for: only break-glass rules apply
	Risk       []string   // codes of risk findings
	History    History
	Preview    bool // before the questions are asked: a ticket may still come
}

// History is what `when:` can see of the past, as it stood when the request was filed.
type History struct {
	Requests30d int `json:"requests_30d,omitempty" yaml:"requests_30d"` // by this user
	Denials7d   int `json:"denials_7d,omitempty" yaml:"denials_7d"`
	Sessions30d int `json:"sessions_30d,omitempty" yaml:"sessions_30d"` // by this user, any target
	OnTarget30d int `json:"on_target_30d,omitempty" yaml:"on_target_30d"`
	Failures1h  int `json:"failures_1h,omitempty" yaml:"failures_1h"` // wrong codes
}

// at is when the access would begin.
func (in Input) at() time.Time {
	if in.StartAt.IsZero() || in.StartAt.Before(in.Now) {
		return in.Now
	}
	return in.StartAt
}

// Verdict is what the rules say of an Input.
type Verdict struct {
	Allowed bool
	Rule    Rule   // the rule that allowed or denied; zero if none applied
	Known   bool   // some rule lets the user ask for this target and login: the reason may be told
	Reason  string // why not, as a sentence for the user; empty if allowed
}

// Step is what became of one condition of one rule.
type Step struct {
	Rule   string `json:"rule"`
	Effect Effect `json:"effect"`
	Field  string `json:"field"` // YAML field of the condition
	OK     bool   `json:"ok"`
	Detail string `json:"detail"`
}

// Decide applies the rules: the first deny that matches wins, then the first
// allow whose conditions all hold.
func (s *Set) Decide(in Input) Verdict { return s.decide(in, []inventory.Target{in.Target}, "") }

// DecideAll is Decide for a request over several targets: one rule must allow
// all of them, and a deny of any is a deny.
func (s *Set) DecideAll(in Input, targets []inventory.Target) Verdict {
	return s.decide(in, targets, "")
}

// Check is DecideAll with all deny rules and only the allow rule of that name.
func (s *Set) Check(name string, in Input, targets ...inventory.Target) Verdict {
	if s.find(name) == nil {
		return Verdict{Reason: fmt.Sprintf("there is no rule %q any more", name)}
	}
	if len(targets) == 0 {
		targets = []inventory.Target{in.Target}
	}
	return s.decide(in, targets, name)
}

func (s *Set) decide(in Input, targets []inventory.Target, only string) Verdict {
	if s == nil || len(targets) == 0 {
		return Verdict{Reason: "there are no rules"}
	}
	in.Source = in.Source.Unmap()
	known := s.known(in, targets, only)
	for _, c := range s.rules {
		if c.Effect != Deny {
			continue
		}
		for _, t := range targets {
			in.Target = t
			if failed, _ := c.test(in); failed == nil {
				return Verdict{Rule: c.Rule, Known: known, Reason: fmt.Sprintf("rule %s denies it", c.Name)}
			}
		}
	}
	var why []string
rules:
	for _, c := range s.rules {
		if c.Effect == Deny || only != "" && c.Name != only {
			continue
		}
		for _, t := range targets {
			in.Target = t
			failed, broken := c.test(in)
			if broken { // an error denies, whatever later rules would say
				return Verdict{Rule: c.Rule, Known: known, Reason: fmt.Sprintf("rule %s: %s", c.Name, failed.Detail)}
			}
			if failed != nil {
				if c.selects(in) {
					why = append(why, fmt.Sprintf("rule %s: %s", c.Name, failed.Detail))
				}
				continue rules
			}
		}
		return Verdict{Allowed: true, Known: true, Rule: c.Rule}
	}
	if len(why) == 0 {
		return Verdict{Known: known, Reason: "no rule allows it"}
	}
	return Verdict{Known: known, Reason: strings.Join(why[:min(len(why), 3)], "; ")}
}

// known reports whether the user may know that the targets exist: some allow
// rule selects them all, and no deny rule denies any under all circumstances.
func (s *Set) known(in Input, targets []inventory.Target, only string) bool {
	for _, c := range s.rules {
		if c.Effect != Deny || c.when != nil || c.hours != nil || len(c.Sources) > 0 {
			continue
		}
		for _, t := range targets {
			in.Target = t
			if c.selects(in) {
				return false
			}
		}
	}
	return slices.ContainsFunc(s.rules, func(c *compiled) bool {
		if c.Effect == Deny || only != "" && c.Name != only {
			return false
		}
		for _, t := range targets {
			in.Target = t
			if !c.selects(in) {
				return false
			}
		}
		return true
	})
}

// Selects reports whether the rule is about this user, target and login at
// all, whatever its conditions say. Deny rules are not asked.
func (s *Set) Selects(name string, in Input) bool {
	c := s.find(name)
	return c != nil && c.Effect != Deny && c.selects(in)
}

// Logins returns the logins that rules let the user ask for on all of the
// targets, in the order of the first target.
func (s *Set) Logins(in Input, targets []inventory.Target) []string {
	if s == nil || len(targets) == 0 {
		return nil
	}
	var out []string
	for _, l := range targets[0].Logins() {
		in.Login = l
		if s.known(in, targets, "") {
			out = append(out, l)
		}
	}
	return out
}

// Explain tells what became of each condition of each rule, in order.
// Conditions after a failed one are told too: all that would have to change.
func (s *Set) Explain(in Input) []Step {
	if s == nil {
		return nil
	}
	in.Source = in.Source.Unmap()
	var out []Step
	for _, c := range s.rules {
		for _, t := range c.tests() {
			ok, detail, _ := t.test(c, in)
			out = append(out, Step{Rule: c.Name, Effect: c.effect(), Field: t.field, OK: ok, Detail: detail})
		}
	}
	return out
}

func (c *compiled) effect() Effect {
	if c.Effect == "" {
		return Allow
	}
	return c.Effect
}

// test returns the first condition that does not hold, nil if all do, and
// whether it failed because it could not be evaluated. A deny rule whose
// condition cannot be evaluated matches.
func (c *compiled) test(in Input) (failed *Step, broken bool) {
	for _, t := range c.tests() {
		ok, detail, err := t.test(c, in)
		if err != nil && c.Effect == Deny {
			continue
		}
		if err != nil || !ok {
			return &Step{Rule: c.Name, Effect: c.effect(), Field: t.field, Detail: detail}, err != nil
		}
	}
	return nil, false
}

// Closes returns when a use under the rule that begins at start and would end
// at end must end because its hours do. The rule must be of this set.
func (s *Set) Closes(name string, start, end time.Time) time.Time {
	c := s.find(name)
	if c == nil {
		return start
	}
	if c.hours == nil {
		return end
	}
	return c.hours.closes(start, end)
}

// DeniedFrom returns the first minute after start, and before end, at which a
// deny rule with hours comes to match what was allowed at start, and its name;
// end if none does. Deny rules without hours match at start, or not at all.
func (s *Set) DeniedFrom(in Input, start, end time.Time) (time.Time, string) {
	rule := ""
	if s == nil {
		return end, rule
	}
	in.Source, in.StartAt = in.Source.Unmap(), time.Time{}
	for _, c := range s.rules {
		if c.Effect != Deny || c.hours == nil || !c.selects(in) {
			continue
		}
		for m := start.Truncate(time.Minute).Add(time.Minute); m.Before(end); m = m.Add(time.Minute) {
			if !c.hours.open(m) {
				continue
			}
			in.Now = m
			if failed, _ := c.test(in); failed == nil {
				end, rule = m, c.Name
				break
			}
		}
	}
	return end, rule
}
