package web

import (
	"fmt"
	"html/template"
	"strings"
	"time"

	"jit-gateway/approval/policy"
	"jit-gateway/internal/admin"
)

// adminFuncs are what the pages of auditors and administrators need in
// templates beyond the rest.
func (s *Server) adminFuncs() template.FuncMap {
	return template.FuncMap{
		"cause":   cause,
		"may":     s.offers,
		"under":   under,
		"address": admin.Address,
		"hit":     hitURL,
		"either": func(ok bool, yes, no string) string {
			if ok {
				return yes
			}
			return no
		},
		"level":     func(l string) string { return map[string]string{"ok": "good", "warn": "warn", "fail": "bad"}[l] },
		"plain":     func(d policy.Duration) time.Duration { return time.Duration(d) },
		"day":       func(t time.Time) string { return t.UTC().Format("2 Jan 2006") },
		"words":     func(v any) string { return strings.ReplaceAll(fmt.Sprint(v), "_", " ") },
		"inc64":     func(n int64) int64 { return n + 1 },
		"textlines": func(t string) []string { return strings.Split(strings.TrimSpace(t), "\n") },
	}
}

// under reports whether a path is one of those, or below one.
func under(path string, roots ...string) bool {
	for _, r := range roots {
		if path == r || strings.HasPrefix(path, r+"/") {
			return true
		}
	}
	return false
}

// offers reports whether the page has something to show the viewer there.
// It decides what is linked; whoever asks for it is asked again.
func (s *Server) offers(v *viewer, what string) bool {
	if v == nil {
		return false
	}
	switch what {
	case "search":
		return s.o.Search != nil && v.Auditor
	case "findings":
		return s.o.Findings != nil && (v.Auditor || v.Admin)
	case "audit":
		return s.o.Audit != nil && (v.Auditor || v.Admin)
	case "admin":
		return v.Admin
	case "changes":
		return s.o.Changes != nil && v.Admin
	case "report":
		return s.o.Report != nil && (v.Auditor || v.Admin)
	}
	return false
}
