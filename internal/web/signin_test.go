package web_test

import (
	"testing"

	"jit-gateway/internal/audit"
	"jit-gateway/internal/identity"
)

func TestSignIn(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	b := s.browser(t, 360)
	link := s.link(t, "bob")
	if status := b.open(link); status != 200 {
		t.Fatalf("the link answers %d", status)
	}
	b.fill("input[name=code]", "000000")
	if status := b.click("form[action='/sign-in'] button"); status != 403 {
		t.Fatalf("a wrong code answers %d", status)
	}
	b.sees("that code is wrong")

	// It did not cost the link.
	b.fill("input[name=code]", s.code("bob"))
	if status := b.click("form[action='/sign-in'] button"); status != 200 || b.path() != "/" {
		t.Fatalf("signing in answers %d at %s", status, b.path())
	}
	b.sees("no request waits for your answer", "bob")
	if c := eval[string](b, `document.cookie`); c != "" {
		t.Errorf("scripts can read the cookie: %q", c)
	}

	// The link is spent now, for another browser too, whatever the code.
	other := s.browser(t, 360)
	other.open(link)
	other.fill("input[name=code]", s.code("bob"))
	if status := other.click("form[action='/sign-in'] button"); status != 403 {
		t.Fatalf("a used link answers %d", status)
	}
	other.sees("not valid any more", "ssh jit-gateway web")
	if n := len(s.Events(audit.PageSignedIn)); n != 1 {
		t.Errorf("%d sign-ins in the log, want 1", n)
	}

	// And out.
	b.click(".who button")
	b.sees("one-time link")
	if status := b.open("/requests"); status != 401 {
		t.Errorf("after signing out the page answers %d", status)
	}
	if n := len(s.Events(audit.PageSignedOut)); n != 1 {
		t.Errorf("%d sign-outs in the log, want 1", n)
	}
}

// A link in a mail leads to the request, through the sign-in.
func TestDeepLinkSurvivesSignIn(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	r := s.ask(t, "web01", "deploy", "nginx 502s", 0)
	for _, paste := range []bool{false, true} {
		b := s.browser(t, 1280)
		if status := b.open("/requests/" + r.ID); status != 401 {
			t.Fatalf("signed out, the request answers %d", status)
		}
		if paste {
			b.fill("input[name=t]", s.link(t, "bob"))
		} else {
			b.open(s.link(t, "bob"))
		}
		b.fill("input[name=code]", s.code("bob"))
		b.click("form[action='/sign-in'] button")
		if b.path() != "/requests/"+r.ID {
			t.Errorf("paste %v: landed at %s", paste, b.path())
		}
		b.sees("nginx 502s", "approve")
	}
}

// A page never sends anybody to another site.
func TestNoOpenRedirect(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	for _, next := range []string{"//evil.example/", "https://evil.example/", "/\\evil.example", "/%09/evil.example"} {
		b := s.browser(t, 360)
		b.open(s.link(t, "bob") + "&next=" + next)
		b.fill("input[name=code]", s.code("bob"))
		b.click("form[action='/sign-in'] button")
		if got := eval[string](b, `location.origin`); got != s.URL {
			t.Errorf("next=%s leads to %s", next, got)
		}
	}
}

func TestDisabledUserIsOutAtOnce(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	b := s.browser(t, 1280).signIn("bob")
	u, err := s.DB.User(t.Context(), "Ubob")
	check(t, err)
	u.State = identity.Disabled
	check(t, s.DB.UpdateUser(t.Context(), u, audit.Event{Type: audit.UserDisabled, Outcome: audit.Success, Actor: audit.Gateway, User: u.ID}))
	b.sees("signed out") // without a click: the event stream ended
	if status := b.open("/"); status != 401 {
		t.Errorf("a disabled user's page answers %d", status)
	}
}
