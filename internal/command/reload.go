package command

import (
	"errors"
	"fmt"
	"strings"

	"jit-gateway/approval"
	"jit-gateway/approval/mfa"
	"jit-gateway/approval/policy"
	"jit-gateway/internal/display"
)

// Reloaded is what reading the configuration again changes.
type Reloaded struct {
	Before  string          `json:"rules_before"` // hashes
	After   string          `json:"rules"`
	Changes []policy.Change `json:"changes"`
	Restart []string        `json:"need_restart"` // fields that differ and are not taken over
	Refused []RefusedGrant  `json:"refused_grants"`
	Ended   []string        `json:"ended,omitempty"`
}

// RefusedGrant is a grant that the rules as they are now would not allow.
type RefusedGrant struct {
	Grant   string   `json:"grant"`
	User    string   `json:"user"`
	Targets []string `json:"targets"`
	Live    bool     `json:"live"`
	Why     string   `json:"why"`
}

type reloadCmd struct {
	DryRun bool `name:"dry-run" help:"Say what would change, and change nothing." xor:"how"`
	End    bool `help:"End the grants that the rules would refuse, and their sessions." xor:"how"`
}

// Help is shown below the usage.
func (*reloadCmd) Help() string {
	return "A reload ends nothing by itself: who holds a grant that the rules would refuse now opens no new session, and live ones go on. " +
		"They are listed; --end ends them. SIGHUP reloads, too, and lists them in the log."
}

func (f *reloadCmd) Run(c *call) error {
	var proof mfa.Proof
	if !f.DryRun && !c.inv.LocalAdmin {
		var err error
		if proof, err = c.r.o.Dialogue.Proof(c.ctx, c.term, c.inv.Caller, ""); err != nil {
			return err
		}
	}
	out, err := c.r.o.Rules(c.ctx, c.actor(), f.DryRun)
	if err != nil { // of the configuration: whoever reloads it may read it
		return failf("The configuration was not reloaded; the old one stays in force.\n%s", clean(err))
	}
	var failed []error
	if f.End {
		why := fmt.Sprintf("the rules no longer allow it (%s)", out.After[:min(12, len(out.After))])
		for _, g := range out.Refused {
			_, err := c.r.o.Approvals.Revoke(c.ctx, c.inv.Caller, g.Grant, why, proof)
			switch {
			case err == nil:
				out.Ended = append(out.Ended, g.Grant)
			case !errors.Is(err, approval.ErrEnded):
				failed = append(failed, fmt.Errorf("end grant %s: %w", g.Grant, err))
			}
		}
	}
	if c.root.JSON {
		out.Changes, out.Restart, out.Refused = append([]policy.Change{}, out.Changes...), append([]string{}, out.Restart...), append([]RefusedGrant{}, out.Refused...)
		return errors.Join(c.json(out), errors.Join(failed...))
	}
	f.show(c, out)
	return errors.Join(failed...)
}

// clean is an error of several lines, each harmless.
func clean(err error) string {
	var out []string
	for _, l := range strings.Split(err.Error(), "\n") {
		out = append(out, display.Line(l, 500))
	}
	return strings.Join(out, "\n")
}

func (f *reloadCmd) show(c *call, out Reloaded) {
	switch {
	case out.Before == out.After:
		c.print("The rules are the same: %.12s.", out.After)
	case f.DryRun:
		c.print("The rules would change from %.12s to %.12s:", out.Before, out.After)
	default:
		c.print("The rules changed from %.12s to %.12s:", out.Before, out.After)
	}
	for _, ch := range out.Changes {
		c.print("  %s", display.Line(ch.String(), 400))
	}
	if len(out.Restart) > 0 {
		c.print("These need a restart: %s.", strings.Join(out.Restart, ", "))
	}
	if len(out.Refused) == 0 {
		return
	}
	c.print("%s that the rules would refuse now:", count(len(out.Refused), "grant", "grants"))
	for _, g := range out.Refused {
		state := "waiting"
		if g.Live {
			state = "live"
		}
		c.print("  %s (%s) %s", g.Grant, state, display.Line(fmt.Sprintf("%s on %s: %s", g.User, names(g.Targets), g.Why), 300))
	}
	switch {
	case f.End:
		c.print("%s ended.", count(len(out.Ended), "grant", "grants"))
	case !f.DryRun:
		c.say("They open no new sessions; what is open goes on. To end them: %sreload --end", c.prefix())
	}
}
