package web

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"net"
	"net/http"
	"strings"
	"time"

	"jit-gateway/approval"
	"jit-gateway/internal/audit"
	"jit-gateway/internal/identity"
	"jit-gateway/internal/store"
)

const (
	cookieName   = "__Host-jit"
	pageLifetime = 12 * time.Hour // of a page session, however busy
	pageIdle     = time.Hour
	touchEvery   = time.Minute
)

// Pages keeps page sessions and one-time links. Both stores implement it.
type Pages interface {
	CreatePageSession(ctx context.Context, p store.PageSession, ev audit.Event) error
	PageSession(ctx context.Context, id string) (store.PageSession, error) // store.ErrNotFound
	TouchPageSession(ctx context.Context, id string, seen time.Time) error
	DeletePageSession(ctx context.Context, id string, ev audit.Event) error
	// Link finds a link that can still be used: store.ErrNotFound otherwise.
	Link(ctx context.Context, hash []byte, now time.Time) (store.Link, error)
	// UseLink spends it: store.ErrConflict if it was spent or has expired.
	UseLink(ctx context.Context, hash []byte, now time.Time, ev audit.Event) error
}

// viewer is the signed-in user of one HTTP request, read afresh.
type viewer struct {
	identity.User
	page    store.PageSession
	Seq     int64 // of the log when the page was asked for: where its stream begins
	Admin   bool
	Auditor bool
}

func (v *viewer) caller() approval.Caller {
	return approval.Caller{UserID: v.ID, Source: v.page.Source, Via: "web"}
}

func (v *viewer) actor() audit.Actor {
	return audit.Actor{ID: v.ID, Name: v.Name, Source: v.page.Source, Via: "web"}
}

// withViewer signs in, or shows how to, then renders h's error if it has one.
func (s *Server) withViewer(h func(http.ResponseWriter, *http.Request, *viewer) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		v, err := s.viewer(r)
		if err != nil {
			s.notSignedIn(w, r, err)
			return
		}
		if v.Seq, err = s.o.Feed.LastSeq(r.Context()); err != nil {
			s.fail(w, r, v, err)
			return
		}
		switch err := h(w, r, v); {
		case errors.Is(err, errNotSignedIn):
			s.notSignedIn(w, r, err)
		case err != nil:
			s.fail(w, r, v, err)
		}
	}
}

var errNotSignedIn = errors.New("not signed in")

// viewer reads the page session and its user; any doubt is errNotSignedIn.
func (s *Server) viewer(r *http.Request) (*viewer, error) {
	c, err := r.Cookie(cookieName)
	if err != nil {
		return nil, errNotSignedIn
	}
	ctx, now := r.Context(), s.o.Now()
	p, err := s.o.Pages.PageSession(ctx, pageID(c.Value))
	if errors.Is(err, store.ErrNotFound) {
		return nil, errNotSignedIn
	} else if err != nil {
		return nil, err
	}
	if !now.Before(p.ExpiresAt) || now.Sub(p.LastSeen) > pageIdle {
		return nil, errNotSignedIn
	}
	u, err := s.o.Users.User(ctx, p.UserID)
	if err != nil || !u.Usable(now) {
		return nil, errNotSignedIn
	}
	if p.KeyFingerprint != "" { // a key that was removed takes its page sessions along
		if owner, _, err := s.o.Users.UserByKey(ctx, p.KeyFingerprint); err != nil || owner.ID != u.ID {
			return nil, errNotSignedIn
		}
	}
	if now.Sub(p.LastSeen) > touchEvery && !byItself(r) {
		if err := s.o.Pages.TouchPageSession(ctx, p.ID, now); err != nil {
			return nil, err
		}
	}
	p.Source = sourceOf(r)
	return &viewer{User: u, page: p, Admin: s.o.Approvals.IsAdmin(u), Auditor: s.o.Approvals.IsAuditor(u)}, nil
}

// byItself reports whether a script asks while nobody does anything: the stream
// of changes, and looking again after one. A page that lies open is no use of
// it. A replay and watching are; they began with a click.
func byItself(r *http.Request) bool {
	return r.Method == http.MethodGet && r.Header.Get("Sec-Fetch-Dest") == "empty" &&
		r.Pattern != "GET /sessions/{id}/play" && r.Pattern != "GET /sessions/{id}/watch"
}

// notSignedIn answers a page that needs a viewer. Strict cookies are absent
// when a link in a mail or chat was followed; one refresh from our own page
// brings them, so that deep links survive.
func (s *Server) notSignedIn(w http.ResponseWriter, r *http.Request, err error) {
	if !errors.Is(err, errNotSignedIn) {
		s.fail(w, r, nil, err)
		return
	}
	if r.Method != http.MethodGet || r.Header.Get("Sec-Fetch-Dest") == "empty" || r.Header.Get("Accept") == "text/event-stream" { // a form or a script
		http.Error(w, "Signed out. Open the page again to sign in.", http.StatusUnauthorized)
		return
	}
	next := safePath(r.URL.RequestURI())
	if r.Header.Get("Sec-Fetch-Site") == "cross-site" {
		s.render(w, r, nil, http.StatusOK, "refresh", map[string]any{"Next": next})
		return
	}
	if next != "/" {
		rememberNext(w, next, 900)
	}
	s.render(w, r, nil, http.StatusUnauthorized, "sign-in", map[string]any{"Next": next})
}

// safePath is p if it is a path on this site, else "/".
func safePath(p string) string {
	if !strings.HasPrefix(p, "/") || strings.HasPrefix(p, "//") || strings.ContainsAny(p, "\\\r\n\t") {
		return "/"
	}
	return p
}

func hashToken(token string) []byte {
	sum := sha256.Sum256([]byte(token))
	return sum[:]
}

// pageID is how the store knows a cookie: its hash.
func pageID(cookie string) string { return hex.EncodeToString(hashToken(cookie)) }

func newToken() string {
	b := make([]byte, 32)
	rand.Read(b)
	return base64.RawURLEncoding.EncodeToString(b)
}

func sourceOf(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	return host
}
