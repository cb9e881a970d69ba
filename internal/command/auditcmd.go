package command

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"jit-gateway/internal/audit"
	"jit-gateway/internal/display"
)

type auditCmd struct {
	Verify     auditVerifyCmd     `cmd:"" help:"Verify the whole log against its signed checkpoints; name the first thing wrong."`
	Tail       auditTailCmd       `cmd:"" help:"Print the newest events."`
	Export     auditExportCmd     `cmd:"" help:"Write the log to stdout as JSON lines, with its checkpoints, for a copy elsewhere."`
	Checkpoint auditCheckpointCmd `cmd:"" help:"Write the newest signed checkpoint to stdout, to be kept elsewhere."`
	Proof      auditProofCmd      `cmd:"" help:"Prove that the log has an event, or that it still begins as it did: for other programs."`
}

type auditVerifyCmd struct {
	Against bool `help:"Read checkpoints that were kept outside the gateway from stdin, too."`
}

func (v *auditVerifyCmd) Run(c *call) error {
	if c.r.o.AuditKey == "" {
		return failf("The log of this gateway is not signed: there is no key.")
	}
	var o audit.VerifyOptions
	if v.Against {
		raw, err := c.readAll(1<<20, "A checkpoint")
		if err != nil {
			return err
		}
		o.Against = splitCheckpoints(string(raw))
		for _, note := range o.Against {
			if _, err := audit.OpenCheckpoint(note, c.r.o.AuditKey); err != nil {
				return failf("What stdin has is no checkpoint of this log: %s. `audit checkpoint` writes one.", display.Line(err.Error(), 300))
			}
		}
		if len(o.Against) == 0 {
			return failf("There is no checkpoint on stdin. `audit checkpoint` writes one.")
		}
	}
	if err := c.auditRead("verify"); err != nil {
		return err
	}
	recordings := c.r.o.Recordings.NewLogCheck() // the log vouches for them, too
	recordings.Elsewhere = c.r.o.Elsewhere
	o.Check, o.Finish = recordings.Event, recordings.Finish
	report, err := audit.Verify(c.ctx, c.r.o.AuditLog, c.r.o.AuditKey, o)
	if err != nil {
		return err
	}
	if c.root.JSON {
		if err := c.json(report); err != nil {
			return err
		}
	} else {
		c.print("%s", display.Line(report.String(), 2000))
	}
	if recordings.Away > 0 {
		c.say("%d recordings are on other gateways: verify there too.", recordings.Away)
	}
	if !report.Intact() {
		return errQuiet
	}
	return nil
}

// splitCheckpoints cuts concatenated notes: a body, a blank line, and lines
// of signatures, each of which begins with a dash.
func splitCheckpoints(s string) []string {
	var notes []string
	var cur []string
	signed := false
	for _, line := range strings.SplitAfter(s, "\n") {
		if signed && !strings.HasPrefix(line, "— ") {
			notes, cur, signed = append(notes, strings.Join(cur, "")), nil, false
			if strings.TrimSpace(line) == "" {
				continue
			}
		}
		signed = signed || strings.HasPrefix(line, "— ")
		cur = append(cur, line)
	}
	if strings.TrimSpace(strings.Join(cur, "")) != "" {
		notes = append(notes, strings.Join(cur, ""))
	}
	return notes
}

// auditRead tells the log that somebody read it.
func (c *call) auditRead(how string) error {
	_, err := c.r.o.Log.Append(c.ctx, audit.Event{Type: audit.AuditRead, Outcome: audit.Success, Actor: c.actor(), Detail: map[string]string{"how": how}})
	if err != nil {
		return fmt.Errorf("record that the audit log was read: %w", err)
	}
	return nil
}

type auditTailCmd struct {
	Lines  int  `help:"How many of the newest." short:"n" default:"20"`
	Follow bool `help:"Go on with new ones until Ctrl-C." short:"f"`
}

// maxTail bounds what tail looks back at.
const maxTail = 100_000

func (t *auditTailCmd) Run(c *call) error {
	if t.Lines < 0 || t.Lines > maxTail {
		return usagef("--lines is at most %d; `audit export` writes them all.", maxTail)
	}
	last, err := c.r.o.Feed.LastSeq(c.ctx)
	if err != nil {
		return err
	}
	// The event that says so comes after those that are shown.
	if err := c.auditRead("tail"); err != nil {
		return err
	}
	after := max(last-int64(t.Lines), -1)
	for ev, err := range audit.Tail(c.ctx, c.r.o.Feed, after) {
		if err != nil {
			if c.ctx.Err() != nil || errors.Is(err, context.Canceled) {
				return nil
			}
			return err
		}
		if ev.Seq > last && !t.Follow {
			return nil
		}
		if err := c.showEvent(ev); err != nil {
			return err
		}
		if ev.Seq == last && !t.Follow {
			return nil
		}
	}
	return nil
}

func (c *call) showEvent(ev audit.Event) error {
	if c.root.JSON {
		return c.jsonLine(ev)
	}
	who := ev.Actor.Name
	if who == "" {
		who = "-"
	}
	var about []string
	for _, s := range []string{ev.Target, ev.Request, ev.Grant, ev.Session} {
		if s != "" {
			about = append(about, display.Line(s, 64))
		}
	}
	st := plain
	if ev.Outcome != audit.Success {
		st = red
	}
	line := fmt.Sprintf("%6d %s  %s  %s %s", ev.Seq, ev.Time.UTC().Format("2006-01-02 15:04:05Z"),
		paint(fmt.Sprintf("%-24s", display.Line(string(ev.Type), 40)), st, c.color()), display.Line(who, 64), strings.Join(about, " "))
	if ev.Reason != "" {
		line += "  " + display.Line(ev.Reason, 200)
	}
	_, err := io.WriteString(c.out, strings.TrimRight(line, " ")+"\n")
	return err
}

type auditExportCmd struct{}

// Help is shown below the usage.
func (*auditExportCmd) Help() string {
	return "Example: ssh jit-gateway audit export > audit.jsonl; later, offline: jit-gateway verify audit.jsonl --key …"
}

func (*auditExportCmd) Run(c *call) error {
	if err := c.auditRead("export"); err != nil {
		return err
	}
	n, err := audit.Export(c.ctx, c.r.o.AuditLog, c.out)
	if err != nil {
		return err
	}
	if !c.inv.TTY {
		c.say("%s written.", count(int(n), "event", "events"))
	}
	return nil
}
