package main

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"strings"

	"jit-gateway/approval"
	"jit-gateway/approval/mfa"
	"jit-gateway/internal/command"
	"jit-gateway/internal/identity"
	"jit-gateway/internal/web"
)

// people is what the page needs for one's own account: passkeys, keys, where
// one is signed in, and the lines to paste.
func (g *gateway) people(factors *mfa.Verifier, commands *command.Runner) (web.People, error) {
	p := web.People{Accounts: g.db, Browsers: g.db, Invites: g.db}
	passkeys, err := pagePasskeys(factors, g.conf.Name, publicURL(g.conf))
	if err != nil {
		return p, err
	}
	if p.Passkeys = passkeys; passkeys == nil && g.conf.Listen.Web != "" {
		g.log.Info("the page offers no passkeys: these need a full host name, such as gw.example.com, in public.url", "url", publicURL(g.conf))
	}
	reach := public(g.conf)
	p.Client = func(ctx context.Context, c approval.Caller, u identity.User) (web.Client, error) {
		sshConfig, knownHosts, err := commands.ClientConfig(ctx, c, u)
		host := reach.Host
		if host == "" {
			host = reach.Name
		}
		return web.Client{SSHConfig: sshConfig, KnownHosts: knownHosts, Host: host, SSHPort: reach.SSHPort, PostgresPort: reach.PostgresPort, CA: reach.CAFile}, err
	}
	return p, nil
}

// pagePasskeys makes passkeys for the page's own host name. Bare addresses and
// names of one label (but localhost) have none, and then it returns nil.
func pagePasskeys(factors *mfa.Verifier, name, page string) (*mfa.Passkeys, error) {
	u, err := url.Parse(page)
	if err != nil {
		return nil, fmt.Errorf("the page's address %q: %w", page, err)
	}
	host := u.Hostname()
	if net.ParseIP(host) != nil || host != "localhost" && !strings.Contains(strings.Trim(host, "."), ".") {
		return nil, nil
	}
	return mfa.NewPasskeys(factors, mfa.PasskeyOptions{Name: name, RPID: u.Hostname(), Origins: []string{origin(u)}})
}

// origin is a page's address as browsers say it: without path, and without the
// port that https has anyway.
func origin(u *url.URL) string {
	if u.Port() == "443" {
		return "https://" + u.Hostname()
	}
	return "https://" + u.Host
}
