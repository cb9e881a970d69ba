package command

import (
	"errors"

	"golang.org/x/crypto/ssh"

	"jit-gateway/ca"
	"jit-gateway/internal/audit"
)

type caRotateCmd struct {
	Which    string `arg:"" enum:"user,host,client,page" help:"user: what hosts trust; host: what users trust; client: what databases trust; page: what browsers and database clients trust."`
	Activate bool   `help:"Let the next key sign, once everybody trusts it."`
}

// Help is shown below the usage.
func (*caRotateCmd) Help() string {
	return "A rotation has three steps, so that nobody has to change at the same moment as the gateway:\n\n" +
		"  ca rotate user             makes the next key; `ca show user` prints both for the hosts\n" +
		"  ca rotate user --activate  lets it sign, once target check says that the hosts trust it\n" +
		"  ca retire user             ends the old one, and puts it on the list of revoked keys"
}

// where says who has to learn a new CA, and how.
var where = map[string]string{
	ca.UserCA:   "Hosts: put all lines of `ca show user` into the file that TrustedUserCAKeys names. target check tells which hosts trust the next one.",
	ca.HostCA:   "Users: put the @cert-authority lines of `config --known-hosts` into known_hosts.",
	ca.ClientCA: "Databases: put the output of `ca show client` into the file that ssl_ca_file names, and reload them.",
	ca.PageCA:   "Users: put the output of `ca show page` where browsers and sslrootcert look.",
}

func (r *caRotateCmd) Run(c *call) error {
	if err := c.confirmAdmin(); err != nil {
		return err
	}
	a := c.r.o.Authority
	step, do := "published", a.Rotate
	if r.Activate {
		step, do = "activated", a.Activate
	}
	if err := do(r.Which); err != nil {
		return caFailure(err)
	}
	if err := c.rotated(r.Which, step, ""); err != nil {
		return err
	}
	if r.Activate {
		c.say("The new %s CA signs from now on; the previous one is still accepted. When nothing depends on it any more: %sca retire %s", r.Which, c.prefix(), r.Which)
		return nil
	}
	c.say("The next %s CA is published; it signs nothing yet.\n%s\nThen: %sca rotate %s --activate", r.Which, where[r.Which], c.prefix(), r.Which)
	return nil
}

type caRetireCmd struct {
	Which string `arg:"" enum:"user,host,client,page" help:"user, host, client or page."`
}

func (r *caRetireCmd) Run(c *call) error {
	if err := c.confirmAdmin(); err != nil {
		return err
	}
	what, err := c.r.o.Authority.Retire(r.Which)
	if err != nil {
		return caFailure(err)
	}
	if err := c.rotated(r.Which, "retired", what); err != nil {
		return err
	}
	c.say("Retired: the %s. Its private key is deleted.", what)
	return nil
}

func caFailure(err error) error {
	if errors.Is(err, ca.ErrStep) {
		return failf("%s.", err)
	}
	return err
}

// rotated tells the other gateways, and everybody who reads the log.
func (c *call) rotated(which, step, what string) error {
	d := map[string]string{"ca": which, "step": step}
	if what != "" {
		d["what"] = what
	}
	if which == ca.UserCA {
		d["fingerprint"] = ssh.FingerprintSHA256(c.r.o.Authority.UserCAKey())
	}
	_, err := c.r.o.Log.Append(c.ctx, audit.Event{Type: audit.CARotated, Outcome: audit.Success, Actor: c.actor(), Detail: d})
	return err
}
