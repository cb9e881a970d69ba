package command

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"

	"jit-gateway/ca"
	"jit-gateway/internal/admin"
	"jit-gateway/internal/dialogue"
	"jit-gateway/internal/identity"
)

type userInviteCmd struct {
	Name  string   `arg:"" help:"User; added if there is none."`
	Group []string `help:"Group of a new user; may be repeated." short:"g"`
	For   span     `help:"How long the code is good; 24h if not given." short:"f" placeholder:"DURATION"`
}

// Help is shown below the usage.
func (*userInviteCmd) Help() string {
	return "Prints the line that the user runs, and the fingerprints of the gateway's keys: the user compares them when ssh asks, " +
		"since a stranger in between would get the code."
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
	Gateway []string  `json:"gateway"` // fingerprints of its keys
	Expires time.Time `json:"expires"`
}

// tellCode prints a one-time code.
func (c *call) tellCode(out admin.Outcome) error {
	run, keys := EnrollCommand(c.r.o.Public, out.Code), GatewayKeys(c.r.o.Authority)
	if c.root.JSON {
		return c.json(inviteJSON{out.User.Name, out.Code, run, keys, out.Expires.UTC()})
	}
	c.say("One-time code for %s, good once within %s. Hand it over in private; they run:", out.User.Name, dialogue.LongDuration(out.Expires.Sub(c.r.o.Now())))
	c.print("%s", run)
	c.say("ssh then shows them the gateway's key, which must be one of these:\n  %s", strings.Join(keys, "\n  "))
	return nil
}

// GatewayKeys are the fingerprints of the gateway's own keys, as ssh shows
// them to somebody who does not know it yet.
func GatewayKeys(a *ca.Authority) []string {
	var out []string
	for _, s := range a.OuterSigners() {
		kind := strings.ToUpper(strings.TrimPrefix(strings.TrimSuffix(s.PublicKey().Type(), "-sha2-nistp256"), "ssh-"))
		out = append(out, fmt.Sprintf("%s (%s)", ssh.FingerprintSHA256(s.PublicKey()), kind))
	}
	return out
}

// EnrollName is the outer user name under which the SSH handler lets any key
// in, to run enroll; under a name that has keys, an unknown one is refused.
const EnrollName = "enroll"

// EnrollCommand is what somebody with a one-time code runs.
func EnrollCommand(p Public, code string) string {
	return fmt.Sprintf("%s enroll %s", outerCommand(p, " -t", EnrollName), code)
}

// outerCommand is how somebody without an ssh_config reaches the gateway.
func outerCommand(p Public, flags, user string) string {
	if p.SSHPort != 0 && p.SSHPort != 22 {
		flags += fmt.Sprintf(" -p %d", p.SSHPort)
	}
	return fmt.Sprintf("ssh%s %s@%s", flags, user, cmp.Or(p.Host, p.Name))
}

// keyCodeLifetime is how long a user's own code for a further key is good.
const keyCodeLifetime = time.Hour
