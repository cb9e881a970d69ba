package web_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strings"
	"testing"

	"jit-gateway/internal/audit"
	"jit-gateway/internal/identity"
	"jit-gateway/internal/identity/oidc"
)

// provider is a sign-in elsewhere without the elsewhere: its answer names the user.
type provider struct{ s *site }

func (p provider) Begin(_ context.Context, next string) (string, string, error) {
	if next == "/down" {
		return "", "", errors.New("connection refused by 192.0.2.1")
	}
	return "https://idp.example/authorize?state=x", "sealed " + next, nil
}

func (p provider) Finish(ctx context.Context, answer url.Values, cookie, source string) (identity.User, string, error) {
	next, ok := strings.CutPrefix(cookie, "sealed ")
	switch {
	case !ok:
		return identity.User{}, "/", oidc.ErrFlow
	case answer.Get("user") == "":
		return identity.User{}, next, &oidc.Refusal{Text: "there is an account <b>bob</b> already"}
	case answer.Get("user") == "trouble":
		return identity.User{}, next, errors.New("dial 192.0.2.1: refused")
	}
	u, err := p.s.DB.UserByName(ctx, answer.Get("user"))
	return u, next, err
}

// A sign-in elsewhere ends in a one-time link, whose page asks for a code: the
// provider alone opens nothing.
func TestSignInElsewhere(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	check(t, s.DB.CreateUser(t.Context(), identity.User{ID: "Unew", Name: "newcomer", Kind: identity.Human, State: identity.Active}, audit.Event{Type: audit.UserAdded}))
	c := insecure()
	jar, err := cookiejar.New(nil)
	check(t, err)
	c.Jar = jar
	get := func(want int, path string) (*http.Response, string) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.URL+path, nil)
		check(t, err)
		req.Header.Set("Sec-Fetch-Site", "cross-site")
		resp, err := c.Do(req)
		check(t, err)
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		check(t, err)
		if resp.StatusCode != want {
			t.Fatalf("%s answers %d: %s", path, resp.StatusCode, b)
		}
		return resp, string(b)
	}
	start := func(next string) {
		t.Helper()
		resp, _ := get(303, "/oidc/start?next="+url.QueryEscape(next))
		if at := resp.Header.Get("Location"); at != "https://idp.example/authorize?state=x" {
			t.Errorf("to %q", at)
		}
		cookie := resp.Header.Get("Set-Cookie")
		for _, want := range []string{"__Host-jit-oidc=", "Path=/", "Secure", "HttpOnly", "SameSite=Lax", "Max-Age=600"} {
			if !strings.Contains(cookie, want) {
				t.Errorf("the cookie %q has no %s", cookie, want)
			}
		}
	}
	if _, page := get(403, "/oidc/callback?user=alice"); !strings.Contains(page, "begin again") {
		t.Error("an answer that was not asked for", page)
	}
	start("/requests")
	if _, page := get(403, "/oidc/callback"); strings.Contains(page, "<b>bob") || !strings.Contains(page, "There is an account") {
		t.Error(page)
	}
	if _, page := get(403, "/oidc/callback?user=alice"); !strings.Contains(page, "begin again") {
		t.Error("the cookie is good twice", page)
	}
	start("/requests")
	if _, page := get(503, "/oidc/callback?user=trouble"); strings.Contains(page, "192.0.2.1") {
		t.Error("the page tells of the inside", page)
	}
	if _, page := get(503, "/oidc/start?next=/down"); strings.Contains(page, "192.0.2.1") || !strings.Contains(page, " web") {
		t.Error(page)
	}
	start("/requests")
	if _, page := get(200, "/oidc/callback?user=newcomer"); !strings.Contains(page, "Welcome, newcomer") || !strings.Contains(page, "user invite newcomer") || !strings.Contains(page, `href="/enroll"`) {
		t.Error(page)
	}
	for next, want := range map[string]string{"/requests?x=1": "/requests?x=1", "https://evil.example/": "/", "//evil.example": "/"} {
		start(next)
		resp, _ := get(303, "/oidc/callback?user=alice")
		at, err := url.Parse(resp.Header.Get("Location"))
		check(t, err)
		token := at.Query().Get("t")
		if at.Path != "/sign-in" || at.Host != "" || len(token) < 40 || at.Query().Get("next") != want {
			t.Fatalf("%s leads to %s", next, at)
		}
		if got := post(t, c, s.URL+"/sign-in", url.Values{"t": {token}, "code": {"000000"}}, nil); got != 403 {
			t.Errorf("a wrong code answers %d", got)
		}
		if want != "/requests?x=1" {
			continue
		}
		get(200, "/requests") // a refresh, which brings strict cookies; there is none
		if got := post(t, c, s.URL+"/sign-in", url.Values{"t": {token}, "code": {s.code("alice")}, "next": {want}}, nil); got != 303 {
			t.Errorf("signing in answers %d", got)
		}
		if got := post(t, c, s.URL+"/sign-in", url.Values{"t": {token}, "code": {s.code("alice")}}, nil); got != 403 {
			t.Errorf("the link is good twice: %d", got)
		}
	}
}
