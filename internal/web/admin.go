package web

import (
	"context"
	"io"
	"net/http"
	"time"

	"jit-gateway/approval/policy"
	"jit-gateway/internal/admin"
	"jit-gateway/internal/audit"
	"jit-gateway/internal/inventory"
)

// Admin is what the pages for administrators and auditors show. What is nil is
// not offered.
type Admin struct {
	Changes *admin.Service     // makes what administrators change; a second one confirms
	Rules   func() *policy.Set // as they are loaded now
	// Check looks at a target: see `target check`.
	Check func(ctx context.Context, t inventory.Target, standing bool) ([]CheckResult, error)
	// Report writes the access report: who had what, how long, and who approved.
	Report func(ctx context.Context, q ReportQuery, format string, w io.Writer) error
	// Health says how the gateway itself is.
	Health func(ctx context.Context) []Health
	// Leaf and Prove return an event as the log has it, and the proof that it is
	// in the log of the checkpoint.
	Prove func(ctx context.Context, seq int64, c audit.Checkpoint) (leaf, proof []byte, err error)
}

// CheckResult is one thing that was looked at on a target.
type CheckResult struct {
	What   string
	OK     bool
	Detail string
	Fix    string // what to do, lines
}

// ReportQuery is what an access report covers.
type ReportQuery struct {
	From, To time.Time
}

// Health is one finding about the gateway itself.
type Health struct {
	Area    string // store, recordings, log, clock, certificates, …
	Subject string
	Level   string // ok, warn, fail
	Text    string
	Fix     string
}

// administrator wraps a page that is for administrators alone. For everybody
// else there is nothing.
func (s *Server) administrator(h func(http.ResponseWriter, *http.Request, *viewer) error) func(http.ResponseWriter, *http.Request, *viewer) error {
	return func(w http.ResponseWriter, r *http.Request, v *viewer) error {
		if !v.Admin {
			return errNotFound
		}
		return h(w, r, v)
	}
}

// by is the viewer as package admin knows who acts.
func (v *viewer) by() admin.By { return admin.By{User: v.User, Actor: v.actor()} }

// adminRoutes are the pages of administrators.
func (s *Server) adminRoutes(page func(string, func(http.ResponseWriter, *http.Request, *viewer) error)) {
	only := func(pattern string, h func(http.ResponseWriter, *http.Request, *viewer) error) {
		page(pattern, s.administrator(h))
	}
	only("GET /admin", s.health)
	only("GET /admin/users", s.users)
	only("GET /admin/users/{name}", s.user)
	only("POST /admin/users/{name}/disable", s.disableUser)
	only("POST /admin/users/{name}/enable", s.enableUser)
	only("POST /admin/users/{name}/groups", s.regroupUser)
	only("POST /admin/users/{name}/invite", s.inviteUser)
	only("GET /admin/targets", s.targets)
	only("GET /admin/targets/{name}", s.target)
	only("POST /admin/targets/{name}/check", s.checkTarget)
	only("GET /admin/rules", s.rules)
	only("GET /admin/rules/explain", s.explain)
	only("GET /admin/changes", s.changes)
	only("POST /admin/changes/{id}", s.decideChange)
}
