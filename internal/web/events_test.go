package web_test

import (
	"bufio"
	"context"
	"io"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"jit-gateway/approval"
	"jit-gateway/internal/audit"
	"jit-gateway/internal/identity"
	"jit-gateway/internal/web"
)

// stands is up to where a page says that it knows the log.
func (s *site) stands(t *testing.T, c *http.Client) string {
	t.Helper()
	page := s.body(t, c, "/")
	seq := regexp.MustCompile(`data-live="(\d+)"`).FindStringSubmatch(page)
	if seq == nil {
		t.Fatalf("the page does not say where it stands: %s", page)
	}
	return seq[1]
}

// stream opens the stream of changes as a browser does.
func (s *site) stream(t *testing.T, c *http.Client, after string) *http.Response {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), wait)
	t.Cleanup(cancel)
	resp, err := c.Do(s.byScript(t, ctx, "/events?after="+after))
	check(t, err)
	t.Cleanup(func() { resp.Body.Close() })
	return resp
}

// byScript is a request that a page's script makes by itself.
func (s *site) byScript(t *testing.T, ctx context.Context, path string) *http.Request {
	t.Helper()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.URL+path, nil)
	check(t, err)
	req.Header.Set("Sec-Fetch-Site", "same-origin")
	req.Header.Set("Sec-Fetch-Dest", "empty")
	return req
}

// told is the first thing of a kind that a stream says.
func told(t *testing.T, resp *http.Response, field string) string {
	t.Helper()
	for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
		if text, ok := strings.CutPrefix(lines.Text(), field+": "); ok {
			return text
		}
	}
	t.Fatalf("the stream ended without %s", field)
	return ""
}

// A page hears of what its viewer may see. Not even that others did something
// is told.
func TestStreamTellsWhatConcernsTheViewer(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	check(t, s.DB.CreateUser(t.Context(), identity.User{ID: "Ueve", Name: "eve", Kind: identity.Human, State: identity.Active, Groups: []string{"engineers"}, CreatedAt: s.Clock.Now()},
		audit.Event{Type: audit.UserAdded, Outcome: audit.Success, User: "Ueve"}))
	mine := s.ask(t, "web02", "deploy", "alice's", 0)
	streams := map[string]*http.Response{}
	for _, name := range []string{"alice", "bob", "carol"} {
		c := s.httpSignIn(t, name)
		streams[name] = s.stream(t, c, s.stands(t, c))
	}
	_, err := s.approvals.File(t.Context(), caller("eve"), approval.Ask{Targets: []string{"web01"}, Login: "deploy", Reason: "eve's"})
	check(t, err)
	for _, name := range []string{"bob", "carol"} { // who may approve it, and who audits
		if got := told(t, streams[name], "data"); got != "request.filed" {
			t.Errorf("%s is told of %q", name, got)
		}
	}
	_, err = s.approvals.Deny(t.Context(), caller("bob"), mine.ID, "no", s.proof(t, "bob"))
	check(t, err)
	if got := told(t, streams["alice"], "data"); got != "request.denied" {
		t.Errorf("the first that alice is told of is %q", got)
	}
}

// A form that is refused writes the refusal down, and must not be told of it:
// it would look again, be refused again, and so on for ever.
func TestRefusedFormDoesNotLookAgain(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	c := s.httpSignIn(t, "alice")
	after := s.stands(t, c)
	resp, err := c.Get(s.URL + "/ask?target=nosuch&login=x")
	check(t, err)
	resp.Body.Close()
	if resp.StatusCode < 400 {
		t.Fatalf("the form was not refused: %d", resp.StatusCode)
	}
	s.ask(t, "web01", "deploy", "a real change", 0)
	if got := told(t, s.stream(t, c, after), "data"); got != "request.filed" {
		t.Errorf("the page was told of %q", got)
	}
}

// What happens after a page was made and before its stream begins is told.
func TestNothingIsMissedBeforeTheStream(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	c := s.httpSignIn(t, "bob")
	here := s.stands(t, c)
	s.ask(t, "web01", "deploy", "in between", 0)
	for _, after := range []string{here, "-99999999", "nonsense", "99999999999"} {
		resp := s.stream(t, c, after)
		if resp.StatusCode != 200 {
			t.Fatalf("after %s the stream answers %d", after, resp.StatusCode)
		}
		if after == here {
			if got := told(t, resp, "event"); got != "changed" {
				t.Errorf("the stream begins with %q", got)
			}
		}
		resp.Body.Close()
	}
}

// A stream on which nothing happens says that it lives, and ends with the
// sign-in.
func TestQuietStream(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.web.Beat(20 * time.Millisecond)
	c := s.httpSignIn(t, "bob")
	resp := s.stream(t, c, s.stands(t, c))
	line, err := bufio.NewReader(io.LimitReader(resp.Body, 1)).ReadByte()
	if err != nil || line != ':' {
		t.Fatalf("a quiet stream says %q, %v", line, err)
	}
	s.skew.Add(int64(13 * time.Hour))
	if got := told(t, resp, "event"); got != "out" {
		t.Errorf("the stream of somebody who is signed out says %q", got)
	}
}

// Nobody takes the gateway's memory with streams.
func TestStreamsAreLimited(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	c := s.httpSignIn(t, "bob")
	after := s.stands(t, c)
	var last *http.Response
	for range web.MaxStreams {
		if last = s.stream(t, c, after); last.StatusCode != 200 {
			t.Fatalf("a stream answers %d", last.StatusCode)
		}
	}
	if got := s.stream(t, c, after).StatusCode; got != 429 {
		t.Errorf("one stream too many answers %d", got)
	}
	if got := s.stream(t, s.httpSignIn(t, "dave"), after).StatusCode; got != 200 {
		t.Errorf("somebody else's stream answers %d", got)
	}
	last.Body.Close()
	for deadline := time.Now().Add(wait); s.stream(t, c, after).StatusCode != 200; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("a stream that was closed still counts")
		}
	}
}

// A page that lies open looks again by itself. That is no use of it: after an
// hour without any its browser is signed out.
func TestAnOpenPageIsNotInUse(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	ctx := t.Context()
	idle, used := s.httpSignIn(t, "bob"), s.httpSignIn(t, "bob")
	for range 4 {
		s.skew.Add(int64(20 * time.Minute))
		resp, err := idle.Do(s.byScript(t, ctx, "/"))
		check(t, err)
		resp.Body.Close()
		resp, err = used.Get(s.URL + "/")
		check(t, err)
		resp.Body.Close()
		if resp.StatusCode != 200 {
			t.Fatalf("a page in use answers %d", resp.StatusCode)
		}
	}
	resp, err := idle.Do(s.byScript(t, ctx, "/"))
	check(t, err)
	resp.Body.Close()
	if resp.StatusCode != 401 || resp.Header.Get("Set-Cookie") != "" { // what a script wanted is no place to sign in to
		t.Errorf("after 80 minutes alone the page answers %d, %v", resp.StatusCode, resp.Header)
	}
}
