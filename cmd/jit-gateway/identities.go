package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"

	"jit-gateway/approval/mfa"
	"jit-gateway/approval/policy"
	"jit-gateway/internal/config"
	"jit-gateway/internal/identity/lifecycle"
	"jit-gateway/internal/identity/oidc"
	"jit-gateway/internal/identity/scim"
	"jit-gateway/internal/seal"
	"jit-gateway/internal/web"
)

// arrivals is what comes from elsewhere: people, groups, machines.
type arrivals struct {
	machines  *mfa.Machines
	elsewhere web.Elsewhere
}

// identities makes it, and keeps accounts from outliving their end.
func (g *gateway) identities(c *config.Config, factors *mfa.Verifier, box *seal.Box) (out arrivals, err error) {
	if out.machines, err = g.machines(c, factors); err != nil {
		return out, err
	}
	if out.elsewhere, err = g.signInElsewhere(c, box); err != nil {
		return out, err
	}
	if g.scim, err = g.newSCIM(c); err != nil {
		return out, err
	}
	return out, g.endAccounts(c)
}

// reserved reports names that rules name. Such accounts are an administrator's
// to make: whoever chooses their own name elsewhere must not choose one that a
// rule trusts. A rule for everybody (*) trusts no name.
func (g *gateway) reserved(name string) bool {
	names := func(list []string) bool {
		return slices.ContainsFunc(list, func(p string) bool { return p != "*" && policy.Glob(p, name) })
	}
	return slices.ContainsFunc(g.rules.Load().Rules(), func(r policy.Rule) bool {
		return names(r.Users) || slices.ContainsFunc(r.Approve, func(q policy.Quorum) bool { return names(q.Users) })
	})
}

// signInElsewhere makes the sign-in through an identity provider; none without one.
func (g *gateway) signInElsewhere(c *config.Config, box *seal.Box) (web.Elsewhere, error) {
	o := c.OIDC
	if o == nil {
		return web.Elsewhere{}, nil
	}
	fail := func(err error) (web.Elsewhere, error) { return web.Elsewhere{}, fmt.Errorf("oidc: %w", err) }
	provider, err := oidc.NewProvider(oidc.ProviderOptions{Issuer: o.Issuer, CAFile: o.CAFile, Now: now})
	if err != nil {
		return fail(err)
	}
	secret := ""
	if o.ClientSecret != "" {
		if secret, err = config.Secret(o.ClientSecret); err != nil {
			return fail(err)
		}
	}
	signIn, err := oidc.New(oidc.Options{
		Provider: provider, ClientID: o.ClientID, ClientSecret: secret, RedirectURL: publicURL(c) + "/oidc/callback", Scopes: o.Scopes,
		GroupsClaim: o.GroupsClaim, NameClaim: o.NameClaim, SCIMClaim: o.SCIMClaim, Box: box, Once: g.db, Log: g.db, Now: now,
		Accounts: &oidc.Accounts{Users: g.db, Groups: o.Managed(), Require: o.Require, Existing: o.ExistingOnly, Reserved: g.reserved, Now: now},
	})
	if err != nil {
		return fail(err)
	}
	return web.Elsewhere{Name: o.Name, OIDC: signIn, Links: g.db}, nil
}

// machines verifies what machines prove themselves with.
func (g *gateway) machines(c *config.Config, factors *mfa.Verifier) (*mfa.Machines, error) {
	issuers := oidc.Issuers{}
	for _, j := range c.Machines.Issuers {
		p, err := oidc.NewProvider(oidc.ProviderOptions{Issuer: j.Issuer, CAFile: j.CAFile, Now: now})
		if err != nil {
			return nil, fmt.Errorf("machines: %w", err)
		}
		issuers[j.Issuer] = oidc.JobIssuer{Provider: p, Audience: j.Audience}
	}
	return mfa.NewMachines(factors, mfa.MachineOptions{VerifyToken: issuers.Verify, Once: g.db, MaxAge: c.Machines.MaxAge.Std()})
}

// endAccounts ends accounts that end by themselves.
func (g *gateway) endAccounts(c *config.Config) error {
	clock := func(ctx context.Context) error { return errors.Join(g.db.ClockOK(ctx), g.sessions.ClockOK(ctx)) }
	keeper, err := lifecycle.New(lifecycle.Options{Users: g.db, Feed: g.db, DormantAfter: c.Accounts.DormantAfter.Std(), Warn: c.Accounts.Warn.Std(),
		Except: c.Accounts.Except, Clock: clock, Now: now, Logger: g.log})
	if err != nil {
		return err
	}
	g.job("accounts", keeper.Run)
	return nil
}

// newSCIM makes the SCIM server; nil without one.
func (g *gateway) newSCIM(c *config.Config) (http.Handler, error) {
	if c.SCIM == nil {
		return nil, nil
	}
	o := scim.Options{Users: g.db, Groups: g.db, Manage: c.SCIM.Managed(), Reserved: g.reserved, URL: publicURL(c), Log: g.db, Now: now, Logger: g.log}
	for _, ref := range c.SCIM.Tokens {
		token, err := config.Secret(ref)
		if err != nil {
			return nil, fmt.Errorf("scim: %w", err)
		}
		o.Tokens = append(o.Tokens, token)
	}
	return scim.New(o)
}

// provisioned is the page with the SCIM server beside it: the one has cookies,
// the other a bearer token, and neither sees the other's requests.
func (g *gateway) provisioned() http.Handler {
	if g.scim == nil {
		return g.web
	}
	m := http.NewServeMux()
	m.Handle(scim.Path+"/", g.scim)
	m.Handle("/", g.web)
	return m
}
