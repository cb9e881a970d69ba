package dialogue

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"jit-gateway/approval"
	"jit-gateway/internal/display"
)

// errPatience ends a wait that has lasted as long as one may.
var errPatience = errors.New("nobody answered in time")

// Wait waits until r is decided and says what was decided. It returns the
// approved request; everything else is a *Refusal. The request stays open
// when the wait ends without an answer. A terminal is required.
func (d *Dialogue) Wait(ctx context.Context, t Terminal, c approval.Caller, r approval.Request) (approval.Request, error) {
	return d.waitAfter(ctx, t, c, r, fmt.Sprintf("Request %s sent to %s.", r.ID, d.SentTo(ctx, r)))
}

func (d *Dialogue) waitAfter(ctx context.Context, t Terminal, c approval.Caller, r approval.Request, lead string) (approval.Request, error) {
	if r.State == approval.Pending {
		if err := t.Say(ctx, lead+" Waiting; Ctrl-C stops waiting, the request stays open."); err != nil {
			return r, d.ended(ctx, err, stillOpen(r))
		}
		decided, err := d.wait(ctx, t, r.ID)
		if err != nil {
			return r, d.ended(ctx, err, stillOpen(r))
		}
		r = decided
	}
	if r.State != approval.Approved {
		return r, d.closed(r)
	}
	text := d.decisionText(r)
	if g, err := d.o.Approvals.Grant(ctx, c, r.GrantID); err == nil {
		text = d.grantText(r, g)
	}
	if err := t.Say(ctx, text); err != nil {
		return r, d.ended(ctx, err, stillOpen(r))
	}
	return r, nil
}

// wait follows the audit feed, and the terminal beside it.
func (d *Dialogue) wait(ctx context.Context, t Terminal, id string) (approval.Request, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, d.o.Wait, errPatience)
	defer cancel()
	type answer struct {
		r   approval.Request
		err error
	}
	done := make(chan answer, 1)
	go func() {
		r, err := d.o.Approvals.WaitRequest(ctx, d.o.Feed, id)
		done <- answer{r, err}
	}()
	pulse := time.NewTicker(d.o.Pulse)
	defer pulse.Stop()
	for {
		select {
		case got := <-done:
			if got.err != nil && ctx.Err() != nil {
				got.err = context.Cause(ctx)
			}
			return got.r, got.err
		case <-pulse.C:
			if err := t.Alive(ctx); err != nil && ctx.Err() == nil {
				cancel()
				<-done
				return approval.Request{}, err
			}
		}
	}
}

// grantText says what came of an approved request.
func (d *Dialogue) grantText(r approval.Request, g approval.Grant) string {
	text := fmt.Sprintf("Approved by %s for %s", by(r), LongDuration(g.Duration))
	if g.Duration < r.Duration {
		text += fmt.Sprintf(" (you asked for %s)", LongDuration(r.Duration))
	}
	switch {
	case r.Extends != "":
		return fmt.Sprintf("Approved by %s: grant %s now ends at %s.", by(r), g.ID, d.when(g.End))
	case g.NotBefore.After(d.o.Now()):
		return text + fmt.Sprintf(", from %s.", d.when(g.NotBefore))
	}
	return text + ", starting with your code."
}

// approvedText is grantText for a grant that was approved before this command.
func (d *Dialogue) approvedText(g approval.Grant) string {
	r := approval.Request{Duration: g.Duration, Votes: g.Votes, Rule: g.Rule.Name}
	return d.grantText(r, g)
}

func (d *Dialogue) decisionText(r approval.Request) string {
	return fmt.Sprintf("Approved by %s.", by(r))
}

// by names who approved: people, or the rule.
func by(r approval.Request) string {
	var names []string
	for _, v := range r.Votes {
		names = append(names, display.Line(v.User, 64))
	}
	switch len(names) {
	case 0:
		return "the rule " + display.Line(r.Rule, 64)
	case 1:
		return names[0]
	}
	return strings.Join(names[:len(names)-1], ", ") + " and " + names[len(names)-1]
}

// closed says why a request will not become a grant.
func (d *Dialogue) closed(r approval.Request) error {
	switch r.State {
	case approval.Denied:
		who, why := "an approver", "no reason given"
		if r.Decision != nil {
			if r.Decision.User != "" {
				who = display.Line(r.Decision.User, 64)
			}
			if r.Decision.Reason != "" {
				why = display.Line(r.Decision.Reason, 0)
			}
		}
		return refuse(nil, "Request %s was denied by %s: %s", r.ID, who, why)
	case approval.Expired:
		return refuse(nil, "Request %s expired: nobody answered within %s. The same command asks again.", r.ID, LongDuration(r.ExpiresAt.Sub(r.FiledAt)))
	case approval.Withdrawn:
		return refuse(nil, "Request %s was withdrawn. The same command asks again.", r.ID)
	}
	return refuse(nil, "Request %s is %s.", r.ID, r.State)
}
