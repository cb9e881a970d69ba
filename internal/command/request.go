package command

import (
	"fmt"
	"strings"
	"time"

	"jit-gateway/approval"
	"jit-gateway/internal/dialogue"
	"jit-gateway/internal/display"
)

// span is a duration as people write it.
type span time.Duration

func (s *span) UnmarshalText(b []byte) error {
	d, err := dialogue.ParseDuration(string(b))
	*s = span(d)
	return err
}

type requestCmd struct {
	Targets    []string `arg:"" name:"target" help:"Names, login@name, or label:key=value for all targets with that label."`
	Login      string   `help:"Login or role on the target." short:"l"`
	For        span     `help:"How long, such as 30m or 2h; the rule's default if not given." short:"f" placeholder:"DURATION"`
	Reason     string   `help:"Why; asked for if not given." short:"r"`
	Ticket     string   `help:"Ticket, where the rule wants one."`
	Start      string   `help:"Begin later: 14:30, 2006-01-02T15:04 (UTC) or +2h." placeholder:"TIME"`
	UntilLast  bool     `help:"End the grant with its last session."`
	Emergency  bool     `help:"Break glass: no approval beforehand where a rule allows it, loud at once, reviewed afterwards."`
	Wait       bool     `help:"Wait for the answer, also without a terminal." xor:"wait"`
	NoWait     bool     `help:"File the request and return." xor:"wait"`
	NoActivate bool     `help:"Do not ask for the code once it is approved."`
}

// Help is shown below the usage.
func (*requestCmd) Help() string {
	return "Prints the request's id. With a terminal it waits for the answer and then takes the code, so that the window opens; " +
		"Ctrl-C stops waiting, and `activate` goes on later.\n\nExamples: request deploy@web01 --for 1h --reason 'INC-4211: nginx 502s'; request label:role=web --login deploy"
}

func (r *requestCmd) Run(c *call) error {
	a := approval.Ask{Login: r.Login, Reason: r.Reason, Ticket: r.Ticket, Duration: time.Duration(r.For),
		EndsWithLast: r.UntilLast, BreakGlass: r.Emergency}
	if err := r.targets(&a); err != nil {
		return err
	}
	var err error
	if a.StartAt, err = parseStart(r.Start, c.r.o.Now()); err != nil {
		return err
	}
	return c.file(a, r.Wait || c.inv.TTY && !r.NoWait, !r.NoActivate)
}

// file files a request, prints its id, and goes on as far as asked.
func (c *call) file(a approval.Ask, wait, activate bool) error {
	req, err := c.r.o.Dialogue.File(c.ctx, c.term, c.inv.Caller, a, false)
	if err != nil {
		return err
	}
	if wait {
		if req, err = c.r.o.Dialogue.Wait(c.ctx, c.term, c.inv.Caller, req); err != nil {
			return err
		}
		if activate && req.Extends == "" && req.GrantID != "" {
			g, err := c.activate(req.GrantID)
			if err == nil && !c.root.JSON { // else the request is the one result
				err = c.activated(g)
			}
			if err != nil {
				return err
			}
		}
	}
	if c.root.JSON {
		return c.json(requestView(req))
	}
	if !wait {
		c.say("%s", c.filedText(req))
	}
	if !c.inv.TTY {
		c.print("%s", req.ID)
	}
	return nil
}

func (c *call) filedText(r approval.Request) string {
	if r.State == approval.Approved {
		return fmt.Sprintf("Request %s is approved by the rule %s. Next: %sactivate %s", r.ID, display.Line(r.Rule, 64), c.prefix(), r.GrantID)
	}
	return fmt.Sprintf("Request %s sent to %s. Once approved: %sactivate %s", r.ID, c.r.o.Dialogue.SentTo(c.ctx, r), c.prefix(), r.ID)
}

// targets sorts the arguments into names and labels.
func (r *requestCmd) targets(a *approval.Ask) error {
	for _, arg := range r.Targets {
		label, isLabel := strings.CutPrefix(arg, "label:")
		if isLabel {
			k, v, ok := strings.Cut(label, "=")
			if !ok || k == "" {
				return usagef("%q is not label:key=value.", arg)
			}
			if a.Selector == nil {
				a.Selector = map[string]string{}
			}
			a.Selector[k] = v
			continue
		}
		login, name, ok := strings.Cut(arg, "@")
		if !ok {
			name, login = login, ""
		}
		switch {
		case login != "" && a.Login != "" && a.Login != login:
			return usagef("One request is for one login: %q or %q?", a.Login, login)
		case login != "":
			a.Login = login
		}
		a.Targets = append(a.Targets, name)
	}
	if len(a.Selector) > 0 && len(a.Targets) > 0 {
		return usagef("Give names or labels, not both.")
	}
	return nil
}

// parseStart reads a scheduled start. Without a zone it is UTC, as everything
// that the gateway prints.
func parseStart(s string, now time.Time) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	now = now.UTC()
	if rest, ok := strings.CutPrefix(s, "in "); ok {
		s = "+" + rest
	}
	if rest, ok := strings.CutPrefix(s, "+"); ok {
		d, err := dialogue.ParseDuration(rest)
		if err != nil {
			return time.Time{}, usagef("%s", err)
		}
		return now.Add(d), nil
	}
	if t, err := time.Parse("15:04", s); err == nil {
		at := time.Date(now.Year(), now.Month(), now.Day(), t.Hour(), t.Minute(), 0, 0, time.UTC)
		if at.Before(now) {
			at = at.AddDate(0, 0, 1)
		}
		return at, nil
	}
	for _, layout := range []string{time.RFC3339, "2006-01-02T15:04Z", "2006-01-02T15:04", "2006-01-02 15:04"} {
		if t, err := time.Parse(layout, s); err == nil {
			if t.Before(now) {
				return time.Time{}, usagef("%s is in the past.", t.UTC().Format("2006-01-02 15:04 UTC"))
			}
			return t.UTC(), nil
		}
	}
	return time.Time{}, usagef("%q is not a time like 14:30, 2006-01-02T15:04 (UTC) or +2h.", display.Line(s, 40))
}

type extendCmd struct {
	Grant  string `arg:"" help:"Grant (or its request)."`
	For    span   `help:"How much longer, such as 30m." short:"f" placeholder:"DURATION"`
	Reason string `help:"Why; asked for if not given." short:"r"`
	Wait   bool   `help:"Wait for the answer, also without a terminal." xor:"wait"`
	NoWait bool   `help:"File the request and return." xor:"wait"`
}

// Help is shown below the usage.
func (*extendCmd) Help() string {
	return "An extension is a new approval: it moves the end of the grant and of its live sessions, which go on without a reconnect."
}

func (e *extendCmd) Run(c *call) error {
	g, err := c.findGrant(e.Grant)
	if err != nil {
		return err
	}
	a := approval.Ask{Targets: g.Targets, Login: g.Login, Reason: e.Reason, Duration: time.Duration(e.For), Extends: g.ID}
	return c.file(a, e.Wait || c.inv.TTY && !e.NoWait, false)
}
