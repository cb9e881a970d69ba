package scim

import (
	"errors"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"jit-gateway/internal/audit"
	"jit-gateway/internal/display"
	"jit-gateway/internal/id"
	"jit-gateway/internal/identity"
	"jit-gateway/internal/store"
)

// groupBody is a group as POST and PUT send it.
type groupBody struct {
	DisplayName string   `json:"displayName"`
	ExternalID  string   `json:"externalId"`
	Members     []member `json:"members"`
}

func (c *call) showGroup(g store.SCIMGroup, members []identity.User) resource {
	r := resource{"schemas": []string{groupSchema}, "id": g.ID, "displayName": g.Name,
		"meta": meta("Group", g.ID, g.CreatedAt, g.UpdatedAt, g.Version, c.s.o.URL)}
	if g.ExternalID != "" {
		r["externalId"] = g.ExternalID
	}
	list := []any{}
	for _, u := range members {
		list = append(list, resource{"value": u.ID, "display": userNameOf(u), "type": "User", "$ref": c.s.o.URL + Path + "/Users/" + u.ID})
	}
	r["members"] = list
	return r
}

// members are the accounts of the client that are in our group.
func (c *call) members(g store.SCIMGroup, users []identity.User) []identity.User {
	return slices.DeleteFunc(slices.Clone(users), func(u identity.User) bool { return !managed(u) || !u.In(c.s.o.Manage[g.Name]) })
}

func (c *call) sendGroup(status int, g store.SCIMGroup) error {
	users, err := c.s.o.Users.Users(c.ctx)
	if err != nil {
		return err
	}
	return c.answer(status, c.pick(c.showGroup(g, c.members(g, users))))
}

// group finds a group that the configuration still names.
func (c *call) group() (store.SCIMGroup, error) {
	g, err := c.s.o.Groups.SCIMGroup(c.ctx, c.r.PathValue("id"))
	if err == nil && c.s.o.Manage[g.Name] == "" {
		err = store.ErrNotFound
	}
	return g, err
}

func (c *call) getGroup() error {
	g, err := c.group()
	if err != nil {
		return err
	}
	return c.sendGroup(http.StatusOK, g)
}

func (c *call) listGroups() error {
	var terms []term
	if f := c.r.FormValue("filter"); f != "" {
		var err error
		if terms, err = parseFilter(f); err != nil {
			return err
		}
	}
	list, err := c.s.o.Groups.SCIMGroups(c.ctx)
	if err != nil {
		return err
	}
	users, err := c.s.o.Users.Users(c.ctx)
	if err != nil {
		return err
	}
	var found []store.SCIMGroup
	for _, g := range list {
		ok := c.s.o.Manage[g.Name] != ""
		for _, t := range terms {
			switch t.attr {
			case "id":
				ok = ok && g.ID == t.value
			case "displayname":
				ok = ok && strings.EqualFold(g.Name, t.value)
			case "externalid":
				ok = ok && g.ExternalID == t.value
			case "members", "members.value":
				ok = ok && slices.ContainsFunc(c.members(g, users), func(u identity.User) bool { return u.ID == t.value })
			default:
				return problem(http.StatusBadRequest, "invalidFilter", "groups are not filtered by %s", t.attr)
			}
		}
		if ok {
			found = append(found, g)
		}
	}
	return sendPage(c, found, func(g store.SCIMGroup) (resource, error) { return c.showGroup(g, c.members(g, users)), nil })
}

func (c *call) createGroup() error {
	var b groupBody
	if err := c.read(&b); err != nil {
		return err
	}
	if c.s.o.Manage[b.DisplayName] == "" {
		return c.forbidden("the group %s is not among scim.groups of the gateway's configuration, so it is not managed from here", b.DisplayName)
	}
	if err := checkExternal(b.ExternalID); err != nil {
		return err
	}
	want, err := memberIDs(b.Members)
	if err != nil {
		return err
	}
	now := c.s.o.Now().UTC().Truncate(time.Millisecond)
	g := store.SCIMGroup{ID: id.New("K"), Name: b.DisplayName, ExternalID: b.ExternalID, CreatedAt: now, UpdatedAt: now, Version: 1}
	if err := c.known(want); err != nil {
		return err
	}
	err = c.s.o.Groups.CreateSCIMGroup(c.ctx, g, c.groupEvent(audit.GroupAdded, g))
	if errors.Is(err, store.ErrExists) {
		return problem(http.StatusConflict, "uniqueness", "there is a group with this displayName already")
	}
	if err != nil {
		return err
	}
	if _, _, err := c.setMembers(g, func([]string) []string { return want }); err != nil {
		return err
	}
	return c.sendGroup(http.StatusCreated, g)
}

func (c *call) groupEvent(t audit.Type, g store.SCIMGroup) audit.Event {
	return audit.Event{Type: t, Outcome: audit.Success, Actor: c.actor,
		Detail: map[string]string{"group": g.ID, "name": display.Line(g.Name, 128), "ours": c.s.o.Manage[g.Name]}}
}

func checkExternal(s string) error {
	if len(s) > 255 || display.Line(s, 0) != s {
		return problem(http.StatusBadRequest, "invalidValue", "externalId has characters that are not accepted, or is longer than 255")
	}
	return nil
}

func (c *call) putGroup() error {
	var b groupBody
	if err := c.read(&b); err != nil {
		return err
	}
	want, err := memberIDs(b.Members)
	if err != nil {
		return err
	}
	return c.changeGroup(func(g *store.SCIMGroup) (func([]string) []string, error) {
		if b.ExternalID != "" {
			g.ExternalID = b.ExternalID
		}
		return func([]string) []string { return want }, errors.Join(rename(g, b.DisplayName), checkExternal(b.ExternalID), c.known(want))
	})
}

// rename refuses: which of our groups a group stands for is the configuration's to say.
func rename(g *store.SCIMGroup, name string) error {
	if name != "" && name != g.Name {
		return problem(http.StatusBadRequest, "mutability", "a group is not renamed: name the new one in scim.groups of the gateway's configuration and push it")
	}
	return nil
}

func (c *call) changeGroup(want func(*store.SCIMGroup) (func([]string) []string, error)) error {
	g, err := c.group()
	if err != nil {
		return err
	}
	if err := c.matches(g.Version); err != nil {
		return err
	}
	before := g
	change, err := want(&g)
	if err != nil {
		return firstProblem(err)
	}
	added, removed, err := c.setMembers(g, change)
	if err != nil {
		return err
	}
	if added+removed > 0 || g.ExternalID != before.ExternalID {
		g.UpdatedAt = c.s.o.Now().UTC().Truncate(time.Millisecond)
		ev := c.groupEvent(audit.GroupUpdated, g)
		ev.Detail["members_added"], ev.Detail["members_removed"] = strconv.Itoa(added), strconv.Itoa(removed)
		err := c.s.o.Groups.UpdateSCIMGroup(c.ctx, g, ev)
		if err != nil {
			return err
		}
		g.Version++
	}
	return c.sendGroup(http.StatusOK, g)
}

// firstProblem is the first of joined errors that can be told.
func firstProblem(err error) error {
	var r *refusal
	if errors.As(err, &r) {
		return r
	}
	return err
}

func (c *call) patchGroup() error {
	var p patch
	if err := c.read(&p); err != nil {
		return err
	}
	steps, err := p.steps()
	if err != nil {
		return err
	}
	return c.changeGroup(func(g *store.SCIMGroup) (func([]string) []string, error) {
		var changes []func([]string) []string
		var join []string
		for _, st := range steps {
			switch st.attr {
			case "displayname":
				name, err := text(st)
				if err = errors.Join(err, rename(g, name)); err != nil {
					return nil, err
				}
			case "externalid":
				if g.ExternalID, err = text(st); err != nil {
					return nil, err
				}
				if err := checkExternal(g.ExternalID); err != nil {
					return nil, err
				}
			case "members":
				change, ids, err := memberStep(st)
				if err != nil {
					return nil, err
				}
				changes, join = append(changes, change), append(join, ids...)
			}
		}
		if len(join) > maxMembers {
			return nil, problem(http.StatusBadRequest, "tooMany", "at most %d members at once", maxMembers)
		}
		return func(have []string) []string {
			for _, change := range changes {
				have = change(have)
			}
			return have
		}, c.known(join)
	})
}

func (c *call) deleteGroup() error {
	g, err := c.group()
	if err != nil {
		return err
	}
	if err := c.matches(g.Version); err != nil {
		return err
	}
	_, removed, err := c.setMembers(g, func([]string) []string { return nil })
	if err != nil {
		return err
	}
	ev := c.groupEvent(audit.GroupRemoved, g)
	ev.Detail["members_removed"] = strconv.Itoa(removed)
	if err := c.s.o.Groups.DeleteSCIMGroup(c.ctx, g.ID, ev); err != nil {
		return err
	}
	c.w.WriteHeader(http.StatusNoContent)
	return nil
}
