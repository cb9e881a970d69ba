package web_test

import (
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"jit-gateway/approval"
)

// free are the posts that change no access, or only take the poster's own away:
// they need no fresh second factor. All else does; a new route that is in
// neither way refused fails the test below.
var free = map[string]string{
	"POST /sign-in":                    "takes a link and a code of its own",
	"POST /sign-in/passkey/begin":      "begins a dialogue",
	"POST /sign-in/passkey":            "takes an assertion of its own",
	"POST /sign-out":                   "ends this browser's session",
	"POST /enroll/begin":               "begins a dialogue, for who has a one-time code",
	"POST /enroll":                     "takes a one-time code",
	"POST /passkey/begin":              "begins a dialogue",
	"POST /you/passkeys/begin":         "begins a dialogue",
	"POST /you/factors/{id}/rename":    "a name for people",
	"POST /you/keys/check":             "shows what to sign",
	"POST /you/browsers/sign-out":      "ends one's own sessions",
	"POST /requests":                   "asks; an approval and a code follow",
	"POST /grants/{id}/extend":         "asks; an approval follows",
	"POST /requests/{id}/withdraw":     "takes one's own request back",
	"POST /grants/{id}/release":        "gives one's own access up",
	"POST /findings/{id}/acknowledge":  "notes that somebody looked",
	"POST /admin/targets/{name}/check": "looks at a target",
	"POST /admin/rules/explain":        "explains",
}

// Every post of the page is refused to strangers, to other sites however they
// dress, and, where it changes access, without a fresh second factor; and
// nothing has changed afterwards.
func TestEveryPostIsGuarded(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	pending := s.ask(t, "web02", "deploy", "guarded", 0)
	live := s.begin(t, "web01", "deploy", "guarded", "ssh")
	waiting := s.approve(t, s.ask(t, "orders", "orders_ro", "guarded", 0))
	ids := map[string]string{"requests": pending.ID, "sessions": live.ID(), "you": "F1", "findings": "N1", "admin": "carol"}
	at := func(pattern string) string {
		path := strings.TrimPrefix(pattern, "POST ")
		kind := strings.Split(path, "/")[1]
		id := ids[kind]
		if kind == "grants" {
			if id = live.Row().GrantID; strings.HasSuffix(path, "/activate") {
				id = waiting.GrantID
			}
		}
		for _, name := range []string{"{id}", "{name}", "{user}", "{target}"} {
			path = strings.ReplaceAll(path, name, id)
		}
		return s.URL + path
	}
	stranger := insecure()
	users := map[string]*http.Client{}
	for _, name := range []string{"alice", "bob", "carol", "dana"} {
		users[name] = s.httpSignIn(t, name)
	}
	last, err := s.DB.LastSeq(t.Context())
	check(t, err)
	posts := 0
	for _, pattern := range s.web.Routes() {
		if !strings.HasPrefix(pattern, "POST ") {
			if !strings.HasPrefix(pattern, "GET ") {
				t.Errorf("%s: say which method", pattern)
			}
			continue
		}
		posts++
		full := url.Values{"digest": {pending.Digest()}, "reason": {"because"}, "note": {"looked"}, "minutes": {"10"}, "target": {"orders"}, "pick": {pending.ID + ":" + pending.Digest()},
			"agree": {"on"}, "fingerprint": {"SHA256:x"}, "name": {"x"}}
		for what, header := range map[string]http.Header{
			"another site": {"Sec-Fetch-Site": {"cross-site"}}, "a sibling site": {"Sec-Fetch-Site": {"same-site"}},
			"another origin": {"Origin": {"https://evil.example"}}, "no origin": {"Origin": {"null"}},
		} {
			if got := post(t, users["alice"], at(pattern), full, header); got != 403 {
				t.Errorf("%s from %s answers %d", pattern, what, got)
			}
		}
		if free[pattern] == "" || strings.HasPrefix(free[pattern], "ends one's") {
			if got := post(t, stranger, at(pattern), full, nil); got != 401 {
				t.Errorf("%s of a stranger answers %d", pattern, got)
			}
		}
		if free[pattern] != "" {
			continue
		}
		for name, c := range users {
			for _, code := range []string{"", "x"} { // none, and what is none
				form := url.Values{}
				for k, v := range full {
					form[k] = v
				}
				form.Set("code", code)
				got := post(t, c, at(pattern), form, nil)
				if got != 403 && got != 404 && got != 400 && got != 409 {
					t.Errorf("%s as %s with the code %q answers %d", pattern, name, code, got)
				}
			}
			s.skew.Add(int64(2 * time.Hour / 1000)) // a wrong code locks for a while; nothing here waits for it
		}
	}
	if posts < 25 {
		t.Errorf("only %d posts were tried", posts)
	}
	for pattern := range free {
		if strings.Contains(pattern, "/admin/") { // of administrators' pages; they may have other names
			continue
		}
		if !slices.Contains(s.web.Routes(), pattern) {
			t.Errorf("%s is no route any more", pattern)
		}
	}
	// Nothing but refusals and reading is in the log since.
	evs, err := s.DB.Events(t.Context(), last, 10000)
	check(t, err)
	for _, ev := range evs {
		switch t1 := string(ev.Type); {
		case strings.HasPrefix(t1, "factor.failed"), strings.HasPrefix(t1, "factor.locked"), t1 == "audit.read", t1 == "gateway.heartbeat", ev.Outcome == "denied":
		default:
			t.Errorf("an event came of it: %s %+v", ev.Type, ev)
		}
	}
	r, err := s.DB.Request(t.Context(), pending.ID)
	check(t, err)
	if r.State != approval.Pending || len(r.Votes) != 0 {
		t.Errorf("the request is %s", r.State)
	}
}

// httpSignIn signs in without a browser.
func (s *site) httpSignIn(t *testing.T, user string) *http.Client {
	t.Helper()
	c := insecure()
	jar, err := cookiejar.New(nil)
	check(t, err)
	c.Jar = jar
	link, err := url.Parse(s.link(t, user))
	check(t, err)
	if got := post(t, c, s.URL+"/sign-in", url.Values{"t": {link.Query().Get("t")}, "code": {s.code(user)}}, nil); got != 303 {
		t.Fatalf("signing %s in answers %d", user, got)
	}
	return c
}

func post(t *testing.T, c *http.Client, to string, form url.Values, header http.Header) int {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, to, strings.NewReader(form.Encode()))
	check(t, err)
	for k, v := range header {
		req.Header[k] = v
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	resp, err := c.Do(req)
	check(t, err)
	io.Copy(io.Discard, resp.Body)
	resp.Body.Close()
	return resp.StatusCode
}

// Whoever tries too often from one place waits, whatever they try; others do not.
func TestSignInIsLimited(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	got := map[int]int{}
	for range 30 {
		got[post(t, insecure(), s.URL+"/sign-in", url.Values{"t": {"guess"}, "code": {"123456"}}, nil)]++
	}
	if got[403] < 15 || got[429] < 5 || len(got) != 2 {
		t.Errorf("thirty tries answer %v", got)
	}
	if got := post(t, insecure(), s.URL+"/sign-in/passkey/begin", nil, nil); got != 429 {
		t.Errorf("the passkeys' door answers %d", got)
	}
	s.skew.Add(int64(time.Minute))
	if got := post(t, insecure(), s.URL+"/sign-in/passkey/begin", nil, nil); got != 200 {
		t.Errorf("a minute later the page answers %d", got)
	}
}
