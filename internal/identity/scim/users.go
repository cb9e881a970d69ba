package scim

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"jit-gateway/internal/audit"
	"jit-gateway/internal/display"
	"jit-gateway/internal/id"
	"jit-gateway/internal/identity"
	"jit-gateway/internal/store"
)

// tries is how often a change that lost against another is begun again.
const tries = 5

// user finds an account that the client manages; all others do not exist for it.
func (c *call) user(userID string) (identity.User, error) {
	u, err := c.s.o.Users.User(c.ctx, userID)
	if err == nil && !managed(u) {
		err = store.ErrNotFound
	}
	return u, err
}

func (c *call) getUser() error {
	u, err := c.user(c.r.PathValue("id"))
	if err != nil {
		return err
	}
	return c.sendUser(http.StatusOK, u)
}

func (c *call) sendUser(status int, u identity.User) error {
	groups, err := c.groupsOf(u)
	if err != nil {
		return err
	}
	return c.answer(status, c.pick(c.show(u, groups)))
}

func (c *call) groupsOf(u identity.User) ([]any, error) {
	if c.groups == nil { // once for a page of users
		list, err := c.s.o.Groups.SCIMGroups(c.ctx)
		if err != nil {
			return nil, err
		}
		c.groups = append([]store.SCIMGroup{}, list...)
	}
	var out []any
	for _, g := range c.groups {
		if ours := c.s.o.Manage[g.Name]; ours != "" && u.In(ours) {
			out = append(out, resource{"value": g.ID, "display": g.Name, "$ref": c.s.o.URL + Path + "/Groups/" + g.ID})
		}
	}
	return out, nil
}

func (c *call) listUsers() error {
	found, err := c.findUsers(c.r.FormValue("filter"))
	if err != nil {
		return err
	}
	return sendPage(c, found, func(u identity.User) (resource, error) {
		groups, err := c.groupsOf(u)
		return c.show(u, groups), err
	})
}

// findUsers answers a filter by an index where there is one.
func (c *call) findUsers(filter string) ([]identity.User, error) {
	var terms []term
	if filter != "" {
		var err error
		if terms, err = parseFilter(filter); err != nil {
			return nil, err
		}
	}
	var list []identity.User
	var err error
	if lookup := c.lookup(terms); lookup != nil {
		var u identity.User
		if u, err = lookup(c.ctx, terms[0].value); err == nil {
			list = []identity.User{u}
		} else if errors.Is(err, store.ErrNotFound) {
			err = nil
		}
	} else {
		list, err = c.s.o.Users.Users(c.ctx)
	}
	if err != nil {
		return nil, err
	}
	var out []identity.User
	for _, u := range list {
		ok := managed(u)
		for _, t := range terms {
			fits, err := userFits(u, t)
			if err != nil {
				return nil, err
			}
			ok = ok && fits
		}
		if ok {
			out = append(out, u)
		}
	}
	return out, nil
}

func (c *call) lookup(terms []term) func(context.Context, string) (identity.User, error) {
	if len(terms) == 0 {
		return nil
	}
	switch terms[0].attr {
	case "id":
		return c.s.o.Users.User
	case "externalid":
		return c.s.o.Users.UserBySCIM
	case "username":
		return c.byUserName
	}
	return nil
}

// byUserName also finds an account that was linked and not yet written to.
func (c *call) byUserName(ctx context.Context, name string) (identity.User, error) {
	name = strings.ToLower(name)
	u, err := c.s.o.Users.UserByUserName(ctx, name)
	if errors.Is(err, store.ErrNotFound) {
		u, err = c.s.o.Users.UserByName(ctx, name)
	}
	return u, err
}

func userFits(u identity.User, t term) (bool, error) {
	switch t.attr {
	case "id":
		return u.ID == t.value, nil
	case "externalid":
		return externalIDOf(u) == t.value, nil
	case "username":
		return strings.EqualFold(userNameOf(u), t.value), nil
	case "displayname", "name.formatted":
		return strings.EqualFold(u.DisplayName, t.value), nil
	case "emails", "emails.value":
		return strings.EqualFold(u.Email, t.value), nil
	case "active":
		return fmt.Sprint(u.State == identity.Active) == strings.ToLower(t.value), nil
	}
	return false, problem(http.StatusBadRequest, "invalidFilter", "users are not filtered by %s", t.attr)
}

func (c *call) createUser() error {
	var b body
	if err := c.read(&b); err != nil {
		return err
	}
	w, err := b.wish()
	if err == nil {
		err = w.check()
	}
	if err != nil {
		return err
	}
	name := identity.LoginName(w.userName)
	if err := identity.ValidName(name); err != nil {
		return problem(http.StatusBadRequest, "invalidValue", "no login name can be made of this userName: %v", err)
	}
	if err := c.free(w, name); err != nil {
		return err
	}
	now := c.s.o.Now().UTC().Truncate(time.Millisecond)
	u := identity.User{ID: id.New(id.User), Name: name, Kind: identity.Human, State: identity.Active, CreatedAt: now}
	take(&u, w)
	err = c.s.o.Users.CreateUser(c.ctx, u, audit.Event{Type: audit.UserAdded, Outcome: audit.Success, Actor: c.actor, User: u.ID,
		Detail: map[string]string{"name": u.Name, "kind": string(u.Kind), "scim_id": display.Line(u.SCIMID, 255), "user_name": display.Line(u.UserName, 255), "state": string(u.State)}})
	if err != nil {
		return err
	}
	u.Version = 1
	return c.sendUser(http.StatusCreated, u)
}

// free refuses a user name, SCIM id or login name that is taken. Nothing is
// ever linked because two names are the same.
func (c *call) free(w wish, name string) error {
	for what, find := range map[string]func() (identity.User, error){
		"userName":   func() (identity.User, error) { return c.s.o.Users.UserByUserName(c.ctx, w.userName) },
		"externalId": func() (identity.User, error) { return c.s.o.Users.UserBySCIM(c.ctx, w.externalID) },
	} {
		if _, err := find(); err == nil {
			return problem(http.StatusConflict, "uniqueness", "there is a user with this %s already", what)
		} else if !errors.Is(err, store.ErrNotFound) {
			return err
		}
	}
	if u, err := c.s.o.Users.UserByName(c.ctx, name); err == nil {
		return problem(http.StatusConflict, "uniqueness", "there is an account %s already, which this client does not manage; if it is the same person, an administrator links it: jit-gateway user link %s --scim EXTERNALID", u.Name, u.Name)
	} else if !errors.Is(err, store.ErrNotFound) {
		return err
	}
	if c.s.o.Reserved != nil && c.s.o.Reserved(name) {
		return c.forbidden("rules name %s, so an administrator makes that account: jit-gateway user add %s, then user link %s --scim EXTERNALID", name, name, name)
	}
	return nil
}

// forbidden refuses an act that this client may never do, and logs it.
func (c *call) forbidden(format string, args ...any) error {
	err := problem(http.StatusForbidden, "", format, args...)
	ev := audit.Event{Type: audit.SCIMRefused, Outcome: audit.Denied, Actor: c.actor, Reason: err.Error(), Detail: map[string]string{"path": display.Line(c.r.URL.Path, 200)}}
	if _, lerr := c.s.o.Log.Append(c.ctx, ev); lerr != nil {
		return lerr
	}
	return err
}

// take writes a wish into u. What somebody else disabled stays disabled.
func take(u *identity.User, w wish) {
	u.UserName, u.DisplayName, u.Email = w.userName, w.display, w.email
	switch {
	case w.externalID != "":
		u.SCIMID = w.externalID
	case !strings.HasPrefix(u.SCIMID, own):
		u.SCIMID = own + u.ID
	}
	switch {
	case !w.active && u.State == identity.Active:
		u.State, u.DisabledFor = identity.Disabled, identity.DisabledBySCIM
	case w.active && u.State != identity.Active && u.DisabledFor == identity.DisabledBySCIM:
		u.State, u.DisabledFor = identity.Active, ""
	}
}

func (c *call) putUser() error {
	var b body
	if err := c.read(&b); err != nil {
		return err
	}
	want, err := b.wish()
	if err != nil {
		return err
	}
	return c.change(func(u identity.User) (wish, error) {
		if want.externalID == "" { // Okta leaves it out of a PUT; nobody is unlinked by an omission
			want.externalID = externalIDOf(u)
		}
		return want, nil
	})
}

func (c *call) patchUser() error {
	var p patch
	if err := c.read(&p); err != nil {
		return err
	}
	steps, err := p.steps()
	if err != nil {
		return err
	}
	return c.change(func(u identity.User) (wish, error) {
		w := wishOf(u)
		for _, st := range steps {
			if err := w.apply(st); err != nil {
				return w, err
			}
		}
		return w, nil
	})
}

// change is one conditional update with its event: user.disabled is what ends
// grants and sessions.
func (c *call) change(want func(identity.User) (wish, error)) error {
	for range tries {
		u, err := c.user(c.r.PathValue("id"))
		if err != nil {
			return err
		}
		if err := c.matches(u.Version); err != nil {
			return err
		}
		w, err := want(u)
		if err == nil {
			err = w.check()
		}
		if err != nil {
			return err
		}
		before := u
		take(&u, w)
		ev := c.changed(before, u)
		if ev.Type == "" {
			return c.sendUser(http.StatusOK, u)
		}
		err = c.s.o.Users.UpdateUser(c.ctx, u, ev)
		if errors.Is(err, store.ErrConflict) {
			continue
		}
		if err != nil {
			return err
		}
		u.Version++
		return c.sendUser(http.StatusOK, u)
	}
	return store.ErrConflict
}

// changed is the event of a change; without a type if nothing changed.
func (c *call) changed(before, after identity.User) audit.Event {
	ev := audit.Event{Outcome: audit.Success, Actor: c.actor, User: after.ID, Detail: map[string]string{"name": after.Name}}
	for what, v := range map[string][2]string{
		"user_name": {before.UserName, after.UserName}, "display_name": {before.DisplayName, after.DisplayName},
		"email": {before.Email, after.Email}, "scim_id": {before.SCIMID, after.SCIMID},
	} {
		if v[0] != v[1] {
			ev.Type, ev.Detail[what] = audit.UserUpdated, display.Line(v[1], 255)
		}
	}
	switch {
	case before.State == after.State:
	case after.State == identity.Active:
		ev.Type, ev.Reason = audit.UserEnabled, "the identity provider activated the account"
	default:
		ev.Type, ev.Reason, ev.Detail["why"] = audit.UserDisabled, "the identity provider deactivated the account", identity.DisabledBySCIM
	}
	return ev
}

// matches holds a change to the version that the client saw, where it says so.
func (c *call) matches(version int) error {
	if want := c.r.Header.Get("If-Match"); want != "" && want != "*" && want != etag(version) && want != strings.TrimPrefix(etag(version), "W/") {
		return problem(http.StatusPreconditionFailed, "", "it was changed since; read it again")
	}
	return nil
}

// deleteUser ends the account for good: its keys go, its name is free for
// somebody else. The row stays, under its id, for the log.
func (c *call) deleteUser() error {
	for range tries {
		u, err := c.user(c.r.PathValue("id"))
		if err != nil {
			return err
		}
		if err := c.matches(u.Version); err != nil {
			return err
		}
		name := u.Name
		u.State, u.DisabledFor, u.SCIMID, u.UserName, u.Issuer, u.Subject, u.Groups = identity.Disabled, "", "", "", "", "", nil
		u.Name = strings.ToLower(fmt.Sprintf("%.40s.gone.%s", name, id.Short("", 6)))
		err = c.s.o.Users.UpdateUser(c.ctx, u, audit.Event{Type: audit.UserDisabled, Outcome: audit.Success, Actor: c.actor, User: u.ID,
			Reason: "the identity provider deleted the account", Detail: map[string]string{"name": name, "name_after": u.Name, "why": identity.DisabledBySCIM}})
		if errors.Is(err, store.ErrConflict) {
			continue
		}
		if err != nil {
			return err
		}
		keys, err := c.s.o.Users.Keys(c.ctx, u.ID)
		if err != nil {
			return err
		}
		for _, k := range keys {
			err := c.s.o.Users.RemoveKey(c.ctx, u.ID, k.Fingerprint, audit.Event{Type: audit.KeyRemoved, Outcome: audit.Success, Actor: c.actor, User: u.ID,
				Reason: "the account was deleted", Detail: map[string]string{"fingerprint": k.Fingerprint}})
			if err != nil && !errors.Is(err, store.ErrNotFound) {
				return err
			}
		}
		c.w.WriteHeader(http.StatusNoContent)
		return nil
	}
	return store.ErrConflict
}
