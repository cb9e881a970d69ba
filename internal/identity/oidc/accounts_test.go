package oidc

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"jit-gateway/internal/audit"
	"jit-gateway/internal/identity"
)

func TestAccountsAreMadeAndUpdated(t *testing.T) {
	w := newWorld(t)
	w.idp.Claims["groups"] = []string{"eng", "payroll", "engineers"}
	u, err := w.signIn()
	if err != nil {
		t.Fatal(err)
	}
	if u.Name != "erin" || u.DisplayName != "Erin Example" || u.Issuer != w.idp.URL || u.Subject != "s-1" || u.Email != "" || u.Kind != identity.Human ||
		!slices.Equal(u.Groups, []string{"engineers"}) { // by the mapping alone, never by a name of ours
		t.Errorf("%+v", u)
	}
	if ev := w.store.last(); ev.Type != audit.UserAdded || ev.Actor.Via != "oidc" || ev.User != u.ID {
		t.Errorf("%+v", ev)
	}
	// An administrator's groups stay, the provider's follow it; one as text.
	mine := w.store.users[u.ID]
	mine.Groups = []string{"engineers", "on-call"}
	w.store.users[u.ID] = mine
	w.idp.Claims["groups"], w.idp.Claims["name"], w.idp.Claims["preferred_username"] = "db", "Erin\x1b[31m B", "someone-else"
	if u, err = w.signIn(); err != nil || !slices.Equal(u.Groups, []string{"dba", "on-call"}) || u.Name != "erin" || strings.Contains(u.DisplayName, "\x1b") {
		t.Errorf("%+v, %v", u, err)
	}
	n := len(w.store.events)
	if _, err = w.signIn(); err != nil || len(w.store.events) != n+1 {
		t.Errorf("nothing changed, yet %d events more; %v", len(w.store.events)-n, err)
	}
	delete(w.idp.Claims, "groups")
	if u, err = w.signIn(); err != nil || !slices.Equal(u.Groups, []string{"on-call"}) {
		t.Errorf("%+v, %v", u, err)
	}
	gone := w.store.users[u.ID]
	gone.State = identity.Disabled
	w.store.users[u.ID] = gone
	w.idp.Claims["groups"] = "eng"
	if _, err = w.signIn(); err == nil || !strings.Contains(err.Error(), "is disabled") || w.store.users[u.ID].In("engineers") {
		t.Errorf("a disabled account: %v", err)
	}
}

// TestIdentitiesLinkBySubjectAlone: neither a name nor a mail address, even one
// that the provider says it verified, gives anybody an account that is there.
func TestIdentitiesLinkBySubjectAlone(t *testing.T) {
	for name, c := range map[string]struct {
		there  identity.User
		claims map[string]any
		change func(*Accounts)
		want   string
	}{
		"a name that is taken":          {identity.User{Name: "erin", Groups: []string{"admins"}}, nil, nil, "user link erin --issuer"},
		"a verified address":            {identity.User{Name: "boss", Email: "boss@example.org"}, map[string]any{"email": "boss@example.org", "email_verified": true, "preferred_username": "boss@example.org"}, nil, "user link boss"},
		"the subject of another issuer": {identity.User{Name: "erin", Issuer: "https://other.example", Subject: "s-1"}, nil, nil, "user link erin"},
		"a SCIM id that is linked":      {identity.User{Name: "erin", SCIMID: "x-1", Issuer: "https://other.example", Subject: "s-9"}, map[string]any{"oid": "x-1"}, nil, "linked to somebody else"},
		"a name that rules name":        {identity.User{Name: "x"}, nil, func(a *Accounts) { a.Reserved = func(n string) bool { return n == "erin" } }, "administrator makes that account"},
		"a name that is none":           {identity.User{Name: "x"}, map[string]any{"preferred_username": "../erin"}, nil, "No account can be made"},
		"a reserved name":               {identity.User{Name: "x"}, map[string]any{"preferred_username": "root"}, nil, "reserved"},
		"no name":                       {identity.User{Name: "x"}, map[string]any{"preferred_username": 7}, nil, "No account can be made"},
		"no accounts are made":          {identity.User{Name: "x"}, nil, func(a *Accounts) { a.Existing = true }, "no account here"},
		"none of the groups":            {identity.User{Name: "x"}, map[string]any{"groups": []string{"sales"}}, func(a *Accounts) { a.Require = []string{"eng"} }, "none of the groups"},
		"a machine":                     {identity.User{Name: "ci", Kind: identity.Machine, Issuer: "IDP", Subject: "s-1"}, nil, nil, "machine"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			c.there.ID, c.there.State, c.there.Version = "U1", identity.Active, 1
			if c.there.Issuer == "IDP" {
				c.there.Issuer = w.idp.URL
			}
			w.store.users["U1"] = c.there
			for k, v := range c.claims {
				w.idp.Claims[k] = v
			}
			if c.change != nil {
				c.change(w.accounts)
			}
			u, err := w.signIn()
			var refusal *Refusal
			if !errors.As(err, &refusal) || !strings.Contains(err.Error(), c.want) || u.ID != "" {
				t.Errorf("%+v, %v; want %q", u, err, c.want)
			}
			if len(w.store.users) != 1 || w.store.users["U1"].Subject != c.there.Subject || w.store.users["U1"].Version != 1 {
				t.Errorf("%+v", w.store.users)
			}
		})
	}
}

func TestLinkBySCIMID(t *testing.T) {
	w := newWorld(t)
	w.store.users["U1"] = identity.User{ID: "U1", Name: "e.example", State: identity.Active, SCIMID: "x-1", Version: 1}
	w.idp.Claims["oid"] = "x-1"
	u, err := w.signIn()
	if err != nil || u.ID != "U1" || u.Subject != "s-1" || u.DisplayName != "Erin Example" {
		t.Fatalf("%+v, %v", u, err)
	}
	w.idp.Claims["oid"] = "x-2" // from now on the subject counts
	if u, err = w.signIn(); err != nil || u.ID != "U1" {
		t.Errorf("%+v, %v", u, err)
	}
}

// TestRequiredGroupIsLost: somebody who had an account does not get in, and
// loses what the provider gave.
func TestRequiredGroupIsLost(t *testing.T) {
	w := newWorld(t)
	w.accounts.Require = []string{"eng"}
	w.idp.Claims["groups"] = []string{"eng", "db"}
	u, err := w.signIn()
	if err != nil || !slices.Equal(u.Groups, []string{"dba", "engineers"}) {
		t.Fatalf("%+v, %v", u, err)
	}
	w.idp.Claims["groups"] = []string{"db"}
	if _, err := w.signIn(); err == nil || !strings.Contains(err.Error(), "none of the groups") || len(w.store.users[u.ID].Groups) != 0 {
		t.Errorf("%+v, %v", w.store.users[u.ID], err)
	}
}
