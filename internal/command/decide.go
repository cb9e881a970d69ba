package command

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"jit-gateway/approval"
	"jit-gateway/approval/mfa"
	"jit-gateway/internal/dialogue"
	"jit-gateway/internal/display"
	"jit-gateway/internal/store"
)

type approveCmd struct {
	IDs     []string `arg:"" name:"request" help:"Requests; one code approves all of them."`
	For     span     `help:"For less time than asked." short:"f" placeholder:"DURATION"`
	Comment string   `help:"A word for the record." short:"m"`
	Digest  []string `help:"SHA-256 of each request as 'requests ID' shows it, in the same order: required without a terminal." placeholder:"HEX"`
}

// Help is shown below the usage.
func (*approveCmd) Help() string {
	return "Shows each request before it asks for the code. Without a terminal nothing can be shown, so name what you approve with --digest; the code is read from stdin."
}

func (a *approveCmd) Run(c *call) error {
	if len(a.Digest) > 0 && len(a.Digest) != len(a.IDs) {
		return usagef("Give one --digest for each request, in the same order.")
	}
	if len(a.Digest) == 0 && !c.inv.TTY {
		return usagef("Without a terminal nothing can be shown before you approve it: add --digest (see requests %s), or use a terminal: ssh -t %s approve %s",
			first(a.IDs), c.r.o.Public.Name, strings.Join(a.IDs, " "))
	}
	requests := make([]approval.Request, len(a.IDs))
	for i, id := range a.IDs {
		q, err := c.findRequest(id)
		if err != nil {
			return err
		}
		if len(a.Digest) > 0 && !strings.EqualFold(a.Digest[i], q.Digest()) {
			return failf("%s is not the request that this digest names. Look at it again: %srequests %s", q.ID, c.prefix(), q.ID)
		}
		if a.For != 0 && time.Duration(a.For) > q.Duration {
			return failf("%s asks for %s; approving for longer is not possible.", q.ID, dialogue.LongDuration(q.Duration))
		}
		requests[i] = q
	}
	if c.inv.TTY {
		for _, q := range requests {
			c.showRequest(q)
			c.print("")
		}
	}
	proof, err := c.r.o.Dialogue.Proof(c.ctx, c.term, c.inv.Caller, "")
	if err != nil {
		return err
	}
	failed := false
	var done []requestJSON
	for _, q := range requests {
		o := approval.ApproveOptions{Duration: time.Duration(a.For), Digest: q.Digest(), Comment: a.Comment}
		after, err := c.r.o.Approvals.Approve(c.ctx, c.inv.Caller, q.ID, o, proof)
		if err != nil {
			failed = true
			c.complain(fmt.Errorf("%s: %w", q.ID, err))
			continue
		}
		done = append(done, requestView(after))
		if !c.root.JSON {
			c.print("%s", c.votedText(after))
		}
	}
	if c.root.JSON {
		if err := c.json(append([]requestJSON{}, done...)); err != nil {
			return err
		}
	}
	if failed {
		return errQuiet
	}
	return nil
}

func (c *call) votedText(q approval.Request) string {
	if q.State == approval.Pending {
		return fmt.Sprintf("%s: your vote counts. Still needed: %s.", q.ID, display.Line(c.waitsFor(q), 0))
	}
	d := q.Duration
	for _, v := range q.Votes {
		if v.Duration > 0 {
			d = min(d, v.Duration)
		}
	}
	return fmt.Sprintf("%s approved: %s as %s on %s for %s.", q.ID, display.Line(q.User, 64), display.Line(q.Login, 64),
		display.Line(names(q.Targets), 0), dialogue.LongDuration(d))
}

type denyCmd struct {
	IDs    []string `arg:"" name:"request" help:"Requests."`
	Reason string   `help:"Why; the requester reads it. Asked for if not given." short:"r"`
}

func (d *denyCmd) Run(c *call) error {
	reason, err := c.reason(d.Reason)
	if err != nil {
		return err
	}
	return c.each(d.IDs, func(id string) (string, any, error) {
		q, err := c.r.o.Approvals.Deny(c.ctx, c.inv.Caller, cleanID(id), reason, mfa.Proof{})
		if errors.Is(err, approval.ErrProofNeeded) {
			var p mfa.Proof
			if p, err = c.r.o.Dialogue.Proof(c.ctx, c.term, c.inv.Caller, ""); err == nil {
				q, err = c.r.o.Approvals.Deny(c.ctx, c.inv.Caller, cleanID(id), reason, p)
			}
		}
		return q.ID + " denied.", requestView(q), err
	})
}

type withdrawCmd struct {
	IDs []string `arg:"" name:"request" help:"Your open requests."`
}

func (w *withdrawCmd) Run(c *call) error {
	return c.each(w.IDs, func(id string) (string, any, error) {
		q, err := c.r.o.Approvals.Withdraw(c.ctx, c.inv.Caller, cleanID(id))
		return q.ID + " withdrawn.", requestView(q), err
	})
}

type reviewCmd struct {
	Grant string `arg:"" optional:"" help:"Emergency grant."`
	Note  string `help:"What you found; asked for if not given." short:"m"`
}

func (r *reviewCmd) Run(c *call) error {
	if r.Grant == "" {
		open, err := c.r.o.Approvals.OpenReviews(c.ctx, c.inv.Caller)
		if err != nil {
			return err
		}
		return c.listGrants(open, "No emergency grant waits for your review.")
	}
	g, err := c.findGrant(r.Grant)
	if err != nil {
		return err
	}
	if c.inv.TTY {
		c.showGrant(g)
	}
	note, err := c.ask("What did you find: ", r.Note, "A review needs a note: --note TEXT.")
	if err != nil {
		return err
	}
	p, err := c.r.o.Dialogue.Proof(c.ctx, c.term, c.inv.Caller, "")
	if err != nil {
		return err
	}
	if g, err = c.r.o.Approvals.Review(c.ctx, c.inv.Caller, g.ID, note, p); err != nil {
		return err
	}
	if c.root.JSON {
		return c.json(g)
	}
	c.print("%s reviewed.", g.ID)
	return nil
}

// each does one thing for each id, and goes on after a failure.
func (c *call) each(ids []string, do func(id string) (done string, v any, err error)) error {
	var all []any
	failed := false
	for _, id := range ids {
		done, v, err := do(id)
		if err != nil {
			failed = true
			if isNotFound(err) {
				err = failf("There is no %s that you may change.", display.Line(id, 40))
			} else {
				err = fmt.Errorf("%s: %w", display.Line(id, 40), err)
			}
			c.complain(err)
			continue
		}
		all = append(all, v)
		if !c.root.JSON {
			c.print("%s", done)
		}
	}
	if c.root.JSON {
		if err := c.json(append([]any{}, all...)); err != nil {
			return err
		}
	}
	if failed {
		return errQuiet
	}
	return nil
}

// reason is the one given, or asked for.
func (c *call) reason(given string) (string, error) {
	return c.ask("Reason: ", given, "A reason is needed: --reason TEXT.")
}

// ask returns what was given, or asks once; missing is the refusal of nothing.
func (c *call) ask(prompt, given, missing string) (string, error) {
	if given = strings.TrimSpace(given); given != "" {
		return given, nil
	}
	answer, err := c.term.Ask(c.ctx, prompt, true)
	switch {
	case errors.Is(err, dialogue.ErrInterrupted):
		return "", failf("Stopped; nothing was changed.")
	case err != nil || answer == "":
		return "", usagef("%s", missing)
	}
	return answer, nil
}

func isNotFound(err error) bool { return errors.Is(err, store.ErrNotFound) }
