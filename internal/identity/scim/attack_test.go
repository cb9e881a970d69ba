package scim

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"jit-gateway/internal/audit"
	"jit-gateway/internal/identity"
)

func TestStrangersLearnNothing(t *testing.T) {
	w := newWorld(t)
	for _, auth := range []string{"", "Bearer", "Bearer ", "Bearer x", "Basic " + token, "bearer " + token[:31], "Bearer " + token + "0", token} {
		for _, path := range []string{"/Users", "/Users/U404", "/nothing", "/ServiceProviderConfig"} {
			r := httptest.NewRequest("GET", Path+path, nil)
			r.Header.Set("Authorization", auth)
			rec := httptest.NewRecorder()
			w.s.ServeHTTP(rec, r)
			if rec.Code != http.StatusUnauthorized || strings.Contains(rec.Body.String(), token[:8]) || rec.Header().Get("WWW-Authenticate") == "" {
				t.Fatalf("%q %s: %d %s", auth, path, rec.Code, rec.Body)
			}
		}
	}
	evs, err := w.db.FindEvents(t.Context(), audit.Filter{Limit: 100})
	if err != nil || len(evs) == 0 || len(evs) > 12 || evs[0].Type != audit.SCIMRefused || strings.Contains(fmt.Sprint(evs), token[:8]) {
		t.Errorf("%d events (32 attempts), %v: %+v", len(evs), err, evs)
	}
	// However many they are, the provider is heard: it may have to send somebody away.
	for range 2 * burst {
		w.s.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", Path+"/Users", nil))
	}
	w.do(200, "GET", "/Users", "")
	busy := false
	for range 2 * burst {
		r := httptest.NewRequest("GET", Path+"/Users", nil)
		r.Header.Set("Authorization", "Bearer "+token)
		rec := httptest.NewRecorder()
		w.s.ServeHTTP(rec, r)
		busy = busy || rec.Code == http.StatusTooManyRequests && rec.Header().Get("Retry-After") != ""
	}
	if !busy {
		t.Error("nobody is ever told to wait")
	}
	for _, tokens := range [][]string{nil, {""}, {"short"}, {token, "short"}} {
		o := w.s.o
		o.Tokens = tokens
		if _, err := New(o); err == nil {
			t.Errorf("%q were accepted", tokens)
		}
	}
}

// TestG6ProvisioningMakesNoApprover: a client manages the groups that the
// configuration names and no others, and only accounts of its own.
func TestG6ProvisioningMakesNoApprover(t *testing.T) {
	w := newWorld(t)
	local := identity.User{ID: "Ulocal", Name: "dana", Kind: identity.Human, State: identity.Active, Groups: []string{"admins"}, Email: "dana@example.org", CreatedAt: noon}
	machine := identity.User{ID: "Uci", Name: "ci", Kind: identity.Machine, State: identity.Active, SCIMID: "x-ci", CreatedAt: noon}
	for _, u := range []identity.User{local, machine} {
		if err := w.db.CreateUser(t.Context(), u, audit.Event{Type: audit.UserAdded}); err != nil {
			t.Fatal(err)
		}
	}
	alice, g := w.user("alice"), w.group("Engineering")

	w.do(403, "POST", "/Groups", `{"displayName":"admins","members":[{"value":"`+alice+`"}]}`)
	if ev := w.last(); ev.Type != audit.SCIMRefused || ev.Outcome != audit.Denied {
		t.Errorf("%+v", ev)
	}
	w.do(403, "POST", "/Groups", `{"displayName":"engineers"}`) // ours, by our own name
	w.do(403, "POST", "/Users", `{"userName":"boss@example.org"}`)
	for _, rename := range []string{`{"op":"replace","path":"displayName","value":"admins"}`, `{"op":"replace","value":{"displayName":"DBA"}}`} {
		if out := w.do(400, "PATCH", "/Groups/"+g, `{"Operations":[`+rename+`]}`); out["scimType"] != "mutability" {
			t.Error(out)
		}
	}
	w.do(400, "PUT", "/Groups/"+g, `{"displayName":"admins"}`)
	for _, id := range []string{local.ID, machine.ID, "U404", g} {
		w.do(404, "GET", "/Users/"+id, "")
		w.do(404, "PATCH", "/Users/"+id, `{"Operations":[{"op":"replace","path":"active","value":false}]}`)
		w.do(404, "PUT", "/Users/"+id, `{"userName":"dana"}`)
		w.do(404, "DELETE", "/Users/"+id, "")
		w.do(400, "PATCH", "/Groups/"+g, `{"Operations":[{"op":"add","path":"members","value":[{"value":"`+id+`"}]}]}`)
		w.do(400, "PUT", "/Groups/"+g, `{"displayName":"Engineering","members":[{"value":"`+id+`"}]}`)
	}
	w.do(400, "PATCH", "/Users/"+alice, `{"Operations":[{"op":"add","path":"groups","value":[{"value":"admins"}]}]}`)
	// A name that is taken is refused, with what to do; also with the same mail address.
	if out := w.do(409, "POST", "/Users", `{"userName":"Dana@Example.org","externalId":"x-dana","emails":[{"value":"dana@example.org"}]}`); !strings.Contains(out["detail"].(string), "user link dana --scim") {
		t.Error(out)
	}
	w.do(409, "POST", "/Users", `{"userName":"other","externalId":"x-alice"}`)
	w.do(409, "PATCH", "/Users/"+w.user("bob"), `{"Operations":[{"op":"replace","path":"externalId","value":"x-alice"}]}`)
	w.do(409, "PATCH", "/Users/"+alice, `{"Operations":[{"op":"replace","path":"userName","value":"bob@example.org"}]}`)
	if u := w.stored(local.ID); u.Version != 1 {
		t.Errorf("%+v", u)
	}
	// Groups that an administrator gave are neither seen nor taken.
	u := w.stored(alice)
	u.Groups = []string{"approvers", "engineers"}
	if err := w.db.UpdateUser(t.Context(), u, audit.Event{Type: audit.UserUpdated}); err != nil {
		t.Fatal(err)
	}
	w.do(200, "PATCH", "/Groups/"+g, `{"Operations":[{"op":"remove","path":"members"}]}`)
	if u = w.stored(alice); !u.In("approvers") || u.In("engineers") {
		t.Errorf("%+v", u)
	}
}

// TestWhatOthersDisabledStaysDisabled: Okta sends active with every profile.
func TestWhatOthersDisabledStaysDisabled(t *testing.T) {
	for _, why := range []string{"", identity.DisabledDormant, identity.DisabledValidUntil} {
		w := newWorld(t)
		id := w.user("alice")
		u := w.stored(id)
		u.State, u.DisabledFor = identity.Disabled, why
		if err := w.db.UpdateUser(t.Context(), u, audit.Event{Type: audit.UserDisabled}); err != nil {
			t.Fatal(err)
		}
		for method, body := range map[string]string{"PUT": `{"userName":"alice@example.org","active":true,"displayName":"new"}`, "PATCH": `{"Operations":[{"op":"Replace","path":"active","value":"True"}]}`} {
			if out := w.do(200, method, "/Users/"+id, body); out["active"] != false || w.stored(id).State != identity.Disabled {
				t.Errorf("%s after %q: %v", method, why, out)
			}
		}
	}
}

// TestDeletedAccountsLeaveNothing: keys go, the name is free, and whoever gets it is somebody else.
func TestDeletedAccountsLeaveNothing(t *testing.T) {
	w := newWorld(t)
	id := w.user("alice")
	w.group("Engineering", id)
	key := identity.Key{Fingerprint: "SHA256:k", UserID: id, Authorized: "ssh-ed25519 AAAA", CreatedAt: noon}
	if err := w.db.AddKey(t.Context(), key, audit.Event{Type: audit.KeyAdded}); err != nil {
		t.Fatal(err)
	}
	w.do(204, "DELETE", "/Users/"+id, "")
	w.do(404, "DELETE", "/Users/"+id, "")
	if _, _, err := w.db.UserByKey(t.Context(), "SHA256:k"); err == nil {
		t.Error("the key is still registered")
	}
	if u := w.stored(id); u.State != identity.Disabled || len(u.Groups) != 0 || u.SCIMID != "" || !strings.HasPrefix(u.Name, "alice.gone.") || identity.ValidName(u.Name) != nil {
		t.Errorf("%+v", u)
	}
	if again := w.user("alice"); again == id {
		t.Error("the same account again")
	}
}

func TestHostileInput(t *testing.T) {
	w := newWorld(t)
	id, g := w.user("alice"), w.group("Engineering")
	w.do(413, "POST", "/Users", `{"userName":"`+strings.Repeat("a", maxBody)+`"}`)
	for _, body := range []string{"", "{", "[]", `"x"`, `{"userName":7}`, `{}`, `{"userName":""}`, `{"userName":"../x"}`, `{"userName":"root"}`, `{"userName":"a\u001b[31m@x"}`,
		`{"userName":"` + strings.Repeat("a", 300) + `"}`, `{"userName":"zed","externalId":"own:x"}`, `{"userName":"zed","externalId":"\u202e"}`,
		`{"userName":"zed","active":"maybe"}`, `{"userName":"zed","emails":[{"value":"a@b\u000abcc: c@d"}]}`, `{"userName":"zed","emails":[{"value":"none"}]}`} {
		w.do(400, "POST", "/Users", body)
	}
	for _, ops := range []string{``, `{"op":"move"}`, `{"op":"replace"}`, `{"op":"replace","value":[]}`, `{"op":"remove"}`, `{"op":"replace","path":"active"}`, `{"op":"remove","path":"active"}`,
		`{"op":"replace","path":"active","value":"yes"}`, `{"op":"replace","path":"userName","value":""}`, `{"op":"remove","path":"userName"}`, `{"op":"replace","path":"a b","value":1}`,
		`{"op":"replace","path":"emails[type","value":"x"}`, `{"op":"replace","path":"emails[type gt \"x\"].value","value":"x"}`, `{"op":"replace","path":"displayName","value":{"a":1}}`,
		`{"op":"replace","path":"` + strings.Repeat("a", 3000) + `","value":1}`} {
		w.do(400, "PATCH", "/Users/"+id, `{"Operations":[`+ops+`]}`)
	}
	for _, ops := range []string{`{"op":"add","path":"members","value":"x"}`, `{"op":"add","path":"members","value":["x"]}`, `{"op":"add","path":"members","value":[{}]}`,
		`{"op":"add","path":"members","value":[{"value":"` + g + `","type":"Group"}]}`, `{"op":"add","path":"members[value eq \"x\"]"}`, `{"op":"remove","path":"members[display eq \"x\"]"}`} {
		w.do(400, "PATCH", "/Groups/"+g, `{"Operations":[`+ops+`]}`)
	}
	for _, f := range []string{`userName`, `userName eq`, `userName eq x`, `userName co "x"`, `userName eq "x" or userName eq "y"`, `userName eq "x" and`, `(userName eq "x")`, `password eq "x"`, `userName eq "x`, strings.Repeat("a", 3000)} {
		if out := w.do(400, "GET", "/Users?filter="+strings.ReplaceAll(strings.ReplaceAll(f, " ", "%20"), `"`, "%22"), ""); out["scimType"] != "invalidFilter" {
			t.Errorf("%q: %v", f, out)
		}
	}
	if u := w.stored(id); u.Version != 1 {
		t.Errorf("%+v", u)
	}
	// What is not kept is accepted, and a display name is one harmless line.
	w.do(200, "PATCH", "/Users/"+id, `{"Operations":[{"op":"add","value":{"displayName":"A\u001b[31m\nB","nickName":"x","photos":[1,2]}}]}`)
	if n := w.stored(id).DisplayName; strings.ContainsAny(n, "\x1b\n") || n == "" {
		t.Errorf("%q", n)
	}
}

func FuzzPatch(f *testing.F) {
	for _, s := range []string{`{"Operations":[{"op":"Replace","path":"active","value":"False"}]}`, `{"Operations":[{"op":"add","value":{"active":true,"name.givenName":"x"}}]}`,
		`{"Operations":[{"op":"remove","path":"members[value eq \"x\"]"}]}`, `{"Operations":[{"op":"replace","path":"emails[type eq \"work\" and primary eq true].value","value":"a@b"}]}`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		var p patch
		if err := unmarshal(raw, &p); err != nil {
			return
		}
		steps, err := p.steps()
		if err != nil {
			return
		}
		w := wishOf(identity.User{Name: "alice", State: identity.Active})
		for _, st := range steps {
			if err := w.apply(st); err != nil {
				return
			}
			if _, _, err := memberStep(st); err != nil {
				return
			}
		}
		if w.check() == nil && (len(w.userName) > 255 || strings.ContainsAny(w.userName+w.display+w.email+w.externalID, "\x1b\n\r")) {
			t.Errorf("%+v", w)
		}
	})
}

func FuzzFilter(f *testing.F) {
	for _, s := range []string{`userName eq "alice"`, `id eq "x" and members.value eq "y\"z"`, `active eq TRUE`, `urn:ietf:params:scim:schemas:core:2.0:User:userName eq "x"`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		terms, err := parseFilter(s)
		if err == nil && (len(terms) == 0 || terms[0].attr == "") {
			t.Errorf("%q is %+v", s, terms)
		}
	})
}
