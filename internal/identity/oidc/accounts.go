package oidc

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"jit-gateway/internal/audit"
	"jit-gateway/internal/display"
	"jit-gateway/internal/id"
	"jit-gateway/internal/identity"
	"jit-gateway/internal/store"
)

// Claims is what a provider says about somebody.
type Claims struct {
	Issuer, Subject string
	Name            string // what the login name is made of, once
	Display         string
	SCIMID          string
	Groups          []string
}

// Users is the store of accounts.
type Users interface {
	UserByName(ctx context.Context, name string) (identity.User, error)
	UserBySubject(ctx context.Context, issuer, subject string) (identity.User, error)
	UserBySCIM(ctx context.Context, scimID string) (identity.User, error)
	CreateUser(ctx context.Context, u identity.User, ev audit.Event) error
	UpdateUser(ctx context.Context, u identity.User, ev audit.Event) error
}

// Accounts finds, makes and updates the accounts of people who sign in
// elsewhere. An account is found by issuer and subject; an account that SCIM
// made also by its SCIM id, once, where the configuration names the claim. A
// name or a mail address never finds one: a name that is taken is refused.
type Accounts struct {
	Users Users
	// Groups maps the provider's groups to ours. Only ours that are named here
	// are given and taken; all others are left as they are.
	Groups map[string]string
	// Require lists groups of the provider, one of which is needed. Empty: none is.
	Require []string
	// Existing makes no accounts: whoever has none is refused.
	Existing bool
	// Reserved reports names that rules name: an account of that name is for an
	// administrator to make, since at many providers people choose their own.
	Reserved func(name string) bool
	Now      func() time.Time
}

const tries = 4

// Resolve returns the account of c, made or updated.
func (a *Accounts) Resolve(ctx context.Context, c Claims, who audit.Actor) (identity.User, error) {
	if len(c.Subject) > 255 || len(c.Groups) > 5000 {
		return identity.User{}, refuse("The identity provider said more about you than is accepted.")
	}
	allowed := len(a.Require) == 0 || slices.ContainsFunc(a.Require, func(g string) bool { return slices.Contains(c.Groups, g) })
	for range tries {
		u, err := a.Users.UserBySubject(ctx, c.Issuer, c.Subject)
		switch {
		case errors.Is(err, store.ErrNotFound) && allowed:
			u, err = a.first(ctx, c, who)
		case errors.Is(err, store.ErrNotFound):
			return u, refuse("You are in none of the groups that may sign in here: %s.", display.Line(strings.Join(a.Require, ", "), 300))
		case err == nil && u.Kind == identity.Machine:
			return identity.User{}, refuse("%s is a machine; machines do not sign in to the page.", u.Name)
		case err == nil:
			u, err = a.update(ctx, u, c, allowed, who)
		}
		if errors.Is(err, store.ErrConflict) || errors.Is(err, store.ErrExists) {
			continue // somebody was faster: look again
		}
		if err != nil {
			return u, err
		}
		switch {
		case !u.Usable(a.Now()):
			return u, refuse("Your account %s is disabled. Ask an administrator.", u.Name)
		case !allowed:
			return u, refuse("You are in none of the groups that may sign in here: %s.", display.Line(strings.Join(a.Require, ", "), 300))
		}
		return u, nil
	}
	return identity.User{}, refuse("Your account is being changed; try again.")
}

// first links an account that SCIM made, or makes one.
func (a *Accounts) first(ctx context.Context, c Claims, who audit.Actor) (identity.User, error) {
	if c.SCIMID != "" {
		u, err := a.Users.UserBySCIM(ctx, c.SCIMID)
		if err == nil {
			return a.link(ctx, u, c, who)
		}
		if !errors.Is(err, store.ErrNotFound) {
			return u, err
		}
	}
	name := identity.LoginName(c.Name)
	if err := identity.ValidName(name); err != nil {
		return identity.User{}, refuse("No account can be made of your name at the identity provider: %s.", display.Line(err.Error(), 200))
	}
	if u, err := a.Users.UserByName(ctx, name); err == nil {
		return identity.User{}, refuse("There is an account %s already, which is not linked to yours at the identity provider. If it is yours, an administrator links it: jit-gateway user link %s --issuer %s --subject %s",
			u.Name, u.Name, display.Line(c.Issuer, 200), display.Line(c.Subject, 255))
	} else if !errors.Is(err, store.ErrNotFound) {
		return identity.User{}, err
	}
	switch {
	case a.Existing:
		return identity.User{}, refuse("You have no account here. Ask an administrator.")
	case a.Reserved != nil && a.Reserved(name):
		return identity.User{}, refuse("Rules here name %s, so an administrator makes that account: jit-gateway user add %s, then user link %s --issuer %s --subject %s",
			name, name, name, display.Line(c.Issuer, 200), display.Line(c.Subject, 255))
	}
	now := a.Now().UTC().Truncate(time.Millisecond)
	u := identity.User{ID: id.New(id.User), Name: name, Kind: identity.Human, State: identity.Active, CreatedAt: now, LastSeen: now,
		Issuer: c.Issuer, Subject: c.Subject, DisplayName: display.Line(c.Display, 200), Groups: a.merge(nil, c.Groups)}
	who.ID, who.Name = u.ID, u.Name
	err := a.Users.CreateUser(ctx, u, audit.Event{Type: audit.UserAdded, Outcome: audit.Success, Actor: who, User: u.ID, Reason: "first sign-in",
		Detail: map[string]string{"name": u.Name, "kind": string(u.Kind), "groups": strings.Join(u.Groups, ","), "issuer": c.Issuer, "subject": display.Line(c.Subject, 255)}})
	if err != nil {
		return identity.User{}, fmt.Errorf("make the account %s: %w", name, err)
	}
	return u, nil
}

func (a *Accounts) link(ctx context.Context, u identity.User, c Claims, who audit.Actor) (identity.User, error) {
	if u.Subject != "" || u.Kind == identity.Machine {
		return identity.User{}, refuse("The account %s is linked to somebody else at the identity provider. Ask an administrator.", u.Name)
	}
	u.Issuer, u.Subject = c.Issuer, c.Subject
	who.ID, who.Name = u.ID, u.Name
	err := a.Users.UpdateUser(ctx, u, audit.Event{Type: audit.UserLinked, Outcome: audit.Success, Actor: who, User: u.ID, Reason: "by SCIM id",
		Detail: map[string]string{"issuer": c.Issuer, "subject": display.Line(c.Subject, 255), "scim_id": display.Line(c.SCIMID, 255)}})
	if err != nil {
		return identity.User{}, err
	}
	u.Version++
	return a.update(ctx, u, c, true, who)
}

// update takes over what the provider says now. A disabled account is left as it is.
func (a *Accounts) update(ctx context.Context, u identity.User, c Claims, allowed bool, who audit.Actor) (identity.User, error) {
	if u.State != identity.Active {
		return u, nil
	}
	claimed := c.Groups
	if !allowed {
		claimed = nil
	}
	groups, name := a.merge(u.Groups, claimed), display.Line(c.Display, 200)
	if name == "" {
		name = u.DisplayName
	}
	if slices.Equal(groups, u.Groups) && name == u.DisplayName {
		return u, nil
	}
	who.ID, who.Name = u.ID, u.Name
	detail := map[string]string{"name": u.Name, "groups_before": strings.Join(u.Groups, ","), "groups": strings.Join(groups, ",")}
	u.Groups, u.DisplayName = groups, name
	err := a.Users.UpdateUser(ctx, u, audit.Event{Type: audit.UserUpdated, Outcome: audit.Success, Actor: who, User: u.ID, Reason: "sign-in", Detail: detail})
	if err == nil {
		u.Version++
	}
	return u, err
}

// merge gives and takes the groups that the provider manages, and no others.
func (a *Accounts) merge(have, claimed []string) []string {
	var managed, out []string
	for _, ours := range a.Groups {
		managed = append(managed, ours)
	}
	for _, g := range have {
		if !slices.Contains(managed, g) {
			out = append(out, g)
		}
	}
	for _, theirs := range claimed {
		if ours, ok := a.Groups[theirs]; ok {
			out = append(out, ours)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}
