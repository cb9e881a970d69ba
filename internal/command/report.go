package command

import (
	"fmt"
	"time"

	"jit-gateway/internal/display"
)

type reportCmd struct {
	From   string `help:"First day, as 2006-01-02 (UTC), or a time; 90 days ago if not given." placeholder:"DATE"`
	To     string `help:"Last day, included, or a time; now if not given." placeholder:"DATE"`
	Format string `help:"html, csv or json." enum:"html,csv,json" default:"html" short:"f"`
	Out    string `help:"File to write, on the gateway's own machine; over ssh, use > FILE." short:"o" placeholder:"FILE"`
}

// Help is shown below the usage.
func (*reportCmd) Help() string {
	return "Who may ask for what, what was granted and used, how long answers took, emergencies and their reviews, after-checks that failed, what nobody uses. " +
		"The file ends with a signature: jit-gateway verify report.html --key audit.pub\n\nExample: ssh jit-gateway report --from 2026-01-01 --to 2026-03-31 > report.html"
}

func (f *reportCmd) Run(c *call) error {
	switch {
	case f.Out != "":
		return usagef("The gateway writes no files for others: ssh -T %s report … > FILE", c.r.o.Public.Name)
	case c.inv.TTY:
		return usagef("A report is a signed file: send it into one, without a terminal: ssh -T %s report > report.%s", c.r.o.Public.Name, f.Format)
	case c.root.JSON:
		f.Format = "json"
	}
	now := c.r.o.Now().UTC()
	from, err := moment(f.From, now.AddDate(0, 0, -90).Truncate(24*time.Hour), 0)
	if err != nil {
		return err
	}
	to, err := moment(f.To, now, 1)
	if err != nil {
		return err
	}
	if !from.Before(to) {
		return usagef("--from must lie before --to.")
	}
	if err := c.auditRead(fmt.Sprintf("report %s %s to %s", f.Format, from.Format(time.RFC3339), to.Format(time.RFC3339))); err != nil {
		return err
	}
	return c.r.o.Report(c.ctx, from, to, f.Format, c.out)
}

// moment reads a day or a time; a day that ends something counts whole.
func moment(s string, otherwise time.Time, days int) (time.Time, error) {
	if s == "" {
		return otherwise, nil
	}
	if t, err := time.Parse(time.DateOnly, s); err == nil {
		return t.AddDate(0, 0, days), nil
	}
	t, err := time.Parse(time.RFC3339, s)
	if err != nil {
		return t, usagef("%q is neither a day like 2006-01-02 nor a time like 2006-01-02T15:04:05Z.", display.Line(s, 40))
	}
	return t.UTC(), nil
}
