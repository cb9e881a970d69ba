package command

import (
	"errors"
	"fmt"
	"strings"

	"jit-gateway/approval"
	"jit-gateway/approval/mfa"
	"jit-gateway/internal/dialogue"
	"jit-gateway/internal/display"
)

type grantsCmd struct {
	IDs []string `arg:"" optional:"" name:"grant" help:"Show these in full."`
	All bool     `help:"Also those that have ended, and those of others that you may see." short:"a"`
}

func (g *grantsCmd) Run(c *call) error {
	if len(g.IDs) > 0 {
		var out []approval.Grant
		for i, id := range g.IDs {
			gr, err := c.findGrant(id)
			if err != nil {
				return err
			}
			out = append(out, gr)
			if !c.root.JSON {
				if i > 0 {
					c.print("")
				}
				c.showGrant(gr)
			}
		}
		if c.root.JSON {
			return c.json(out)
		}
		return nil
	}
	f := approval.GrantFilter{}
	if !g.All {
		f = approval.GrantFilter{UserID: c.inv.User.ID, States: []approval.GrantState{approval.Waiting, approval.Active}}
	}
	list, err := c.r.o.Approvals.Grants(c.ctx, c.inv.Caller, f)
	if err != nil {
		return err
	}
	return c.listGrants(list, "No grants. Ask for access: "+c.prefix()+"request TARGET")
}

func (c *call) listGrants(list []approval.Grant, none string) error {
	if c.root.JSON {
		return c.json(append([]approval.Grant{}, list...))
	}
	if len(list) == 0 {
		c.say("%s", none)
		return nil
	}
	t := newTable("GRANT", "STATE", "USER", "LOGIN", "TARGETS", "WINDOW", "NEXT")
	for _, g := range list {
		state, window, next := c.grantState(g)
		t.row(g.ID, state, g.User, g.Login, names(g.Targets), window, next)
	}
	return c.table(t)
}

// grantState is where a grant stands, its window, and what comes next.
func (c *call) grantState(g approval.Grant) (state cell, window, next string) {
	now := c.r.o.Now()
	switch {
	case g.State == approval.Waiting:
		window = dialogue.ShortDuration(g.Duration)
		if g.NotBefore.After(now) {
			window += " from " + c.stamp(g.NotBefore)
		}
		return cell{"approved", yellow}, window, "activate within " + c.left(g.ActivateBy)
	case g.Live(now):
		return cell{"open", green}, "until " + c.stamp(g.End), c.left(g.End) + " left"
	case g.State == approval.Active && now.Before(g.Start):
		return cell{"scheduled", yellow}, c.stamp(g.Start) + " to " + c.stamp(g.End), "opens in " + c.left(g.Start)
	}
	end := g.EndedAt
	if end.IsZero() {
		end = g.End
	}
	return cell{"ended", dim}, "until " + c.stamp(end), strings.ReplaceAll(string(g.Cause), "_", " ")
}

func (c *call) showGrant(g approval.Grant) {
	state, window, next := c.grantState(g)
	var by []string
	for _, v := range g.Votes {
		by = append(by, v.User)
	}
	if len(by) == 0 {
		by = []string{"the rule " + g.Rule.Name}
	}
	factor := ""
	if !g.Factor.At.IsZero() {
		factor = fmt.Sprintf("%s at %s", g.Factor.Kind, c.stamp(g.Factor.At))
	}
	var bound []string
	for _, b := range g.Bindings {
		bound = append(bound, strings.TrimSpace(b.Source+" "+b.KeyFingerprint))
	}
	c.fields(
		"grant", fmt.Sprintf("%s (%s)", g.ID, state.text),
		"request", g.RequestID,
		"user", g.User,
		"access", fmt.Sprintf("%s on %s", g.Login, strings.Join(g.Targets, ", ")),
		"window", window,
		"next", next,
		"approved by", strings.Join(by, ", "),
		"activated", factor,
		"passes from", strings.Join(bound, "; "),
		"emergency", map[bool]string{true: "yes: break-glass"}[g.BreakGlass],
		"ended by", g.EndReason,
		"reviewed", g.ReviewNote,
		"digest", g.Digest(),
	)
}

// findGrant finds a grant by its id or its request's.
func (c *call) findGrant(id string) (approval.Grant, error) {
	clean := cleanID(id)
	if strings.HasPrefix(clean, "R") {
		if q, err := c.r.o.Approvals.Request(c.ctx, c.inv.Caller, clean); err == nil {
			switch {
			case q.GrantID != "":
				clean = q.GrantID
			case q.State == approval.Pending:
				return approval.Grant{}, failf("Request %s is not approved yet. It waits for %s.", q.ID, display.Line(c.waitsFor(q), 0))
			default:
				return approval.Grant{}, failf("Request %s was not approved: it is %s. See: %srequests %s", q.ID, q.State, c.prefix(), q.ID)
			}
		}
	}
	g, err := c.r.o.Approvals.Grant(c.ctx, c.inv.Caller, clean)
	if err != nil {
		return g, c.noSuch(err, "grant", id, "grants")
	}
	return g, nil
}

type activateCmd struct {
	Grant      string `arg:"" optional:"" help:"Grant or request; not needed if only one waits."`
	TokenStdin bool   `help:"Machines: read the job's OIDC token from stdin." xor:"how"`
	Challenge  bool   `help:"Machines: print what the certificate's key must sign." xor:"how"`
	CertStdin  bool   `help:"Machines: read challenge, certificate (PEM) and signature (base64) from stdin." xor:"how"`
}

// Help is shown below the usage.
func (*activateCmd) Help() string {
	return "Asks for a code and opens the window, or confirms an open one for another key or address. The code is read from stdin without a terminal."
}

func (a *activateCmd) Run(c *call) error {
	id := a.Grant
	if id == "" {
		list, err := c.r.o.Approvals.Grants(c.ctx, c.inv.Caller, approval.GrantFilter{UserID: c.inv.User.ID, States: []approval.GrantState{approval.Waiting}})
		switch {
		case err != nil:
			return err
		case len(list) == 0:
			return failf("Nothing waits for your code. See: %srequests", c.prefix())
		case len(list) > 1:
			return usagef("Several grants wait for your code: name one of %s.", strings.Join(grantIDs(list), ", "))
		}
		id = list[0].ID
	}
	if a.TokenStdin || a.Challenge || a.CertStdin {
		return c.machineActivate(a, id)
	}
	g, err := c.activate(id)
	if err != nil {
		return err
	}
	return c.activated(g)
}

// activate opens a waiting grant, or lets this connection use an open one.
func (c *call) activate(id string) (approval.Grant, error) {
	g, err := c.findGrant(id)
	switch {
	case err != nil:
		return g, err
	case g.State == approval.Ended:
		return g, failf("Grant %s has ended (%s). Ask again: %srequest %s", g.ID, strings.ReplaceAll(string(g.Cause), "_", " "), c.prefix(), display.Line(strings.Join(g.Targets, " "), 0))
	case g.State == approval.Active:
		return c.r.o.Dialogue.Confirm(c.ctx, c.term, c.inv.Caller, g)
	}
	return c.r.o.Dialogue.Activate(c.ctx, c.term, c.inv.Caller, g)
}

// activated says what is open now.
func (c *call) activated(g approval.Grant) error {
	if c.root.JSON {
		return c.json(g)
	}
	what := fmt.Sprintf("%s on %s", display.Line(g.Login, 64), display.Line(names(g.Targets), 0))
	if c.r.o.Now().Before(g.Start) {
		c.say("%s opens at %s, until %s.", what, c.stamp(g.Start), c.stamp(g.End))
		return nil
	}
	c.say("%s is open until %s (%s).", what, c.stamp(g.End), dialogue.LongDuration(g.End.Sub(c.r.o.Now())))
	return nil
}

type releaseCmd struct {
	Grants []string `arg:"" name:"grant" help:"Your grants (or their requests)."`
}

func (r *releaseCmd) Run(c *call) error {
	return c.each(r.Grants, func(id string) (string, any, error) {
		g, err := c.findGrant(id)
		if err == nil {
			g, err = c.r.o.Approvals.Release(c.ctx, c.inv.Caller, g.ID)
		}
		return g.ID + " released; its sessions end now.", g, err
	})
}

type revokeCmd struct {
	Grants []string `arg:"" name:"grant" help:"Grants."`
	Reason string   `help:"Why; their user reads it. Asked for if not given." short:"r"`
}

func (r *revokeCmd) Run(c *call) error {
	reason, err := c.reason(r.Reason)
	if err != nil {
		return err
	}
	var proof mfa.Proof
	return c.each(r.Grants, func(id string) (string, any, error) {
		id = cleanID(id)
		g, err := c.r.o.Approvals.Revoke(c.ctx, c.inv.Caller, id, reason, proof)
		if errors.Is(err, approval.ErrProofNeeded) && !c.inv.LocalAdmin {
			if proof, err = c.r.o.Dialogue.Proof(c.ctx, c.term, c.inv.Caller, ""); err == nil {
				g, err = c.r.o.Approvals.Revoke(c.ctx, c.inv.Caller, id, reason, proof)
			}
		}
		return g.ID + " revoked; its sessions end now.", g, err
	})
}

func grantIDs(gs []approval.Grant) []string {
	ids := make([]string, len(gs))
	for i, g := range gs {
		ids[i] = g.ID
	}
	return ids
}
