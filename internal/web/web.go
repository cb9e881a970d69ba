// Package web is the page: approve on a phone, watch, replay, prove.
//
// It is server-rendered and works without JavaScript for every essential act;
// one stylesheet and one ES module, both embedded, make it pleasant. What a
// user may see or do is decided by package approval, never here.
//
// What it refuses: a request from another site (http.CrossOriginProtection
// and SameSite=Strict cookies), a script that is not its own (CSP), an act
// that changes access without a fresh second factor (each such form carries a
// code of its own; the code of the sign-in is not that of an act), a page
// session whose user was disabled or whose key was removed.
//
// Start reading at Server.routes.
package web

import (
	"context"
	"errors"
	"html/template"
	"io"
	"log/slog"
	"net/http"
	"time"

	"jit-gateway/approval"
	"jit-gateway/approval/mfa"
	"jit-gateway/internal/audit"
	"jit-gateway/internal/identity"
	"jit-gateway/internal/inventory"
	"jit-gateway/internal/store"
	"jit-gateway/recording"
	"jit-gateway/session"
)

// Options builds a Server. All fields are required unless said otherwise.
type Options struct {
	Name       string                   // the gateway's host name, for people
	Enroll     func(code string) string // what somebody with a one-time code runs
	URL        string                   // https://host:port of the page
	Approvals  *approval.Service
	MFA        *mfa.Verifier
	Users      identity.Store
	Inventory  inventory.Inventory
	Pages      Pages
	Sessions   Sessions
	Rows       session.Store
	Recordings *recording.Dir
	Feed       audit.Source
	Log        interface {
		Append(ctx context.Context, ev audit.Event) (audit.Event, error)
	}
	Now    func() time.Time
	Logger *slog.Logger

	// What follows may be nil: then the page does not offer it.
	Tokens    Tokens
	Audit     AuditLog
	Findings  func(ctx context.Context, f store.FindingFilter) ([]store.Finding, error)
	Search    func(ctx context.Context, query string, f store.LineFilter) ([]store.LineHit, error)
	Evidence  func(ctx context.Context, c approval.Caller, grantID string, w io.Writer) error // audits
	People    People
	Elsewhere Elsewhere
	Admin
}

// Sessions is what the page needs of the session manager.
type Sessions interface {
	Terminate(ctx context.Context, id string, t session.Termination) error
	Get(id string) (*session.Session, bool) // live, on this gateway
	Live() []session.Info
}

// Server serves the page.
type Server struct {
	o       Options
	tmpl    map[string]*template.Template
	assets  map[string]asset
	mux     http.Handler
	looks   looks
	streams streams
	beat    time.Duration // how often a stream without events says that it is alive
	limits  limits
	routed  []string // patterns, for tests
}

// New returns a Server, or an error that names the missing option.
func New(o Options) (*Server, error) {
	switch {
	case o.Approvals == nil, o.MFA == nil, o.Users == nil, o.Inventory == nil, o.Pages == nil,
		o.Sessions == nil, o.Rows == nil, o.Recordings == nil, o.Feed == nil, o.Log == nil:
		return nil, errors.New("web: an option is missing")
	case o.Enroll == nil:
		return nil, errors.New("web: what somebody with a one-time code runs is missing")
	case o.URL == "":
		return nil, errors.New("web: the page's URL is missing")
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	s := &Server{o: o, beat: beat}
	var err error
	if s.assets, err = loadAssets(); err != nil {
		return nil, err
	}
	if err := s.parseTemplates(); err != nil {
		return nil, err
	}
	if s.limits, err = newLimits(o.Now); err != nil {
		return nil, err
	}
	s.mux = s.secure(s.routes())
	return s, nil
}

// ServeHTTP implements http.Handler.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.mux.ServeHTTP(w, r) }

// routes is the table of contents. Patterns with GET never change anything.
func (s *Server) routes() *http.ServeMux {
	m := http.NewServeMux()
	plain := func(pattern string, h http.HandlerFunc) {
		s.routed = append(s.routed, pattern)
		m.HandleFunc(pattern, h)
	}
	page := func(pattern string, h handle) { plain(pattern, s.withViewer(h)) }

	plain("GET /static/", s.static)
	plain("GET /sign-in", s.signInForm)
	plain("POST /sign-in", s.limited(s.signIn))
	plain("POST /sign-out", s.signOut)
	s.personRoutes(plain, page)
	s.elsewhereRoutes(plain)
	page("GET /{$}", s.inbox)
	page("GET /events", s.events)
	page("GET /access", s.access)
	page("GET /ask", s.askForm)
	page("GET /requests", s.requests)
	page("POST /requests", s.file)
	page("GET /requests/{id}", s.request)
	page("POST /requests/{id}/approve", s.approve)
	page("POST /requests/{id}/deny", s.deny)
	page("POST /requests/{id}/withdraw", s.withdraw)
	page("GET /grants/{id}", s.grant)
	page("GET /grants/{id}/evidence", s.evidence)
	page("POST /grants/{id}/activate", s.activate)
	page("POST /grants/{id}/token", s.token)
	page("POST /grants/{id}/release", s.release)
	page("GET /live", s.live)
	page("GET /sessions", s.sessions)
	page("GET /sessions/{id}", s.session)
	page("GET /sessions/{id}/play", s.play)
	page("GET /sessions/{id}/download/{format}", s.download)
	page("GET /sessions/{id}/watch", s.watch)
	page("POST /sessions/{id}/terminate", s.terminate)
	page("GET /search", s.search)
	page("GET /audit", s.audit)
	page("GET /audit/checkpoint", s.checkpoint)
	page("GET /audit/{seq}", s.event)
	page("GET /audit/{seq}/leaf", s.leaf)
	page("GET /audit/{seq}/proof", s.inclusion)
	page("GET /report", s.report)
	page("GET /report/download", s.downloadReport)
	s.adminRoutes(page)
	page("GET /findings", s.findings)
	page("POST /findings/{id}/acknowledge", s.acknowledge)
	return m
}
