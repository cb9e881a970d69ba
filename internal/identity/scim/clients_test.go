package scim

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"jit-gateway/internal/audit"
	"jit-gateway/internal/identity"
)

// TestEntra plays what Entra ID's provisioning service sends: operations in
// capitals, booleans as text, members removed by a filter, no path.
func TestEntra(t *testing.T) {
	w := newWorld(t)
	// Its connection test: a user that cannot exist.
	if out := w.do(200, "GET", "/Users?filter="+url.QueryEscape(`userName eq "6d5ed0c4-7e1f-4a9b-b1b0-2d1a4b5c6d7e"`), ""); out["totalResults"] != 0.0 {
		t.Error(out)
	}
	out := w.do(201, "POST", "/Users", `{"schemas":["`+userSchema+`","`+enterpriseSchema+`"],"externalId":"0a21f0f2-8d2a-4f8e-bf98-7363c4aed4ef",
		"userName":"Alice.Smith@Contoso.com","active":true,"displayName":"Alice Smith","emails":[{"primary":true,"type":"work","value":"Alice.Smith@contoso.com"}],
		"meta":{"resourceType":"User"},"name":{"formatted":"Alice Smith","familyName":"Smith","givenName":"Alice"},"roles":[],"`+enterpriseSchema+`":{"department":"SRE"}}`)
	alice := out["id"].(string)
	if u := w.stored(alice); u.Name != "alice.smith" || u.UserName != "alice.smith@contoso.com" || u.SCIMID != "0a21f0f2-8d2a-4f8e-bf98-7363c4aed4ef" || u.Email != "Alice.Smith@contoso.com" || u.DisplayName != "Alice Smith" || len(u.Groups) != 0 {
		t.Errorf("%+v", u)
	}
	for _, filter := range []string{`externalId eq "0a21f0f2-8d2a-4f8e-bf98-7363c4aed4ef"`, `userName eq "ALICE.smith@contoso.com"`, `displayName eq "alice smith"`, `active eq true and id eq "` + alice + `"`,
		userSchema + `:userName eq "alice.smith@contoso.com"`, `emails.value eq "alice.smith@contoso.com"`} {
		if out := w.do(200, "GET", "/Users?filter="+url.QueryEscape(filter), ""); out["totalResults"] != 1.0 || out["Resources"].([]any)[0].(map[string]any)["id"] != alice {
			t.Errorf("%s: %v", filter, out)
		}
	}
	w.do(200, "PATCH", "/Users/"+alice, `{"schemas":["urn:ietf:params:scim:api:messages:2.0:PatchOp"],"Operations":[
		{"op":"Replace","path":"emails[type eq \"work\"].value","value":"alice@contoso.com"},{"op":"Add","path":"name.familyName","value":"Jones"},
		{"op":"Add","path":"emails[type eq \"home\"].value","value":"alice@home.example"},
		{"op":"Replace","path":"displayName","value":"Alice Jones"},{"op":"Add","path":"`+enterpriseSchema+`:department","value":"IT"},{"op":"Add","path":"title","value":"x"}]}`)
	if u := w.stored(alice); u.Email != "alice@contoso.com" || u.DisplayName != "Alice Jones" || u.State != identity.Active {
		t.Errorf("%+v", u)
	}

	bob := w.user("bob")
	group := w.do(201, "POST", "/Groups", `{"schemas":["`+groupSchema+`","http://schemas.microsoft.com/2006/11/ResourceManagement/ADSCIM/2.0/Group"],"externalId":"8aa1a0c0-c4c3-4bc0-b4a5-2ef676900159","displayName":"Engineering","meta":{"resourceType":"Group"}}`)["id"].(string)
	if out := w.do(200, "GET", "/Groups?excludedAttributes=members&filter="+url.QueryEscape(`displayName eq "engineering"`), ""); out["totalResults"] != 1.0 || out["Resources"].([]any)[0].(map[string]any)["members"] != nil {
		t.Error(out)
	}
	w.do(200, "PATCH", "/Groups/"+group, `{"schemas":["urn:ietf:params:scim:api:messages:2.0:PatchOp"],"Operations":[{"op":"Add","path":"members","value":[{"$ref":null,"value":"`+alice+`"},{"value":"`+bob+`"}]}]}`)
	if u := w.stored(alice); !u.In("engineers") {
		t.Errorf("%+v", u)
	}
	if out := w.do(200, "GET", "/Groups?filter="+url.QueryEscape(`id eq "`+group+`" and members eq "`+alice+`"`), ""); out["totalResults"] != 1.0 {
		t.Error(out)
	}
	// Both ways in which Entra removes members.
	w.do(200, "PATCH", "/Groups/"+group, `{"Operations":[{"op":"Remove","path":"members","value":[{"$ref":null,"value":"`+alice+`"}]}]}`)
	if got := w.members(group); !slices.Equal(got, []string{bob}) {
		t.Error(got)
	}
	w.do(200, "PATCH", "/Groups/"+group, `{"Operations":[{"op":"Remove","path":"members[value eq \"`+bob+`\"]"}]}`)
	if got := w.members(group); len(got) != 0 || w.stored(bob).In("engineers") {
		t.Error(got)
	}
	for _, off := range []string{`{"op":"Replace","path":"active","value":"False"}`, `{"op":"Replace","value":{"active":"False"}}`, `{"op":"replace","value":{"` + userSchema + `:active":false}}`} {
		out := w.do(200, "PATCH", "/Users/"+alice, `{"Operations":[`+off+`]}`)
		if ev := w.last(); out["active"] != false || w.stored(alice).State != identity.Disabled || ev.Type != audit.UserDisabled || ev.User != alice || ev.Actor.Via != "scim" || ev.Actor.Name != "scim" {
			t.Errorf("%s: %v, %+v", off, out, ev)
		}
		w.do(200, "PATCH", "/Users/"+alice, `{"Operations":[{"op":"Replace","path":"active","value":"True"}]}`)
		if w.stored(alice).State != identity.Active || w.last().Type != audit.UserEnabled {
			t.Errorf("%s is for ever", off)
		}
	}
	w.do(204, "DELETE", "/Users/"+alice, "")
	w.do(404, "GET", "/Users/"+alice, "")
}

// TestOkta plays what Okta sends: PUT of whole users, PATCH replace for
// (de)activation, group pushes by PATCH.
func TestOkta(t *testing.T) {
	w := newWorld(t)
	if out := w.do(200, "GET", "/Users?startIndex=1&count=2", ""); out["totalResults"] != 0.0 {
		t.Error(out)
	}
	body := `{"schemas":["` + userSchema + `"],"userName":"test.user@okta.local","name":{"givenName":"Test","familyName":"User"},"emails":[{"primary":true,"value":"test.user@okta.local","type":"work"}],
		"displayName":"Test User","locale":"en-US","externalId":"00ujl29u0le5T6Aj10h7","groups":[],"password":"1mz050nq","active":true}`
	out := w.do(201, "POST", "/Users", body)
	id := out["id"].(string)
	if strings.Contains(strings.ToLower(strings.Join(keysOf(out), " ")), "password") || out["userName"] != "test.user@okta.local" || out["active"] != true {
		t.Error(out)
	}
	if c := w.do(409, "POST", "/Users", body); c["scimType"] != "uniqueness" || c["status"] != "409" {
		t.Error(c)
	}
	put := func(change ...string) string {
		return strings.NewReplacer(append(change, `"password":"1mz050nq",`, "", `"externalId":"00ujl29u0le5T6Aj10h7",`, "")...).Replace(body)
	}
	w.do(200, "PUT", "/Users/"+id, put(`"Test User"`, `"Renamed User"`))
	if u := w.stored(id); u.DisplayName != "Renamed User" || u.SCIMID != "00ujl29u0le5T6Aj10h7" || u.State != identity.Active {
		t.Errorf("%+v", u)
	}
	w.do(200, "PATCH", "/Users/"+id, `{"schemas":["urn:ietf:params:scim:api:messages:2.0:PatchOp"],"Operations":[{"op":"replace","value":{"active":false}}]}`)
	if w.stored(id).State != identity.Disabled {
		t.Error("still active")
	}
	w.do(200, "PUT", "/Users/"+id, put())
	if w.stored(id).State != identity.Active {
		t.Error("not activated by PUT")
	}
	w.do(200, "PUT", "/Users/"+id, put(`"active":true`, `"active":false`))
	if w.stored(id).State != identity.Disabled {
		t.Error("not deactivated by PUT")
	}

	group := w.group("Engineering", id)
	w.do(200, "PATCH", "/Groups/"+group, `{"Operations":[{"op":"replace","value":{"id":"`+group+`","displayName":"Engineering"}},{"op":"remove","path":"members[value eq \"`+id+`\"]"}]}`)
	if got := w.members(group); len(got) != 0 {
		t.Error(got)
	}
	w.do(200, "PATCH", "/Groups/"+group, `{"Operations":[{"op":"add","path":"members","value":[{"value":"`+id+`","display":"test.user@okta.local"}]}]}`)
	other := w.user("other")
	w.do(200, "PATCH", "/Groups/"+group, `{"Operations":[{"op":"replace","path":"members","value":[{"value":"`+other+`"}]}]}`)
	if got := w.members(group); !slices.Equal(got, []string{other}) {
		t.Error(got)
	}
	w.do(200, "PUT", "/Groups/"+group, `{"displayName":"Engineering","members":[{"value":"`+id+`"},{"value":"`+other+`"}]}`)
	if got := w.members(group); len(got) != 2 {
		t.Error(got)
	}
	w.do(204, "DELETE", "/Groups/"+group, "")
	if w.stored(other).In("engineers") || w.last().Type != audit.GroupRemoved {
		t.Errorf("%+v", w.stored(other))
	}
	w.do(404, "GET", "/Groups/"+group, "")
}

func keysOf(m map[string]any) []string {
	var out []string
	for k := range m {
		out = append(out, k)
	}
	return out
}

func TestPages(t *testing.T) {
	w := newWorld(t)
	for _, n := range []string{"a", "b", "c", "d", "e"} {
		w.user(n)
	}
	for query, want := range map[string]string{"": "a b c d e", "?count=2": "a b", "?startIndex=2&count=2": "b c", "?startIndex=5&count=9": "e", "?startIndex=6": "", "?count=0": "", "?startIndex=-3&count=1": "a", "?count=-1": "", "?startIndex=99999999999": ""} {
		out := w.do(200, "GET", "/Users"+query, "")
		var got []string
		for _, r := range out["Resources"].([]any) {
			got = append(got, strings.TrimSuffix(r.(map[string]any)["userName"].(string), "@example.org"))
		}
		if strings.Join(got, " ") != want || out["totalResults"] != 5.0 || out["itemsPerPage"] != float64(len(got)) {
			t.Errorf("%q: %v of %v, want %q", query, got, out["totalResults"], want)
		}
	}
	w.do(400, "GET", "/Users?count=many", "")
	if r := w.do(200, "GET", "/Users?attributes=userName,name.formatted&count=1", "")["Resources"].([]any)[0].(map[string]any); r["userName"] == nil || r["active"] != nil || r["id"] == nil || r["name"] == nil {
		t.Error(r)
	}
}

func TestETags(t *testing.T) {
	w := newWorld(t)
	id := w.user("alice")
	off := `{"Operations":[{"op":"replace","path":"active","value":false}]}`
	w.send(http.StatusPreconditionFailed, "PATCH", "/Users/"+id, off, map[string]string{"If-Match": `W/"7"`})
	w.send(200, "PATCH", "/Users/"+id, off, map[string]string{"If-Match": `W/"1"`})
	w.send(http.StatusPreconditionFailed, "DELETE", "/Users/"+id, "", map[string]string{"If-Match": `W/"1"`})
	w.send(204, "DELETE", "/Users/"+id, "", map[string]string{"If-Match": `W/"2"`})
	g := w.group("DBA")
	w.send(http.StatusPreconditionFailed, "PUT", "/Groups/"+g, `{}`, map[string]string{"If-Match": `W/"0"`})
}

func TestDiscovery(t *testing.T) {
	w := newWorld(t)
	c := w.do(200, "GET", "/ServiceProviderConfig", "")
	if c["patch"].(map[string]any)["supported"] != true || c["bulk"].(map[string]any)["supported"] != false {
		t.Error(c)
	}
	for path, n := range map[string]float64{"/ResourceTypes": 2, "/Schemas": 2} {
		if out := w.do(200, "GET", path, ""); out["totalResults"] != n {
			t.Errorf("%s: %v", path, out)
		}
	}
	if out := w.do(200, "GET", "/Schemas/"+userSchema, ""); out["id"] != userSchema {
		t.Error(out)
	}
	w.do(404, "GET", "/Schemas/urn:none", "")
	w.do(501, "POST", "/Bulk", "{}")
	w.do(404, "GET", "/Nothing", "")
}
