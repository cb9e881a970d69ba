package command

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"jit-gateway/internal/admin"
	"jit-gateway/internal/audit"
	"jit-gateway/internal/dialogue"
	"jit-gateway/internal/display"
	"jit-gateway/internal/id"
	"jit-gateway/internal/identity"
)

type userCmd struct {
	List    userListCmd    `cmd:"" help:"List users." who:"auditor"`
	Add     userAddCmd     `cmd:"" help:"Add a user."`
	Set     userSetCmd     `cmd:"" help:"Change groups, mail address or validity."`
	Invite  userInviteCmd  `cmd:"" help:"Print a one-time code for a first key and second factor, adding the user if needed."`
	Disable userDisableCmd `cmd:"" help:"Disable a user: sessions, waits and connections end now."`
	Enable  userEnableCmd  `cmd:"" help:"Enable a disabled user."`
	Key     userKeyCmd     `cmd:"" help:"List, add or remove a user's keys."`
	Factor  userFactorCmd  `cmd:"" help:"List, add or remove what a machine proves itself with." needs:"machines"`
	Link    userLinkCmd    `cmd:"" help:"Link a user to their account at an identity provider, or unlink them."`
}

// confirmAdmin takes a fresh code of an administrator who came over ssh: a
// key alone changes nobody. The local administrator owns the machine.
func (c *call) confirmAdmin() error {
	if c.inv.LocalAdmin {
		return nil
	}
	_, err := c.r.o.Dialogue.Proof(c.ctx, c.term, c.inv.Caller, "")
	return err
}

func (c *call) findUser(name string) (identity.User, error) {
	u, err := c.r.o.Users.UserByName(c.ctx, name)
	if isNotFound(err) {
		return u, failf("There is no user %s. See: %suser list", display.Line(name, 64), c.prefix())
	}
	return u, err
}

type userListCmd struct{}

func (*userListCmd) Run(c *call) error {
	list, err := c.r.o.Users.Users(c.ctx)
	if err != nil {
		return err
	}
	if c.root.JSON {
		return c.json(append([]identity.User{}, list...))
	}
	t := newTable("USER", "KIND", "STATE", "GROUPS", "KEYS", "FACTORS", "SEEN")
	for _, u := range list {
		keys, err := c.r.o.Users.Keys(c.ctx, u.ID)
		if err != nil {
			return err
		}
		fs, err := c.r.o.MFA.Factors(c.ctx, u.ID)
		if err != nil {
			return err
		}
		state := cell{string(u.State), plain}
		if !u.Usable(c.r.o.Now()) {
			state = cell{"disabled", red}
		}
		kinds := map[string]bool{}
		for _, f := range fs {
			kinds[string(f.Kind)] = true
		}
		t.row(u.Name, string(u.Kind), state, names(u.Groups), fmt.Sprint(len(keys)), strings.Join(sorted(kinds), ","), c.ago(u.LastSeen))
	}
	return c.table(t)
}

func sorted(m map[string]bool) []string {
	var list []string
	for k := range m {
		list = append(list, k)
	}
	slices.Sort(list)
	return list
}

type userAddCmd struct {
	Name       string   `arg:"" help:"Login name: lower-case letters, digits, dot, dash, underscore."`
	Group      []string `help:"Group to be in; may be repeated." short:"g"`
	Email      string   `help:"For notifications."`
	Machine    bool     `help:"A machine identity rather than a person."`
	Owner      string   `help:"User who answers for a machine or an alternate account."`
	Source     []string `help:"Network that a machine comes from, such as 192.0.2.7 or 198.51.100.0/24; may be repeated." placeholder:"NETWORK"`
	ValidUntil string   `help:"Last day, as 2006-01-02 (UTC): disabled by itself afterwards." placeholder:"DATE"`
	Key        string   `help:"Public key, or - to read it from stdin." placeholder:"KEY"`
}

func (a *userAddCmd) Run(c *call) error {
	key, err := c.keyArg(a.Key)
	if err != nil {
		return err
	}
	u, err := c.newUser(a.Name, a.Group, a.Machine, a.Owner)
	if err == nil {
		u.Sources, err = c.machineSources(u, a.Source)
	}
	if err != nil {
		return err
	}
	u.Email = a.Email
	if u.ValidUntil, err = parseDay(a.ValidUntil); err != nil {
		return err
	}
	if _, err := c.r.o.Users.UserByName(c.ctx, u.Name); err == nil {
		return failf("There is a user %s already.", u.Name)
	}
	ch := change{Create: &u}
	if key != nil {
		ch.Key = keyLine(key)
	}
	return c.do(ch, fmt.Sprintf("add the user %s %s", u.Name, inGroups(u.Groups)))
}

func (c *call) newUser(name string, groups []string, machine bool, owner string) (identity.User, error) {
	if err := identity.ValidName(name); err != nil {
		return identity.User{}, usagef("%s", dialogue.Sentence(err.Error()))
	}
	u := identity.User{ID: id.New(id.User), Name: name, Kind: identity.Human, State: identity.Active, CreatedAt: c.r.o.Now().UTC(), Groups: cleanGroups(groups)}
	if machine {
		u.Kind = identity.Machine
		if owner == "" {
			return u, usagef("A machine needs a person who answers for it: --owner USER.")
		}
	}
	if owner != "" {
		o, err := c.findUser(owner)
		if err != nil {
			return u, err
		}
		if u.Owner, err = c.ownerOf(o); err != nil {
			return u, err
		}
	}
	return u, nil
}

func cleanGroups(gs []string) []string { return admin.CleanGroups(gs) }

func parseDay(s string) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	t, err := time.Parse(time.DateOnly, s)
	if err != nil {
		return t, usagef("%q is not a day like 2006-01-02.", display.Line(s, 40))
	}
	return t.AddDate(0, 0, 1), nil // to the end of that day
}

type userSetCmd struct {
	Name        string   `arg:"" help:"User."`
	AddGroup    []string `help:"Add to this group; may be repeated."`
	RemoveGroup []string `help:"Remove from this group; may be repeated."`
	Email       *string  `help:"Mail address for notifications; empty removes it."`
	ValidUntil  *string  `help:"Last day, as 2006-01-02 (UTC); empty removes it." placeholder:"DATE"`
	Owner       string   `help:"User who answers for a machine or an alternate account from now on."`
	Source      []string `help:"Networks that a machine comes from, in place of the present ones; may be repeated." placeholder:"NETWORK"`
}

func (s *userSetCmd) Run(c *call) error {
	u, err := c.findUser(s.Name)
	if err != nil {
		return err
	}
	detail, widens := map[string]string{}, false
	before, had := strings.Join(u.Groups, ","), u.Groups
	groups := cleanGroups(append(slices.Clone(u.Groups), s.AddGroup...))
	drop := cleanGroups(s.RemoveGroup)
	u.Groups = slices.DeleteFunc(groups, func(g string) bool { return slices.Contains(drop, g) })
	if after := strings.Join(u.Groups, ","); after != before {
		detail["groups_before"], detail["groups"] = before, after
		widens = slices.ContainsFunc(u.Groups, func(g string) bool { return !slices.Contains(had, g) })
	}
	if s.Email != nil {
		u.Email, detail["email"] = *s.Email, display.Line(*s.Email, 200)
	}
	if s.ValidUntil != nil {
		was := u.ValidUntil
		if u.ValidUntil, err = parseDay(*s.ValidUntil); err != nil {
			return err
		}
		widens = widens || !was.IsZero() && (u.ValidUntil.IsZero() || u.ValidUntil.After(was))
		detail["valid_until"] = *s.ValidUntil
	}
	more, err := c.setMachine(&u, s.Owner, s.Source, detail)
	if err != nil {
		return err
	}
	widens = widens || more
	if len(detail) == 0 {
		return usagef("Nothing would change: give --add-group, --remove-group, --email, --valid-until, --owner or --source.")
	}
	summary := fmt.Sprintf("change the user %s", u.Name)
	for _, k := range []string{"groups", "email", "valid_until", "owner", "sources"} {
		if v, ok := detail[k]; ok {
			summary += fmt.Sprintf(", %s: %s", strings.ReplaceAll(k, "_", " "), v)
		}
	}
	return c.do(change{Update: &userUpdate{User: u, Type: audit.UserUpdated, Detail: detail, Widens: widens}}, summary)
}

type userDisableCmd struct {
	Name   string `arg:"" help:"User."`
	Reason string `help:"For the record." short:"r"`
}

func (d *userDisableCmd) Run(c *call) error {
	u, err := c.findUser(d.Name)
	switch {
	case err != nil:
		return err
	case u.State == identity.Disabled && u.DisabledFor == "":
		c.say("%s is disabled already.", u.Name)
		return nil
	case u.ID == c.inv.User.ID:
		return failf("You cannot disable yourself; another administrator can.")
	}
	// No code: taking access away must never wait for a phone.
	return c.apply(admin.Disable(u, d.Reason))
}

type userEnableCmd struct {
	Name string `arg:"" help:"User."`
}

func (e *userEnableCmd) Run(c *call) error {
	u, err := c.findUser(e.Name)
	switch {
	case err != nil:
		return err
	case u.State == identity.Active:
		c.say("%s is enabled already.", u.Name)
		return nil
	case !u.ValidUntil.IsZero() && !c.r.o.Now().Before(u.ValidUntil):
		return failf("The account of %s ended on %s. First give it another last day: %suser set %s --valid-until DATE", u.Name, u.ValidUntil.UTC().Format(time.DateOnly), c.prefix(), u.Name)
	}
	return c.do(admin.Enable(u, c.r.o.Now()))
}
