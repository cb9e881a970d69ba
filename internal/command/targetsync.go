package command

import (
	"errors"

	"jit-gateway/internal/display"
	"jit-gateway/internal/source"
)

type targetSyncCmd struct {
	Source     string `arg:"" optional:"" help:"Source to read; all if none is named."`
	DryRun     bool   `help:"Tell what would change; change nothing."`
	AcceptLoss bool   `help:"Take a reading over even if it takes many targets away."`
}

// Help is shown below the usage.
func (*targetSyncCmd) Help() string {
	return "Sources are read by themselves at their interval. A reading that lacks more than its max_loss percent (10) of what was there is refused until --accept-loss says that it is meant: a vanished target ends its grants.\n\n" +
		"Example: jit-gateway target sync fleet --dry-run"
}

func (s *targetSyncCmd) Run(c *call) error {
	if !s.DryRun {
		if err := c.confirmAdmin(); err != nil {
			return err
		}
	}
	results, err := c.r.o.Sync(c.ctx, s.Source, s.DryRun, s.AcceptLoss)
	if err != nil {
		return failf("%s.", display.Line(err.Error(), 0))
	}
	if c.root.JSON {
		if err := c.json(append([]source.Result{}, results...)); err != nil {
			return err
		}
	} else if len(results) == 0 {
		c.say("No sources are configured; see docs/targets.md.")
	}
	failed := false
	for _, r := range results {
		failed = failed || r.Err != nil
		if c.root.JSON {
			continue
		}
		var loss *source.LossError
		switch {
		case errors.As(r.Err, &loss):
			c.print("%s: refused: %s\n  %s", r.Source, display.Line(r.Err.Error(), 0), display.Line(r.Diff.String(), 0))
		case r.Err != nil:
			c.print("%s: refused, and nothing changed: %s", r.Source, display.Line(r.Err.Error(), 0))
		case s.DryRun:
			c.print("%s: it would be %s", r.Source, display.Line(r.Diff.String(), 0))
		default:
			c.print("%s: %s", r.Source, display.Line(r.Diff.String(), 0))
		}
	}
	if failed {
		return errQuiet
	}
	return nil
}
