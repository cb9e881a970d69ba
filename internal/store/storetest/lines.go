package storetest

import (
	"strings"
	"time"

	"jit-gateway/internal/store"
)

func lines(s *suite) {
	alice, bob := s.user("alice"), s.user("bob")
	s1 := s.session(s.liveGrant(alice, "web01"))
	s.now = s.now.Add(time.Hour)
	s2 := s.session(s.liveGrant(bob, "web02"))
	s.ok(s.IndexLines(s.ctx, s1.ID, []store.Line{
		{At: time.Second, Kind: "exec", Text: "systemctl restart nginx"},
		{At: 2 * time.Second, Kind: "output", Text: "Job for nginx.service failed"},
	}))
	s.ok(s.IndexLines(s.ctx, s1.ID, []store.Line{{At: 3 * time.Second, Kind: "output", Text: "tail /var/log/nginx/error.log"}}))
	s.ok(s.IndexLines(s.ctx, s2.ID, []store.Line{{At: time.Second, Kind: "sql", Text: "SELECT Name FROM Müller"}, {At: 2 * time.Second, Kind: "sql", Text: "nginx"}}))
	s.is(s.IndexLines(s.ctx, "S404", nil), store.ErrNotFound)

	type at struct {
		session string
		at      time.Duration
	}
	for query, c := range map[string]struct {
		f    store.LineFilter
		want []at
	}{
		"nginx":                {store.LineFilter{}, []at{{s2.ID, 2e9}, {s1.ID, 3e9}, {s1.ID, 2e9}, {s1.ID, 1e9}}},
		"NGINX ":               {store.LineFilter{Limit: 1}, []at{{s2.ID, 2e9}}},
		"nginx restart":        {store.LineFilter{}, []at{{s1.ID, 1e9}}},
		`"restart nginx"`:      {store.LineFilter{}, []at{{s1.ID, 1e9}}},
		`"nginx restart"`:      {store.LineFilter{}, nil},
		"/var/log/nginx":       {store.LineFilter{}, []at{{s1.ID, 3e9}}},
		"syst*":                {store.LineFilter{}, []at{{s1.ID, 1e9}}},
		"syst":                 {store.LineFilter{}, nil},
		"muller":               {store.LineFilter{}, []at{{s2.ID, 1e9}}},
		"nginx service":        {store.LineFilter{UserID: bob.ID}, nil},
		"nginx  ":              {store.LineFilter{Target: "web01", Kind: "output"}, []at{{s1.ID, 3e9}, {s1.ID, 2e9}}},
		" nginx":               {store.LineFilter{Session: s2.ID}, []at{{s2.ID, 2e9}}},
		"  nginx":              {store.LineFilter{Since: s1.StartedAt.Add(2 * time.Second), Until: s1.StartedAt.Add(3 * time.Second)}, []at{{s1.ID, 2e9}}},
		"nothing is like that": {store.LineFilter{}, nil},
	} {
		var got []at
		for _, h := range must(s.SearchLines(s.ctx, query, c.f))(s) {
			got = append(got, at{h.Session, h.At})
		}
		s.Logf("%q", query)
		same(s, got, c.want)
	}
	h := must(s.SearchLines(s.ctx, "failed", store.LineFilter{}))(s)[0]
	same(s, h, store.LineHit{
		Session: s1.ID, UserID: alice.ID, User: "alice", Target: "web01", StartedAt: s1.StartedAt, At: 2e9, Kind: "output",
		Text: "Job for nginx.service failed", Excerpt: "Job for nginx.service " + store.MarkStart + "failed" + store.MarkEnd,
	})

	s.ok(s.DropIndex(s.ctx, s1.ID))
	s.ok(s.DropIndex(s.ctx, s1.ID)) // again
	if hits := must(s.SearchLines(s.ctx, "nginx", store.LineFilter{}))(s); len(hits) != 1 || hits[0].Session != s2.ID {
		s.Errorf("after the drop: %+v", hits)
	}
}

// hostileQueries: what people type is never syntax, and what was recorded
// never forges a mark.
func hostileQueries(s *suite) {
	r := s.session(s.liveGrant(s.user("alice")))
	s.ok(s.IndexLines(s.ctx, r.ID, []store.Line{{Kind: "output", Text: "a \x02forged\x03 mark\x1b[31m \xff and " + strings.Repeat("long ", 5000) + "tail"}}))
	for _, q := range []string{`"`, `""`, `" OR 1`, `a AND`, `NEAR(a b)`, `text:x`, `a NOT b`, `(`, `^a`, `a + b`, `*`, `-- ;`, "a\x00b", `'; DROP TABLE lines; --`, strings.Repeat("word ", 200)} {
		if _, err := s.SearchLines(s.ctx, q, store.LineFilter{}); err != nil && !strings.Contains(err.Error(), "at least one word") {
			s.Errorf("query %q: %v", q, err)
		}
	}
	h := must(s.SearchLines(s.ctx, "forged", store.LineFilter{}))(s)
	if len(h) != 1 || strings.Count(h[0].Excerpt, store.MarkStart) != 1 || strings.ContainsAny(h[0].Text, "\x02\x03\x1b") {
		s.Errorf("hits: %+v", h)
	}
}
