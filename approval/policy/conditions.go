package policy

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"jit-gateway/internal/identity"
)

// condition is one test of a rule, named by its YAML field. It returns a
// detail for people in either case, and an error when it cannot be evaluated.
type condition struct {
	field string
	test  func(*compiled, Input) (ok bool, detail string, err error)
}

// who and what come first: they decide whether the rule is about the request
// at all; see compiled.selects.
var selection = []condition{
	{"users", (*compiled).testUser},
	{"machines", (*compiled).testMachine},
	{"targets", (*compiled).testTarget},
	{"kinds", (*compiled).testKind},
	{"labels", (*compiled).testLabels},
	{"logins", (*compiled).testLogin},
	{"break_glass", (*compiled).testBreakGlass},
}

var circumstances = []condition{
	{"sources", (*compiled).testSource},
	{"hours", (*compiled).testHours},
	{"ticket", (*compiled).testTicket},
	{"max_duration", (*compiled).testDuration},
	{"max_ahead", (*compiled).testAhead},
	{"when", (*compiled).testWhen},
}

var (
	allowTests = slices.Concat(selection, circumstances)
	denyTests  = slices.DeleteFunc(slices.Clone(allowTests), func(c condition) bool {
		return slices.Contains([]string{"break_glass", "ticket", "max_duration", "max_ahead"}, c.field)
	})
)

func (c *compiled) tests() []condition {
	if c.Effect == Deny {
		return denyTests
	}
	return allowTests
}

// selects reports whether the rule, allow or deny, is about this user, target and login.
func (c *compiled) selects(in Input) bool {
	for _, t := range selection {
		if ok, _, err := t.test(c, in); err != nil || !ok {
			return false
		}
	}
	return true
}

func (c *compiled) testUser(in Input) (bool, string, error) {
	switch {
	case globAny(c.Users, in.User.Name):
		return true, fmt.Sprintf("%s is named", in.User.Name), nil
	case slices.ContainsFunc(c.Groups, in.User.In):
		return true, fmt.Sprintf("%s is in one of %s", in.User.Name, strings.Join(c.Groups, ", ")), nil
	}
	return false, fmt.Sprintf("it is for %s", strings.Join(append(slices.Clone(c.Groups), c.Users...), ", ")), nil
}

func (c *compiled) testMachine(in Input) (bool, string, error) {
	machine := in.User.Kind == identity.Machine
	switch {
	case c.Machines && !machine:
		return false, "it is for machines only", nil
	case !c.Machines && machine && c.Effect != Deny:
		return false, "it is for people only", nil
	}
	return true, "", nil
}

func (c *compiled) testTarget(in Input) (bool, string, error) {
	if len(c.Targets) == 0 || globAny(c.Targets, in.Target.Name) {
		return true, in.Target.Name, nil
	}
	return false, fmt.Sprintf("it is for targets %s", strings.Join(c.Targets, ", ")), nil
}

func (c *compiled) testKind(in Input) (bool, string, error) {
	if len(c.Kinds) == 0 || slices.Contains(c.Kinds, string(in.Target.Kind)) {
		return true, string(in.Target.Kind), nil
	}
	return false, fmt.Sprintf("it is for %s targets", strings.Join(c.Kinds, ", ")), nil
}

func (c *compiled) testLabels(in Input) (bool, string, error) {
	for k, pattern := range c.Labels {
		if v, ok := in.Target.Labels[k]; !ok || !Glob(pattern, v) {
			return false, fmt.Sprintf("it is for targets with label %s=%s", k, pattern), nil
		}
	}
	return true, "", nil
}

func (c *compiled) testLogin(in Input) (bool, string, error) {
	if in.Login == "" || !in.Target.Allows(in.Login) {
		return false, fmt.Sprintf("the target has no login %q", in.Login), nil
	}
	if len(c.Logins) == 0 || globAny(c.Logins, in.Login) {
		return true, in.Login, nil
	}
	return false, fmt.Sprintf("it is for logins %s", strings.Join(c.Logins, ", ")), nil
}

func (c *compiled) testBreakGlass(in Input) (bool, string, error) {
	switch {
	case c.Effect == Deny:
		return true, "", nil
	case in.BreakGlass && c.BreakGlass == nil:
		return false, "it is not a break-glass rule", nil
	case !in.BreakGlass && c.BreakGlass != nil:
		return false, "it is for emergencies, which must be declared", nil
	}
	return true, "", nil
}

func (c *compiled) testSource(in Input) (bool, string, error) {
	if len(c.Sources) == 0 {
		return true, "any address", nil
	}
	if !in.Source.IsValid() { // it might come from there, or not
		return false, "the client's address is not known", errors.New("no source address")
	}
	if slices.ContainsFunc(c.Sources, func(p netip.Prefix) bool { return p.Contains(in.Source) }) {
		return true, in.Source.String(), nil
	}
	return false, fmt.Sprintf("not from %s", in.Source), nil
}

func (c *compiled) testHours(in Input) (bool, string, error) {
	if c.hours == nil || c.hours.open(in.at()) {
		return true, "", nil
	}
	return false, fmt.Sprintf("only %s", c.hours.text), nil
}

func (c *compiled) testTicket(in Input) (bool, string, error) {
	switch {
	case c.ticket == nil || in.Preview && in.Ticket == "":
		return true, "", nil
	case in.Ticket == "":
		return false, "a ticket is needed", nil
	case !c.ticket.MatchString(in.Ticket):
		return false, fmt.Sprintf("%q is not a ticket of the form %s", in.Ticket, c.Ticket), nil
	}
	return true, in.Ticket, nil
}

func (c *compiled) testDuration(in Input) (bool, string, error) {
	switch {
	case in.Duration < 0:
		return false, "the duration is negative", nil
	case in.Duration > c.Max():
		return false, fmt.Sprintf("at most %s", Duration(c.Max())), nil
	}
	return true, fmt.Sprintf("at most %s", Duration(c.Max())), nil
}

func (c *compiled) testAhead(in Input) (bool, string, error) {
	if in.StartAt.IsZero() || !in.StartAt.After(in.Now.Add(c.Ahead())) {
		return true, "", nil
	}
	return false, fmt.Sprintf("a start at most %s ahead", Duration(c.Ahead())), nil
}

func (c *compiled) testWhen(in Input) (bool, string, error) {
	if c.when == nil {
		return true, "", nil
	}
	if in.Duration == 0 {
		in.Duration = c.Default()
	}
	ok, err := c.when.eval(in)
	switch {
	case err != nil:
		return false, fmt.Sprintf("its condition could not be evaluated, which denies: %v", err), err
	case !ok:
		return false, fmt.Sprintf("its condition is false: %s", c.When), nil
	}
	return true, c.When, nil
}
