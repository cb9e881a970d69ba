package scim

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"jit-gateway/internal/display"
	"jit-gateway/internal/identity"
)

// resource is what goes out.
type resource map[string]any

// wish is what a client wants of a user. Attributes that are not kept here
// (phones, titles, the enterprise extension, …) are read and forgotten.
type wish struct {
	userName, externalID, display, email string
	formatted, given, family             string
	active                               bool
}

// wishOf is the wish that changes nothing.
func wishOf(u identity.User) wish {
	return wish{userName: userNameOf(u), externalID: externalIDOf(u), display: u.DisplayName, email: u.Email, active: u.State == identity.Active}
}

// own marks a SCIM id that we made, for a client that gave none.
const own = "own:"

func externalIDOf(u identity.User) string {
	if strings.HasPrefix(u.SCIMID, own) {
		return ""
	}
	return u.SCIMID
}

func userNameOf(u identity.User) string {
	if u.UserName != "" {
		return u.UserName
	}
	return u.Name // an account that an administrator linked
}

// managed reports whether the client may see and change u.
func managed(u identity.User) bool { return u.SCIMID != "" && u.Kind != identity.Machine }

// body is a user as POST and PUT send it.
type body struct {
	UserName    string `json:"userName"`
	ExternalID  string `json:"externalId"`
	DisplayName string `json:"displayName"`
	Active      any    `json:"active"`
	Name        struct {
		Formatted  string `json:"formatted"`
		GivenName  string `json:"givenName"`
		FamilyName string `json:"familyName"`
	} `json:"name"`
	Emails []struct {
		Value   string `json:"value"`
		Type    string `json:"type"`
		Primary any    `json:"primary"`
	} `json:"emails"`
}

func (b body) wish() (wish, error) {
	w := wish{userName: b.UserName, externalID: b.ExternalID, display: b.DisplayName, active: true,
		formatted: b.Name.Formatted, given: b.Name.GivenName, family: b.Name.FamilyName}
	if b.Active != nil {
		var err error
		if w.active, err = truth(b.Active); err != nil {
			return w, err
		}
	}
	for _, e := range b.Emails {
		if p, err := truth(e.Primary); w.email == "" || err == nil && p {
			w.email = e.Value
		}
	}
	return w, nil
}

// apply takes over one step of a patch.
func (w *wish) apply(st step) error {
	var err error
	if strings.HasPrefix(st.attr, "emails") && elsewhere(st.where) {
		return nil
	}
	switch st.attr {
	case "username":
		if w.userName, err = text(st); err == nil && w.userName == "" {
			err = problem(http.StatusBadRequest, "mutability", "userName is required")
		}
	case "externalid":
		w.externalID, err = text(st)
	case "displayname":
		w.display, err = text(st)
	case "active":
		if st.op == "remove" {
			return problem(http.StatusBadRequest, "mutability", "active is true or false")
		}
		w.active, err = truth(st.value)
	case "name.formatted":
		w.formatted, err = text(st)
	case "name.givenname":
		w.given, err = text(st)
	case "name.familyname":
		w.family, err = text(st)
	case "name":
		object, _ := st.value.(map[string]any)
		for k, v := range object {
			if err := w.apply(step{op: st.op, attr: "name." + strings.ToLower(k), value: v}); err != nil {
				return err
			}
		}
	case "emails.value":
		w.email, err = text(st)
	case "emails":
		w.email = ""
		list, _ := st.value.([]any)
		for _, e := range list {
			m, _ := e.(map[string]any)
			v, _ := m["value"].(string)
			if p, err := truth(m["primary"]); w.email == "" || err == nil && p {
				w.email = v
			}
		}
	case "groups":
		err = problem(http.StatusBadRequest, "mutability", "groups of a user are changed at the group")
	}
	return err
}

// elsewhere reports whether a filter picks an address that is not the one
// kept here: nobody's home is told of their work.
func elsewhere(where []term) bool {
	return slices.ContainsFunc(where, func(t term) bool { return t.attr == "type" && !strings.EqualFold(t.value, "work") })
}

// check refuses what cannot be kept, and settles the display name.
func (w *wish) check() error {
	if w.display == "" {
		if w.display = w.formatted; w.display == "" {
			w.display = strings.TrimSpace(w.given + " " + w.family)
		}
	}
	w.display = display.Line(w.display, 200)
	w.userName = strings.TrimSpace(w.userName)
	switch {
	case w.userName == "":
		return problem(http.StatusBadRequest, "invalidValue", "userName is required")
	case len(w.userName) > 255 || display.Line(w.userName, 0) != w.userName:
		return problem(http.StatusBadRequest, "invalidValue", "userName has characters that are not accepted, or is longer than 255")
	case len(w.externalID) > 255 || strings.HasPrefix(w.externalID, own) || display.Line(w.externalID, 0) != w.externalID:
		return problem(http.StatusBadRequest, "invalidValue", "externalId has characters that are not accepted, or is longer than 255")
	case w.email != "" && (len(w.email) > 254 || !strings.Contains(w.email, "@") || display.Line(w.email, 0) != w.email || strings.ContainsAny(w.email, " ,;<>\"")):
		return problem(http.StatusBadRequest, "invalidValue", "an address in emails is not one")
	}
	w.userName = strings.ToLower(w.userName)
	return nil
}

// show is a user as the client sees it.
func (c *call) show(u identity.User, groups []any) resource {
	r := resource{"schemas": []string{userSchema}, "id": u.ID, "userName": userNameOf(u), "active": u.State == identity.Active,
		"meta": meta("User", u.ID, u.CreatedAt, time.Time{}, u.Version, c.s.o.URL)}
	if x := externalIDOf(u); x != "" {
		r["externalId"] = x
	}
	if u.DisplayName != "" {
		r["displayName"], r["name"] = u.DisplayName, resource{"formatted": u.DisplayName}
	}
	if u.Email != "" {
		r["emails"] = []any{resource{"value": u.Email, "type": "work", "primary": true}}
	}
	if len(groups) > 0 {
		r["groups"] = groups
	}
	return r
}

func meta(kind, id string, created, modified time.Time, version int, url string) resource {
	m := resource{"resourceType": kind, "created": created.UTC().Format(time.RFC3339), "location": url + Path + "/" + kind + "s/" + id, "version": etag(version)}
	if !modified.IsZero() {
		m["lastModified"] = modified.UTC().Format(time.RFC3339)
	}
	return m
}

func etag(version int) string { return `W/"` + strconv.Itoa(version) + `"` }
