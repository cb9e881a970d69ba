package ca

import (
	"errors"
	"fmt"

	"golang.org/x/crypto/ssh"

	"jit-gateway/approval"
	"jit-gateway/approval/policy"
)

// DirectCert signs pub as the admission's login on its host, for a client that
// connects there itself, past the gateway: nothing of it is recorded, and
// nobody ends it. So the rule has to say `direct: true`, and must not ask for
// what only the gateway can do. The certificate is for logging in at once: it
// lives two minutes at most, never past the grant's end, and is good on that
// host alone, from the address that asked.
func (a *Authority) DirectCert(adm approval.Admission, pub ssh.PublicKey) (*ssh.Certificate, error) {
	if err := adm.Check(a.now()); err != nil {
		return nil, fmt.Errorf("mint certificate for a host: %w", err)
	}
	rule, t := adm.Rule(), adm.Target()
	switch c := rule.SSH(); {
	case t.SSH == nil:
		return nil, fmt.Errorf("%q is no SSH host: certificates are for those alone", t.Name)
	case !rule.Direct:
		return nil, fmt.Errorf("rule %q allows no connection to %s past the gateway (direct: true)", rule.Name, t.Name)
	case t.SSH.Principals == "plain":
		return nil, fmt.Errorf("the logins of %s are not scoped to it (principals: plain): a certificate would open every host that trusts the gateway", t.Name)
	case t.SSH.Key != "":
		return nil, fmt.Errorf("%s takes no certificates", t.Name)
	case adm.Grant().BreakGlass:
		return nil, errors.New("an emergency is recorded: connect through the gateway")
	case rule.Recording.Strict || rule.Recording.Input || rule.Recording.Content || len(rule.Recording.Recipients) > 0:
		return nil, fmt.Errorf("rule %q wants sessions recorded in a way of its own, and past the gateway nothing is", rule.Name)
	case c.ForceCommand == "" && (!c.Shell || !c.Exec || len(c.ExecPatterns) > 0 || c.SFTP != "both" || len(c.SFTPPaths) > 0):
		return nil, fmt.Errorf("rule %q restricts what may be done on %s, and the host does not know that", rule.Name, t.Name)
	case rule.Factor.Per == "session":
		return nil, fmt.Errorf("rule %q wants a code for each session, and a certificate is good for many", rule.Name)
	}
	if err := delegable(pub); err != nil {
		return nil, err
	}
	if adm.Source() == "" {
		return nil, errors.New("a certificate is bound to the address that asks, and this has none")
	}
	c := rule.SSH()
	c.Local, c.Remote = nil, nil // a host cannot tell one destination from another
	return a.UserCert(adm, pub, UserCertOptions{Session: "direct", SourceAddresses: []string{adm.Source()}, ForceCommand: c.ForceCommand, Extensions: ExtensionsFor(c)})
}

// ExtensionsFor is the least that a rule needs of a certificate for a host.
func ExtensionsFor(c policy.Channels) []string {
	var ext []string
	if c.Shell || c.Exec || c.ForceCommand != "" {
		ext = append(ext, "permit-pty", "permit-user-rc")
	}
	if c.Agent {
		ext = append(ext, "permit-agent-forwarding")
	}
	if len(c.Local) > 0 || len(c.Remote) > 0 {
		ext = append(ext, "permit-port-forwarding")
	}
	return ext
}
