package scim

import (
	"errors"
	"net/http"
	"slices"
	"strings"

	"jit-gateway/internal/audit"
	"jit-gateway/internal/store"
)

type member struct {
	Value string `json:"value"`
	Type  string `json:"type"`
}

func memberIDs(list []member) ([]string, error) {
	if len(list) > maxMembers {
		return nil, problem(http.StatusBadRequest, "tooMany", "a group has at most %d members here", maxMembers)
	}
	var out []string
	for _, m := range list {
		if m.Value == "" || m.Type != "" && !strings.EqualFold(m.Type, "User") {
			return nil, problem(http.StatusBadRequest, "invalidValue", "members are users, each with its id as value; groups in groups are not kept")
		}
		out = append(out, m.Value)
	}
	slices.Sort(out)
	return slices.Compact(out), nil
}

// known refuses members that the client does not manage: nobody else is ever
// put into a group from here.
func (c *call) known(ids []string) error {
	for _, id := range ids {
		if _, err := c.user(id); errors.Is(err, store.ErrNotFound) {
			return problem(http.StatusBadRequest, "invalidValue", "there is no user %s that this client manages", id)
		} else if err != nil {
			return err
		}
	}
	return nil
}

// setMembers makes change of the present members what is in our group. Each
// account is one conditional update: user.updated ends what its groups no
// longer allow.
func (c *call) setMembers(g store.SCIMGroup, change func(have []string) []string) (added, removed int, err error) {
	users, err := c.s.o.Users.Users(c.ctx)
	if err != nil {
		return 0, 0, err
	}
	var have []string
	for _, u := range c.members(g, users) {
		have = append(have, u.ID)
	}
	want := change(slices.Clone(have))
	in, stay := set(have), set(want)
	// Who leaves goes first: a failure in the middle must not leave them in.
	for _, id := range have {
		if !stay[id] {
			if err := c.move(id, g, false); err != nil {
				return added, removed, err
			}
			removed++
		}
	}
	for _, id := range want {
		if !in[id] {
			if err := c.move(id, g, true); err != nil {
				return added, removed, err
			}
			added++
		}
	}
	return added, removed, nil
}

func set(ids []string) map[string]bool {
	m := make(map[string]bool, len(ids))
	for _, id := range ids {
		m[id] = true
	}
	return m
}

// move puts a user into our group, or out of it.
func (c *call) move(userID string, g store.SCIMGroup, in bool) error {
	ours := c.s.o.Manage[g.Name]
	for range tries {
		u, err := c.user(userID)
		if err != nil || u.In(ours) == in {
			return err
		}
		before := strings.Join(u.Groups, ",")
		groups := slices.DeleteFunc(slices.Clone(u.Groups), func(o string) bool { return o == ours })
		if in {
			groups = append(groups, ours)
		}
		slices.Sort(groups)
		u.Groups = groups
		err = c.s.o.Users.UpdateUser(c.ctx, u, audit.Event{Type: audit.UserUpdated, Outcome: audit.Success, Actor: c.actor, User: u.ID,
			Detail: map[string]string{"name": u.Name, "group": g.ID, "groups_before": before, "groups": strings.Join(groups, ",")}})
		if !errors.Is(err, store.ErrConflict) {
			return err
		}
	}
	return store.ErrConflict
}

// memberStep reads what Entra and Okta send: a list to add or to replace with,
// and for removal a filter in the path, a list as value, or nothing at all.
func memberStep(st step) (change func([]string) []string, join []string, err error) {
	ids, err := valuesOf(st.value)
	if err != nil {
		return nil, nil, err
	}
	for _, t := range st.where {
		if t.attr != "value" || st.op != "remove" {
			return nil, nil, problem(http.StatusBadRequest, "invalidPath", `members are picked by members[value eq "…"], to remove them`)
		}
		ids = append(ids, t.value)
	}
	switch {
	case st.op == "add":
		return func(have []string) []string { return append(have, ids...) }, ids, nil
	case st.op == "replace":
		return func([]string) []string { return ids }, ids, nil
	case len(ids) == 0 && st.value == nil: // all of them
		return func([]string) []string { return nil }, nil, nil
	}
	out := set(ids)
	return func(have []string) []string {
		return slices.DeleteFunc(have, func(id string) bool { return out[id] })
	}, nil, nil
}

func valuesOf(v any) ([]string, error) {
	bad := problem(http.StatusBadRequest, "invalidValue", `members are a list of {"value": id}`)
	var list []any
	switch m := v.(type) {
	case nil:
		return nil, nil
	case []any:
		list = m
	case map[string]any:
		list = []any{m}
	default:
		return nil, bad
	}
	var out []member
	for _, e := range list {
		m, ok := e.(map[string]any)
		if !ok {
			return nil, bad
		}
		value, _ := m["value"].(string)
		kind, _ := m["type"].(string)
		out = append(out, member{value, kind})
	}
	return memberIDs(out)
}
