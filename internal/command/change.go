package command

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"jit-gateway/approval/mfa"
	"jit-gateway/internal/audit"
	"jit-gateway/internal/display"
	"jit-gateway/internal/id"
	"jit-gateway/internal/identity"
	"jit-gateway/internal/inventory"
	"jit-gateway/internal/store"
)

// A change is what an administrator does to users or targets, as data: one
// that makes an approver or widens access is kept until a second
// administrator confirms it, once there are two (guarantee G6). One that takes
// access away never waits.
type change struct {
	Create  *identity.User     `json:"create,omitempty"`
	Update  *userUpdate        `json:"update,omitempty"`
	Key     string             `json:"key,omitempty"` // for Create, or for User
	User    string             `json:"user,omitempty"`
	Invite  time.Duration      `json:"invite,omitempty"` // a one-time code for Create or User; negative: the default lifetime
	Targets []inventory.Target `json:"targets,omitempty"`
}

type userUpdate struct {
	User   identity.User     `json:"user"`
	Type   audit.Type        `json:"type"`
	Detail map[string]string `json:"detail,omitempty"`
	Widens bool              `json:"widens,omitempty"`
}

// widens reports whether somebody can do more after the change.
func (ch change) widens() bool {
	switch {
	case ch.Key != "", ch.Invite != 0, len(ch.Targets) > 0:
		return true
	case ch.Create != nil:
		return len(ch.Create.Groups) > 0
	case ch.Update != nil:
		return ch.Update.Widens
	}
	return false
}

// actLifetime is how long a change waits for its second administrator.
const actLifetime = 24 * time.Hour

// do makes a change, after a fresh code of an administrator who came over
// ssh: a key alone changes nobody. Whoever is at admin.sock owns the machine,
// its store and its keys; asking them for more would show a guarantee that
// does not exist.
func (c *call) do(ch change, summary string) error {
	if c.inv.LocalAdmin {
		return c.apply(ch)
	}
	if _, err := c.r.o.Dialogue.Proof(c.ctx, c.term, c.inv.Caller, ""); err != nil {
		return err
	}
	if !ch.widens() {
		return c.apply(ch)
	}
	second, err := c.secondAdmin(c.inv.User)
	if err != nil || !second {
		return errors.Join(err, c.applyIf(err == nil, ch))
	}
	args, err := json.Marshal(ch)
	if err != nil {
		return fmt.Errorf("encode the change: %w", err)
	}
	now := c.r.o.Now().UTC()
	act := store.AdminAct{ID: id.Short("A", 6), Kind: "change", Args: args, Summary: summary, By: c.inv.User.ID, Person: c.inv.User.Person(),
		CreatedAt: now, ExpiresAt: now.Add(actLifetime), State: store.ActWaiting}
	err = c.r.o.Acts.CreateAdminAct(c.ctx, act, audit.Event{Type: audit.AdminActRequested, Outcome: audit.Success, Actor: c.actor(),
		Detail: map[string]string{"act": act.ID, "summary": display.Line(summary, 0)}})
	if err != nil {
		return err
	}
	if c.root.JSON {
		return c.json(act)
	}
	c.say("%s waits for a second administrator, who runs: %sconfirm %s", act.ID, c.prefix(), act.ID)
	return nil
}

func (c *call) applyIf(ok bool, ch change) error {
	if !ok {
		return nil
	}
	return c.apply(ch)
}

// secondAdmin reports whether somebody other than u could confirm: an
// administrator who is another person, usable, with a second factor.
func (c *call) secondAdmin(u identity.User) (bool, error) {
	if c.r.o.Acts == nil {
		return false, nil
	}
	list, err := c.r.o.Users.Users(c.ctx)
	if err != nil {
		return false, err
	}
	for _, o := range list {
		if o.Person() == u.Person() || !c.r.o.Approvals.IsAdmin(o) || !o.Usable(c.r.o.Now()) {
			continue
		}
		fs, err := c.r.o.MFA.Factors(c.ctx, o.ID)
		if err != nil {
			return false, err
		}
		if slices.ContainsFunc(fs, func(f mfa.Factor) bool { return f.Kind != mfa.Recovery }) {
			return true, nil
		}
	}
	return false, nil
}

// apply makes a change effective.
func (c *call) apply(ch change) error {
	u := identity.User{}
	switch {
	case ch.Create != nil:
		u = *ch.Create
		if err := c.createUser(u); err != nil {
			return err
		}
	case ch.User != "":
		var err error
		if u, err = c.r.o.Users.User(c.ctx, ch.User); err != nil {
			return err
		}
	}
	if ch.Key != "" {
		key, err := parseKey([]byte(ch.Key))
		if err != nil {
			return err
		}
		if err := c.addKey(u, key); err != nil {
			return err
		}
	}
	switch {
	case ch.Update != nil:
		return c.updateUser(*ch.Update)
	case ch.Invite != 0:
		return c.invite(u, max(ch.Invite, 0))
	case len(ch.Targets) > 0:
		return c.putTargets(ch.Targets)
	case c.root.JSON:
		return c.json(u)
	case ch.Create == nil:
		c.say("%s: the key is registered.", u.Name)
		return nil
	}
	c.say("User %s added.", u.Name)
	if ch.Key == "" {
		c.say("Next, a key and a second factor: %suser invite %s", c.prefix(), u.Name)
	}
	return nil
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
	acts := make([]store.AdminAct, len(k.Acts))
	for i, name := range k.Acts {
		a, err := c.r.o.Acts.AdminAct(c.ctx, cleanID(name))
		switch {
		case isNotFound(err):
			return failf("There is no change %s. See: %sconfirm", display.Line(name, 40), c.prefix())
		case err != nil:
			return err
		case a.State != store.ActWaiting || !c.r.o.Now().Before(a.ExpiresAt):
			return failf("%s does not wait any more.", a.ID)
		case a.Person == c.inv.User.Person() && !k.Refuse:
			return failf("You asked for %s yourself; another administrator must confirm it.", a.ID)
		}
		acts[i] = a
		c.say("%s by %s: %s", a.ID, display.Line(c.userName(a.By), 64), display.Line(a.Summary, 0))
	}
	if _, err := c.r.o.Dialogue.Proof(c.ctx, c.term, c.inv.Caller, ""); err != nil {
		return err
	}
	return c.each(k.Acts, func(name string) (string, any, error) {
		a := acts[slices.Index(k.Acts, name)]
		a.State, a.DecidedBy, a.DecidedAt, a.Note = store.ActConfirmed, c.inv.User.ID, c.r.o.Now().UTC(), k.Note
		done := a.ID + " confirmed."
		if k.Refuse {
			a.State, done = store.ActRefused, a.ID+" refused."
		}
		err := c.r.o.Acts.DecideAdminAct(c.ctx, a, audit.Event{Type: audit.AdminActConfirmed, Outcome: audit.Success, Actor: c.actor(), Reason: k.Note,
			Detail: map[string]string{"act": a.ID, "state": string(a.State), "asked_by": a.By, "summary": display.Line(a.Summary, 0)}})
		if errors.Is(err, store.ErrConflict) {
			return "", nil, failf("Somebody answered it at the same moment.")
		}
		if err != nil || k.Refuse {
			return done, a, err
		}
		var ch change
		if err := json.Unmarshal(a.Args, &ch); err != nil {
			return "", nil, fmt.Errorf("read the change: %w", err)
		}
		return done, a, c.apply(ch)
	})
}

func (c *call) listActs() error {
	list, err := c.r.o.Acts.AdminActs(c.ctx, store.ActWaiting, 100)
	if err != nil {
		return err
	}
	list = slices.DeleteFunc(list, func(a store.AdminAct) bool { return !c.r.o.Now().Before(a.ExpiresAt) })
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
