package command

import (
	"errors"

	"jit-gateway/approval"
	"jit-gateway/approval/mfa"
	"jit-gateway/internal/dialogue"
	"jit-gateway/internal/identity"
)

// machineActivate opens a window, or confirms an open one, with what a
// machine proves itself by. Nobody is asked anything.
func (c *call) machineActivate(a *activateCmd, id string) error {
	if c.r.o.Machines == nil {
		return failf("Machines are not set up here.")
	}
	if c.inv.User.Kind != identity.Machine {
		return failf("That is for machines; you give a code: %sactivate %s", c.prefix(), id)
	}
	g, err := c.findGrant(id)
	if err != nil {
		return err
	}
	if g.State == approval.Ended {
		return failf("Grant %s has ended.", g.ID)
	}
	if a.Challenge {
		text, err := c.r.o.Machines.Challenge(c.inv.User.ID, g.Hash)
		if err != nil {
			return err
		}
		c.print("%s", text)
		return nil
	}
	what := "A job's token"
	if a.CertStdin {
		what = "The challenge, certificate and signature"
	}
	raw, err := c.readAll(64<<10, what)
	if err != nil {
		return err
	}
	var p mfa.Proof
	if a.CertStdin {
		p, err = c.r.o.Machines.VerifyCertificate(c.ctx, c.inv.User.ID, g.Hash, raw, c.actor())
	} else {
		p, err = c.r.o.Machines.VerifyJobToken(c.ctx, c.inv.User.ID, string(raw), c.actor())
	}
	for _, known := range []error{mfa.ErrNotAccepted, mfa.ErrUsedProof, mfa.ErrNoSuchProof} {
		if errors.Is(err, known) {
			return failf("%s", dialogue.Sentence(err.Error()))
		}
	}
	if err != nil {
		return err
	}
	if g.State == approval.Active {
		g, err = c.r.o.Approvals.Confirm(c.ctx, c.inv.Caller, g.ID, p)
	} else {
		g, err = c.r.o.Approvals.Activate(c.ctx, c.inv.Caller, g.ID, p)
	}
	if err != nil {
		return err
	}
	return c.activated(g)
}
