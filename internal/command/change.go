package command

import (
	"errors"
	"strings"

	"jit-gateway/internal/admin"
	"jit-gateway/internal/audit"
	"jit-gateway/internal/display"
	"jit-gateway/internal/identity"
	"jit-gateway/internal/store"
)

// A change is what an administrator does to users or targets: see package admin.
type change = admin.Change

type userUpdate = admin.Update

// by is who makes a change.
func (c *call) by() admin.By {
	return admin.By{User: c.inv.User, LocalAdmin: c.inv.LocalAdmin, Actor: c.actor()}
}

// do makes a change, after a fresh code of an administrator who came over
// ssh: a key alone changes nobody.
func (c *call) do(ch change, summary string) error {
	if err := c.confirmAdmin(); err != nil {
		return err
	}
	return c.told(c.r.admin.Do(c.ctx, c.by(), ch, summary))
}

// apply makes a change that waits for nobody.
func (c *call) apply(ch change) error {
	return c.told(c.r.admin.Apply(c.ctx, c.by(), ch))
}

// told says what came of a change.
func (c *call) told(out admin.Outcome, err error) error {
	var refusal *admin.Refusal
	switch {
	case errors.As(err, &refusal):
		return failf("%s", refusal.Text)
	case err != nil:
		return err
	case out.Done != "" && c.root.JSON:
		return nil
	case out.Done != "":
		c.say("%s", out.Done)
	case out.Code != "":
		return c.tellCode(out)
	case c.root.JSON && out.Act != nil:
		return c.json(out.Act)
	case c.root.JSON && out.User != nil:
		return c.json(out.User)
	case c.root.JSON:
		return c.json(out.Targets)
	case out.Act != nil:
		c.say("%s waits for a second administrator, who runs: %sconfirm %s", out.Act.ID, c.prefix(), out.Act.ID)
	case len(out.Targets) == 1:
		c.say("Target %s is in the inventory.", out.Targets[0])
	case len(out.Targets) > 1:
		c.say("%s are in the inventory.", count(len(out.Targets), "target", "targets"))
	case out.Change.Update != nil:
		c.tellUpdate(*out.User, out.Change.Update.Type)
	case out.Change.Factor != nil:
		c.say("%s: the second factor is on record.", out.User.Name)
	case out.Change.Create == nil:
		c.say("%s: the key is registered.", out.User.Name)
	default:
		c.say("User %s added.", out.User.Name)
		if out.Change.Key == "" {
			c.say("Next, a key and a second factor: %suser invite %s", c.prefix(), out.User.Name)
		}
	}
	return nil
}

func (c *call) tellUpdate(u identity.User, typ audit.Type) {
	switch typ {
	case audit.UserDisabled:
		c.say("%s is disabled; sessions and connections end now.", u.Name)
	case audit.UserEnabled:
		c.say("%s is enabled.", u.Name)
	case audit.UserLinked:
		c.say("%s: %s.", u.Name, map[bool]string{true: "linked", false: "not linked any more"}[u.Subject+u.SCIMID != ""])
	default:
		c.say("%s: groups %s.", u.Name, display.Line(strings.Join(u.Groups, ", "), 0))
	}
}

type confirmCmd struct {
	Acts   []string `arg:"" optional:"" name:"act" help:"Changes; without any, those that wait are listed."`
	Refuse bool     `help:"Refuse instead."`
	Note   string   `help:"A word for the record." short:"m"`
}

// Help is shown below the usage.
func (*confirmCmd) Help() string {
	return "Once there are two administrators, what makes an approver or widens access needs both: one asks, another confirms within a day. " +
		"What takes access away never waits, and the local administrator, who owns the machine, is not held up."
}

func (k *confirmCmd) Run(c *call) error {
	if len(k.Acts) == 0 {
		return c.listActs()
	}
	acts := map[string]store.AdminAct{}
	for _, name := range k.Acts {
		a, err := c.r.admin.Decidable(c.ctx, c.by(), cleanID(name), k.Refuse)
		if isNotFound(err) {
			return failf("There is no change %s. See: %sconfirm", display.Line(name, 40), c.prefix())
		}
		if err != nil {
			return c.told(admin.Outcome{}, err)
		}
		acts[name] = a
		c.say("%s by %s: %s", a.ID, display.Line(c.userName(a.By), 64), display.Line(a.Summary, 0))
	}
	if _, err := c.r.o.Dialogue.Proof(c.ctx, c.term, c.inv.Caller, ""); err != nil {
		return err
	}
	return c.each(k.Acts, func(name string) (string, any, error) {
		out, err := c.r.admin.Decide(c.ctx, c.by(), acts[name].ID, k.Refuse, k.Note)
		switch {
		case err != nil:
			return "", nil, c.told(out, err)
		case k.Refuse:
			return acts[name].ID + " refused.", out.Act, nil
		}
		return acts[name].ID + " confirmed.", out, c.told(out, nil)
	})
}

func (c *call) listActs() error {
	list, err := c.r.admin.Waiting(c.ctx)
	if err != nil {
		return err
	}
	if c.root.JSON {
		return c.json(append([]store.AdminAct{}, list...))
	}
	if len(list) == 0 {
		c.say("No change waits for a second administrator.")
		return nil
	}
	t := newTable("CHANGE", "BY", "ASKED", "EXPIRES IN", "WHAT")
	for _, a := range list {
		t.row(a.ID, c.userName(a.By), c.ago(a.CreatedAt), c.left(a.ExpiresAt), a.Summary)
	}
	return c.table(t)
}

// inGroups words groups for a summary.
func inGroups(gs []string) string {
	if len(gs) == 0 {
		return "in no group"
	}
	return "in " + strings.Join(gs, ", ")
}
