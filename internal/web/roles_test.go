package web_test

import (
	"net/http"
	"strings"
	"testing"

	"jit-gateway/session"
)

// Who sees what: every page that reads, by every role. "-" is 404: whoever may
// not see a thing is not told that it is there. An auditor who cannot approve,
// an approver who sees no recording, an administrator who is neither: each is
// a column. TestEveryPostIsGuarded is the same for what changes something.
func TestEveryRole(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	row := s.shell(t)
	live := s.begin(t, "web02", "deploy", "roles", "ssh")
	s.more(t, row, live.Row())
	pending := s.ask(t, "web01", "admin", "roles", 0)
	path := map[string]string{"S": row.ID, "L": live.ID(), "R": pending.ID, "G": row.GrantID}
	who := []string{"alice", "bob", "dave", "carol", "dana"} // asks, approved, approves, audits, administrates
	clients := map[string]*http.Client{}
	for _, name := range who {
		clients[name] = s.httpSignIn(t, name)
	}
	seen := map[string]bool{}
	for _, c := range []struct{ pattern, path, may string }{
		{"GET /{$}", "/", "+++++"}, {"GET /access", "/access", "+++++"}, {"GET /requests", "/requests", "+++++"},
		{"GET /requests/{id}", "/requests/R", "+++++"}, {"GET /grants/{id}", "/grants/G", "+++++"},
		{"GET /live", "/live", "+++++"}, {"GET /sessions", "/sessions", "+++++"},
		// A live session: its user, who approved it, auditors, administrators; dave only could have approved it.
		{"GET /sessions/{id}", "/sessions/L", "++-++"},
		// One that has ended: auditors alone; its user knows of it, and sees nothing in it.
		{"", "/sessions/S", "+--+-"},
		{"GET /sessions/{id}/play", "/sessions/S/play", "---+-"}, {"", "/sessions/S/play?after=0&screen", "---+-"}, {"", "/sessions/L/play", "-----"},
		{"GET /sessions/{id}/download/{format}", "/sessions/S/download/container", "---+-"}, {"", "/sessions/S/download/text", "---+-"}, {"", "/sessions/S/download/cast3", "---+-"},
		{"", "/sessions/L/download/text", "-----"}, {"", "/sessions/S/download/other", "-----"},
		{"GET /grants/{id}/evidence", "/grants/G/evidence", "---+-"},
		{"GET /search", "/search?q=nginx", "---+-"},
		{"GET /findings", "/findings", "---++"}, {"GET /audit", "/audit", "---++"}, {"GET /audit/{seq}", "/audit/3", "---++"}, {"", "/audit/999999", "-----"}, {"", "/audit/x", "-----"},
		{"GET /audit/{seq}/leaf", "/audit/3/leaf", "---++"}, {"GET /audit/{seq}/proof", "/audit/3/proof", "---++"}, {"GET /audit/checkpoint", "/audit/checkpoint", "---++"},
		{"GET /report", "/report", "---++"}, {"GET /report/download", "/report/download?format=csv&from=2026-01-01&to=2026-01-02", "---++"},
		{"GET /admin", "/admin", "----+"}, {"GET /admin/users", "/admin/users", "----+"}, {"GET /admin/users/{name}", "/admin/users/alice", "----+"},
		{"GET /admin/targets", "/admin/targets", "----+"}, {"GET /admin/targets/{name}", "/admin/targets/web01", "----+"}, {"", "/admin/targets/none", "-----"},
		{"GET /admin/rules", "/admin/rules", "----+"}, {"GET /admin/rules/explain", "/admin/rules/explain", "----+"}, {"GET /admin/changes", "/admin/changes", "----+"},
	} {
		seen[c.pattern] = true
		p := c.path
		for k, id := range path {
			p = strings.ReplaceAll(p+"/", "/"+k+"/", "/"+id+"/")
			p = strings.TrimSuffix(p, "/")
		}
		if p == "" {
			p = "/"
		}
		for i, name := range who {
			want := 404
			if c.may[i] == '+' {
				want = 200
			}
			resp, err := clients[name].Get(s.URL + p)
			check(t, err)
			resp.Body.Close()
			if resp.StatusCode != want {
				t.Errorf("%s: %s answers %d, want %d", name, c.path, resp.StatusCode, want)
			}
		}
	}
	// What this table leaves out has a test of its own, or is one's own account.
	elsewhere := map[string]bool{"GET /events": true, "GET /ask": true, "GET /sessions/{id}/watch": true, "GET /static/": true, "GET /sign-in": true, "GET /enroll": true}
	for _, pattern := range s.web.Routes() {
		if strings.HasPrefix(pattern, "GET ") && !seen[pattern] && !elsewhere[pattern] && !strings.HasPrefix(pattern, "GET /you") && !strings.HasPrefix(pattern, "GET /oidc/") && !strings.HasSuffix(pattern, "/extend") {
			t.Errorf("nothing says who may see %s", pattern)
		}
	}
	// The lists, too, hold only what is for their reader.
	for name, want := range map[string]map[string]bool{
		"/sessions": {"alice": true, "carol": true, "bob": false, "dave": false, "dana": false},
	} {
		for user, may := range want {
			if got := strings.Contains(s.body(t, clients[user], name), row.ID); got != may {
				t.Errorf("%s sees the ended session in %s: %v", user, name, got)
			}
		}
	}
	for user, may := range map[string]bool{"alice": true, "bob": true, "carol": true, "dana": true, "dave": false} {
		if got := strings.Contains(s.body(t, clients[user], "/live"), live.ID()); got != may {
			t.Errorf("%s sees the live session: %v", user, got)
		}
	}
	// Auditors and administrators answer nothing: no form, and no way to post.
	for _, user := range []string{"carol", "dana", "alice"} {
		if strings.Contains(s.body(t, clients[user], "/requests/"+pending.ID), "/approve") {
			t.Errorf("%s is offered to approve", user)
		}
		if got := post(t, clients[user], s.URL+"/requests/"+pending.ID+"/approve", map[string][]string{"digest": {pending.Digest()}, "minutes": {"10"}, "code": {s.code(user)}}, nil); got != 403 {
			t.Errorf("%s approves: %d", user, got)
		}
	}
	if r, err := s.DB.Session(t.Context(), live.ID()); err != nil || r.State != session.Open {
		t.Errorf("the live session: %+v %v", r, err)
	}
}

func (s *site) body(t *testing.T, c *http.Client, path string) string {
	t.Helper()
	resp, err := c.Get(s.URL + path)
	check(t, err)
	defer resp.Body.Close()
	var b strings.Builder
	buf := make([]byte, 64<<10)
	for {
		n, err := resp.Body.Read(buf)
		b.Write(buf[:n])
		if err != nil {
			return b.String()
		}
	}
}
