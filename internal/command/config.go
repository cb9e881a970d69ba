package command

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/crypto/ssh"

	"jit-gateway/approval"
	"jit-gateway/internal/dialogue"
	"jit-gateway/internal/identity"
	"jit-gateway/internal/inventory"
)

type configCmd struct {
	SSH        bool `name:"ssh" help:"Print the ssh_config lines alone." xor:"part"`
	KnownHosts bool `help:"Print the known_hosts lines alone." xor:"part"`
}

// Help is shown below the usage.
func (*configCmd) Help() string {
	return "Options such as -i on the command line do not reach the jump host, so they belong into ssh_config.\n\n" +
		"Example: ssh jit-gateway config --ssh >> ~/.ssh/config; ssh jit-gateway config --known-hosts >> ~/.ssh/known_hosts"
}

// configJSON is what --json prints.
type configJSON struct {
	SSHConfig  string `json:"ssh_config"`
	KnownHosts string `json:"known_hosts"`
}

func (f *configCmd) Run(c *call) error {
	sshConfig, knownHosts, err := c.clientConfig()
	if err != nil {
		return err
	}
	switch {
	case c.root.JSON:
		return c.json(configJSON{sshConfig, knownHosts})
	case f.SSH:
		c.print("%s", strings.TrimSpace(sshConfig))
	case f.KnownHosts:
		c.print("%s", strings.TrimSpace(knownHosts))
	default:
		c.print("# for ~/.ssh/config\n%s\n# for ~/.ssh/known_hosts\n%s", sshConfig, strings.TrimSpace(knownHosts))
	}
	return nil
}

// clientConfig makes the lines for the caller: the gateway under its name,
// whatever its address and port, and the caller's targets through it.
func (c *call) clientConfig() (sshConfig, knownHosts string, err error) {
	p := c.r.o.Public
	hosts, err := c.sshHosts()
	if err != nil {
		return "", "", err
	}
	var b strings.Builder
	fmt.Fprintf(&b, "Host %s\n    HostName %s\n    Port %d\n", p.Name, p.Host, p.SSHPort)
	// The alias makes known_hosts independent of address and port.
	fmt.Fprintf(&b, "    HostKeyAlias %s\n", p.Name)
	if c.inv.User.Name != "" {
		fmt.Fprintf(&b, "    User %s\n", c.inv.User.Name)
	}
	b.WriteString("    ServerAliveInterval 15\n")
	patterns := hosts
	if p.HostPattern != "" {
		patterns = []string{p.HostPattern}
	}
	if len(patterns) > 0 {
		fmt.Fprintf(&b, "\nHost %s\n    ProxyJump %s\n", strings.Join(patterns, " "), p.Name)
	}
	var k strings.Builder
	for _, s := range c.r.o.Authority.OuterSigners() {
		fmt.Fprintf(&k, "%s %s\n", p.Name, keyLine(s.PublicKey()))
	}
	if len(patterns) > 0 {
		for _, key := range c.r.o.Authority.HostCAKeys() {
			fmt.Fprintf(&k, "@cert-authority %s %s\n", strings.Join(patterns, ","), keyLine(key))
		}
	}
	return b.String(), k.String(), nil
}

// sshHosts are the names of the SSH targets that the caller may ask for.
func (c *call) sshHosts() ([]string, error) {
	var targets []inventory.Target
	if c.inv.User.ID == "" {
		targets = c.r.o.Inventory.Targets()
	} else {
		views, err := c.r.o.Approvals.Targets(c.ctx, c.inv.Caller)
		if err != nil {
			return nil, err
		}
		for _, v := range views {
			targets = append(targets, v.Target)
		}
	}
	var hosts []string
	for _, t := range targets {
		if t.Kind == inventory.SSH {
			hosts = append(append(hosts, t.Name), t.Aliases...)
		}
	}
	slices.Sort(hosts)
	return slices.Compact(hosts), nil
}

// keyLine is a public key in authorized_keys form, without a line break.
func keyLine(k ssh.PublicKey) string {
	return strings.TrimSpace(string(ssh.MarshalAuthorizedKey(k)))
}

// ClientConfig gives the lines of `config` to the page, for a user there.
func (r *Runner) ClientConfig(ctx context.Context, caller approval.Caller, u identity.User) (sshConfig, knownHosts string, err error) {
	c := &call{ctx: ctx, r: r, inv: dialogue.Invocation{Caller: caller, User: u}}
	return c.clientConfig()
}
