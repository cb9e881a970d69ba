package web_test

import (
	"context"
	"io"
	"testing"
	"time"

	"jit-gateway/approval"
	"jit-gateway/internal/store"
	"jit-gateway/internal/web"
	"jit-gateway/session"
)

// options adds what the page needs beyond its first view.
func (s *site) options(o web.Options) web.Options {
	o.Tokens, o.Audit, o.Search, o.Findings = s.Tokens, s.DB, s.DB.SearchLines, s.DB.Findings
	o.Evidence = func(_ context.Context, _ approval.Caller, grant string, w io.Writer) error {
		_, err := io.WriteString(w, "PK pack of "+grant)
		return err
	}
	return o
}

// more are the pages beyond the first view.
func (s *site) more(t *testing.T, ended, live session.Row) []view {
	check(t, s.DB.IndexLines(t.Context(), ended.ID, []store.Line{{At: 30 * time.Millisecond, Kind: "o", Text: "$ sudo systemctl restart nginx <b>"}}))
	return []view{{"access", "alice", "/access"}, {"ask", "alice", "/ask?target=web01&login=deploy"},
		{"grant", "alice", "/grants/" + live.GrantID}, {"audit", "carol", "/audit?user=alice"}, {"search", "carol", "/search?q=nginx"}, {"findings", "carol", "/findings"}}
}
