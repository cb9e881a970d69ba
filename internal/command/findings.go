package command

import (
	"fmt"
	"time"

	"jit-gateway/internal/display"
	"jit-gateway/internal/store"
)

type findingsCmd struct {
	ID    string `arg:"" optional:"" name:"finding" help:"Acknowledge this one."`
	Note  string `help:"What you found; asked for if not given." short:"m"`
	All   bool   `help:"Also those that somebody has acknowledged." short:"a"`
	Since span   `help:"Raised within this time, such as 7d." placeholder:"DURATION"`
}

func (f *findingsCmd) Run(c *call) error {
	if f.ID != "" {
		note, err := c.ask("What did you find: ", f.Note, "An acknowledgement needs a note: --note TEXT.")
		if err != nil {
			return err
		}
		id := cleanID(f.ID)
		if err := c.r.o.Approvals.Acknowledge(c.ctx, c.inv.Caller, id, note); err != nil {
			return c.noSuch(err, "finding", f.ID, "findings")
		}
		c.say("%s acknowledged.", display.Line(id, 40))
		return nil
	}
	filter := store.FindingFilter{Open: !f.All}
	if f.Since != 0 {
		filter.Since = c.r.o.Now().Add(-time.Duration(f.Since))
	}
	list, err := c.r.o.Findings(c.ctx, filter)
	if err != nil {
		return err
	}
	if c.root.JSON {
		return c.json(append([]store.Finding{}, list...))
	}
	if len(list) == 0 {
		c.say("Nothing unusual%s.", map[bool]string{false: " waits to be looked at"}[f.All])
		return nil
	}
	for i, fd := range list {
		if i > 0 {
			c.print("")
		}
		acked := ""
		if !fd.AckedAt.IsZero() {
			acked = fmt.Sprintf("by %s: %s", c.userName(fd.AckedBy), fd.AckNote)
		}
		c.fields("finding", fd.ID+" ("+fd.Code+")", "what", fd.Text, "user", c.userName(fd.UserID), "target", fd.Target, "request", fd.Request,
			"raised", c.ago(fd.RaisedAt), "seen", acked)
	}
	return nil
}
