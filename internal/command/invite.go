package command

import (
	"fmt"
	"time"

	"jit-gateway/internal/admin"
	"jit-gateway/internal/dialogue"
	"jit-gateway/internal/identity"
)

type userInviteCmd struct {
	Name  string   `arg:"" help:"User; added if there is none."`
	Group []string `help:"Group of a new user; may be repeated." short:"g"`
	For   span     `help:"How long the code is good; 24h if not given." short:"f" placeholder:"DURATION"`
}

func (i *userInviteCmd) Run(c *call) error {
	u, err := c.r.o.Users.UserByName(c.ctx, i.Name)
	isNew := isNotFound(err)
	switch {
	case isNew:
		if u, err = c.newUser(i.Name, i.Group, false, ""); err != nil {
			return err
		}
	case err != nil:
		return err
	case len(i.Group) > 0:
		return usagef("%s exists; change groups with: %suser set %s --add-group …", u.Name, c.prefix(), u.Name)
	case u.State != identity.Active:
		return failf("%s is disabled. First: %suser enable %s", u.Name, c.prefix(), u.Name)
	}
	ch := change{Invite: time.Duration(i.For), User: u.ID}
	if ch.Invite == 0 {
		ch.Invite = -1
	}
	summary := fmt.Sprintf("give %s a one-time code for a key and second factor", u.Name)
	if isNew {
		ch.Create, ch.User = &u, ""
		summary = fmt.Sprintf("add the user %s %s, with a one-time code", u.Name, inGroups(u.Groups))
	}
	return c.do(ch, summary)
}

// inviteJSON is what --json prints.
type inviteJSON struct {
	User    string    `json:"user"`
	Code    string    `json:"code"`
	Command string    `json:"command"`
	Expires time.Time `json:"expires"`
}

// tellCode prints a one-time code.
func (c *call) tellCode(out admin.Outcome) error {
	run := EnrollCommand(c.r.o.Public, out.Code)
	if c.root.JSON {
		return c.json(inviteJSON{out.User.Name, out.Code, run, out.Expires.UTC()})
	}
	c.say("One-time code for %s, good once within %s. Hand it over in private; they run:", out.User.Name, dialogue.LongDuration(out.Expires.Sub(c.r.o.Now())))
	c.print("%s", run)
	return nil
}

// EnrollName is the outer user name under which the SSH handler lets any key
// in, to run enroll; under a name that has keys, an unknown one is refused.
const EnrollName = "enroll"

// EnrollCommand is what somebody with a one-time code runs.
func EnrollCommand(p Public, code string) string {
	host := p.Host
	if host == "" {
		host = p.Name
	}
	port := ""
	if p.SSHPort != 0 && p.SSHPort != 22 {
		port = fmt.Sprintf(" -p %d", p.SSHPort)
	}
	return fmt.Sprintf("ssh -t%s %s@%s enroll %s", port, EnrollName, host, code)
}

// keyCodeLifetime is how long a user's own code for a further key is good.
const keyCodeLifetime = time.Hour
