package command

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"jit-gateway/approval/mfa"
	"jit-gateway/internal/audit"
	"jit-gateway/internal/dialogue"
	"jit-gateway/internal/display"
	"jit-gateway/internal/identity"
)

// machineSources reads the networks of a machine; nobody else has any.
func (c *call) machineSources(u identity.User, list []string) ([]netip.Prefix, error) {
	switch {
	case u.Kind != identity.Machine && len(list) > 0:
		return nil, usagef("Only machines are held to their networks; for people, rules name sources.")
	case u.Kind == identity.Machine && len(list) == 0:
		return nil, usagef("A machine comes from addresses that are on record: --source 192.0.2.7, or a network such as 198.51.100.0/24.")
	}
	var out []netip.Prefix
	for _, one := range list {
		for _, text := range strings.Split(one, ",") {
			p, err := netip.ParsePrefix(strings.TrimSpace(text))
			if err != nil {
				a, aerr := netip.ParseAddr(strings.TrimSpace(text))
				if aerr != nil || a.Zone() != "" {
					return nil, usagef("%q is neither an address nor a network such as 198.51.100.0/24.", display.Line(text, 60))
				}
				p = netip.PrefixFrom(a.Unmap(), a.Unmap().BitLen())
			}
			if p.Bits() == 0 {
				return nil, usagef("%s is everywhere; name where the machine really is.", p)
			}
			out = append(out, p.Masked())
		}
	}
	return out, nil
}

// ownerOf is the person behind o, who may be named by an alternate account. A machine answers for nobody.
func (c *call) ownerOf(o identity.User) (string, error) {
	person, err := identity.Person(c.ctx, c.r.o.Users, o)
	if err != nil {
		return "", failf("%s", dialogue.Sentence(err.Error()))
	}
	owner, err := c.r.o.Users.User(c.ctx, person)
	if err != nil {
		return "", err
	}
	if o.Kind == identity.Machine || owner.Kind == identity.Machine || !owner.Usable(c.r.o.Now()) {
		return "", failf("%s cannot answer for anybody: name a person whose account is active.", o.Name)
	}
	return person, nil
}

// setMachine changes owner and networks. Another owner may approve what the
// old one could not, and more networks are more ways in: both widen.
func (c *call) setMachine(u *identity.User, owner string, sources []string, detail map[string]string) (widens bool, err error) {
	if owner != "" {
		o, err := c.findUser(owner)
		if err != nil {
			return false, err
		}
		person, err := c.ownerOf(o)
		if err != nil {
			return false, err
		}
		if person == u.ID {
			return false, usagef("Nobody is their own owner.")
		}
		u.Owner, detail["owner"], widens = person, o.Name, true
	}
	if len(sources) > 0 {
		had := u.Sources
		if u.Sources, err = c.machineSources(*u, sources); err != nil {
			return false, err
		}
		var text []string
		for _, p := range u.Sources {
			text = append(text, p.String())
			inside := func(old netip.Prefix) bool { return old.Contains(p.Addr()) && old.Bits() <= p.Bits() }
			widens = widens || !slices.ContainsFunc(had, inside)
		}
		detail["sources"] = strings.Join(text, ",")
	}
	return widens, nil
}

type userFactorCmd struct {
	Name   string            `arg:"" help:"Machine."`
	Issuer string            `help:"CI system whose job tokens prove it, one of machines.issuers in the configuration." placeholder:"URL"`
	Claim  map[string]string `help:"Claim that such a token must have, as name=value; may be repeated." placeholder:"NAME=VALUE" mapsep:"none"`
	CA     string            `name:"ca" help:"Certificate authority in PEM, or - to read it from stdin." placeholder:"PEM"`
	SAN    string            `name:"san" help:"Name in its certificate: URI:spiffe://… or DNS:…" placeholder:"NAME"`
	Remove string            `help:"Remove this one." placeholder:"FACTOR"`
}

// Help is shown below the usage.
func (*userFactorCmd) Help() string {
	return "A machine's second factor is its job's token, or a certificate. Pin claims that never belong to somebody else, such as repository_id.\n\n" +
		"Example: user factor ci-deploy --issuer https://token.actions.githubusercontent.com --claim repository_id=4711 --claim environment=prod"
}

func (f *userFactorCmd) Run(c *call) error {
	u, err := c.findUser(f.Name)
	if err != nil {
		return err
	}
	if u.Kind != identity.Machine {
		return failf("%s is a person, who enrols a second factor: %suser invite %s", u.Name, c.prefix(), u.Name)
	}
	if f.Remove != "" {
		// No code: taking access away must never wait for a phone.
		err := c.r.o.Machines.Remove(c.ctx, u.ID, f.Remove, c.actor())
		if isNotFound(err) {
			return failf("%s has no factor %s.", u.Name, display.Line(f.Remove, 40))
		}
		if err == nil {
			c.say("The factor %s of %s is removed.", display.Line(f.Remove, 40), u.Name)
		}
		return err
	}
	n := mfa.NewBinding{Issuer: f.Issuer, Claims: f.Claim, Roots: f.CA, SAN: f.SAN}
	if f.CA == "-" {
		raw, err := c.readAll(64<<10, "A certificate authority")
		if err != nil {
			return err
		}
		n.Roots = string(raw)
	}
	if f.Issuer == "" && len(f.Claim) == 0 && n.Roots == "" && f.SAN == "" {
		return c.listFactors(u)
	}
	if err := n.Check(); err != nil {
		return usagef("%s", dialogue.Sentence(err.Error()))
	}
	what := "certificate of " + n.SAN
	if n.Issuer != "" {
		what = fmt.Sprintf("job tokens of %s with %v", n.Issuer, n.Claims)
	}
	return c.do(change{User: u.ID, Factor: &n}, fmt.Sprintf("let %s prove itself by the %s", u.Name, display.Line(what, 400)))
}

func (c *call) listFactors(u identity.User) error {
	list, err := c.r.o.MFA.Factors(c.ctx, u.ID)
	if err != nil {
		return err
	}
	if c.root.JSON {
		return c.json(append([]mfa.Factor{}, list...))
	}
	t := newTable("FACTOR", "KIND", "SINCE", "BOUND TO")
	for _, f := range list {
		t.row(f.ID, string(f.Kind), c.ago(f.CreatedAt), c.r.o.Machines.BindingText(f))
	}
	return c.table(t)
}

type userLinkCmd struct {
	Name    string `arg:"" help:"User."`
	Issuer  string `help:"Identity provider, exactly as oidc.issuer in the configuration." placeholder:"URL"`
	Subject string `help:"Subject (sub) of the user there; a refused sign-in shows it."`
	SCIM    string `name:"scim" help:"What the SCIM client calls the user: externalId." placeholder:"ID"`
	Unlink  bool   `help:"Remove both links."`
}

// Help is shown below the usage.
func (*userLinkCmd) Help() string {
	return "Accounts are never linked because two names or mail addresses are the same: somebody says so here. Whoever signs in as the subject is the user from then on, after a code of the user's own second factor."
}

func (l *userLinkCmd) Run(c *call) error {
	u, err := c.findUser(l.Name)
	switch {
	case err != nil:
		return err
	case u.Kind == identity.Machine:
		return failf("%s is a machine, and no identity provider's.", u.Name)
	case l.Unlink:
		u.Issuer, u.Subject, u.SCIMID, u.UserName = "", "", "", ""
		return c.apply(change{Update: &userUpdate{User: u, Type: audit.UserLinked, Detail: map[string]string{"unlinked": "true"}}})
	case (l.Issuer == "") != (l.Subject == "") || l.Issuer == "" && l.SCIM == "":
		return usagef("Give --issuer and --subject, or --scim, or --unlink.")
	case len(l.Issuer)+len(l.Subject)+len(l.SCIM) > 1000:
		return usagef("That is too long for an identity.")
	}
	detail, what := map[string]string{}, []string{}
	if l.Issuer != "" {
		u.Issuer, u.Subject = l.Issuer, l.Subject
		detail["issuer"], detail["subject"] = display.Line(l.Issuer, 255), display.Line(l.Subject, 255)
		what = append(what, fmt.Sprintf("the subject %s of %s", detail["subject"], detail["issuer"]))
	}
	if l.SCIM != "" {
		u.SCIMID, detail["scim_id"] = l.SCIM, display.Line(l.SCIM, 255)
		what = append(what, "the SCIM id "+detail["scim_id"])
	}
	return c.do(change{Update: &userUpdate{User: u, Type: audit.UserLinked, Detail: detail, Widens: true}}, fmt.Sprintf("link %s to %s", u.Name, strings.Join(what, " and ")))
}
