package dialogue

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"jit-gateway/approval"
	"jit-gateway/internal/display"
)

// File asks the terminal for what is missing in a (reason, ticket, and the
// duration unless it is given), and files the request. With first set it
// begins with why it asks. Without a terminal what is missing is a *Refusal.
func (d *Dialogue) File(ctx context.Context, t Terminal, c approval.Caller, a approval.Ask, first bool) (approval.Request, error) {
	p, err := d.o.Approvals.Preview(ctx, c, a)
	var choose *approval.ChooseLogin
	if t != nil && errors.As(err, &choose) {
		if a.Login, err = d.chooseLogin(ctx, t, choose); err != nil {
			return approval.Request{}, err
		}
		p, err = d.o.Approvals.Preview(ctx, c, a)
	}
	if err != nil {
		return approval.Request{}, d.refused(err)
	}
	if a.Login == "" {
		a.Login = p.Login
	}
	what := d.what(p, a)
	if t == nil {
		switch {
		case strings.TrimSpace(a.Reason) == "":
			return approval.Request{}, refuse(nil, "A request needs a reason: --reason TEXT.")
		case p.Ticket != "" && strings.TrimSpace(a.Ticket) == "":
			return approval.Request{}, refuse(nil, "This request needs a ticket: --ticket ID.")
		}
	} else if err := d.fill(ctx, t, p, &a, what, first); err != nil {
		return approval.Request{}, d.ended(ctx, err, d.nothing(a))
	}
	r, err := d.o.Approvals.File(ctx, c, a)
	return r, d.refused(err)
}

func (d *Dialogue) fill(ctx context.Context, t Terminal, p approval.Preview, a *approval.Ask, what string, first bool) error {
	if first {
		name := what
		if len(p.Targets) == 1 {
			name = display.Line(p.Targets[0].Name, 64)
		}
		if err := t.Say(ctx, fmt.Sprintf("%s: you have no access yet. Ask for %s.", name, what)); err != nil {
			return err
		}
	}
	interactive := a.Reason == ""
	if a.Reason == "" {
		err := d.tries(ctx, t, "Reason: ", func(answer string) (string, error) {
			a.Reason = answer
			if answer == "" {
				return "A reason is needed: the approver reads it.", nil
			}
			return "", nil
		})
		if err != nil {
			return err
		}
	}
	if p.Ticket != "" && a.Ticket == "" {
		err := d.tries(ctx, t, "Ticket: ", func(answer string) (string, error) {
			a.Ticket = answer
			if answer == "" {
				return "A ticket is needed.", nil
			}
			return "", nil
		})
		if err != nil {
			return err
		}
	}
	if a.Duration != 0 || !interactive || p.Max <= 0 {
		return nil // given, or a command line that is complete without it: the rule's default
	}
	prompt := fmt.Sprintf("For how long [%s, at most %s]: ", ShortDuration(p.Default), ShortDuration(p.Max))
	return d.tries(ctx, t, prompt, func(answer string) (string, error) {
		if answer == "" {
			a.Duration = p.Default
			return "", nil
		}
		got, err := ParseDuration(answer)
		switch {
		case err != nil:
			return "Write it like 30m, 1h or 1h30m.", nil
		case got > p.Max:
			return fmt.Sprintf("At most %s.", ShortDuration(p.Max)), nil
		}
		a.Duration = got
		return "", nil
	})
}

// what is asked for, in words.
func (d *Dialogue) what(p approval.Preview, a approval.Ask) string {
	login := display.Line(a.Login, 64)
	switch len(p.Targets) {
	case 1:
		return fmt.Sprintf("%s on %s", login, display.Line(p.Targets[0].Name, 64))
	default:
		return fmt.Sprintf("%s on %d targets", login, len(p.Targets))
	}
}

// tries asks until check accepts the answer: it returns what is wrong with
// it, or "". An empty answer counts, since a client without a terminal gives
// nothing else.
func (d *Dialogue) tries(ctx context.Context, t Terminal, prompt string, check func(answer string) (wrong string, err error)) error {
	var wrong string
	for range d.o.Tries {
		answer, err := t.Ask(ctx, prompt, true)
		if err != nil {
			return err
		}
		if wrong, err = check(strings.TrimSpace(answer)); wrong == "" || err != nil {
			return err
		}
		if err := t.Say(ctx, wrong); err != nil {
			return err
		}
	}
	return refuse(io.EOF, "%s Nothing was asked for; the same command starts again.", wrong)
}

func orApprovers(s string) string {
	if s == "" {
		return "the approvers"
	}
	return display.Line(s, 200)
}

// SentTo names who can approve r.
func (d *Dialogue) SentTo(ctx context.Context, r approval.Request) string {
	views, err := d.o.Approvals.Approvers(ctx, r)
	if err != nil {
		return orApprovers("")
	}
	var labels []string
	for _, v := range views {
		if v.Have < v.Need {
			labels = append(labels, v.Label)
		}
	}
	return orApprovers(strings.Join(labels, " and "))
}

// when is a time for people: the hour if it is near, the day too if not.
func (d *Dialogue) when(at time.Time) string {
	at = at.UTC()
	layout := "15:04 UTC"
	if now := d.o.Now().UTC(); at.YearDay() != now.YearDay() || at.Year() != now.Year() {
		layout = "Mon 2 Jan 15:04 UTC"
	}
	return fmt.Sprintf("%s (in %s)", at.Format(layout), LongDuration(at.Sub(d.o.Now())))
}
