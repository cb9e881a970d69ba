package web

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"time"

	"jit-gateway/approval/mfa"
	"jit-gateway/internal/audit"
	"jit-gateway/internal/identity"
	"jit-gateway/internal/identity/oidc"
	"jit-gateway/internal/store"
)

// OIDC signs people in through an identity provider; *oidc.SignIn is one.
type OIDC interface {
	Begin(ctx context.Context, next string) (address, cookie string, err error)
	Finish(ctx context.Context, answer url.Values, cookie, source string) (u identity.User, next string, err error)
}

// Elsewhere is how people sign in with an account that they have elsewhere.
type Elsewhere struct {
	Name string // of the provider, on the button
	OIDC OIDC
	// Links keeps the one-time link that a sign-in elsewhere ends in.
	Links interface {
		CreateLink(ctx context.Context, l store.Link, ev audit.Event) error
	}
}

// oidcCookie carries what was begun to the provider and back. It is Lax, since
// the way back comes from another site, sealed, and good once.
const oidcCookie = "__Host-jit-oidc"

// linkAfterOIDC is how long the code may take after a sign-in elsewhere.
const linkAfterOIDC = 5 * time.Minute

func (s *Server) elsewhereRoutes(plain func(string, http.HandlerFunc)) {
	if s.o.Elsewhere.OIDC == nil {
		return
	}
	plain("GET /oidc/start", s.beginElsewhere) // guesses nothing, and costs a cookie
	plain("GET /oidc/callback", s.limited(s.finishElsewhere))
}

func keepOIDC(w http.ResponseWriter, value string, seconds int) {
	http.SetCookie(w, &http.Cookie{Name: oidcCookie, Value: value, Path: "/", Secure: true, HttpOnly: true, SameSite: http.SameSiteLaxMode, MaxAge: seconds})
}

// beginElsewhere sends the browser to the provider. It is a link and no form:
// a form's redirect to another site would be refused by our own CSP.
func (s *Server) beginElsewhere(w http.ResponseWriter, r *http.Request) {
	address, cookie, err := s.o.Elsewhere.OIDC.Begin(r.Context(), safePath(r.URL.Query().Get("next")))
	if err != nil {
		s.o.Logger.Error("begin a sign-in at the identity provider", "error", err)
		s.notElsewhere(w, r, http.StatusServiceUnavailable, "The identity provider does not answer now. Try again in a while, or ask for a link with: ssh "+s.o.Name+" web")
		return
	}
	keepOIDC(w, cookie, 600)
	http.Redirect(w, r, address, http.StatusSeeOther)
}

// finishElsewhere takes somebody back from the provider. That is no sign-in
// yet: it ends in a one-time link of ours, whose page asks for a code or a passkey. Who has
// neither is told how to get them.
func (s *Server) finishElsewhere(w http.ResponseWriter, r *http.Request) {
	keep := ""
	if c, err := r.Cookie(oidcCookie); err == nil {
		keep = c.Value
	}
	keepOIDC(w, "", -1)
	ctx := r.Context()
	u, next, err := s.o.Elsewhere.OIDC.Finish(ctx, r.URL.Query(), keep, sourceOf(r))
	var refusal *oidc.Refusal
	switch {
	case errors.Is(err, oidc.ErrFlow), errors.As(err, &refusal):
		s.notElsewhere(w, r, http.StatusForbidden, sentence(err))
		return
	case err != nil:
		s.o.Logger.Error("finish a sign-in at the identity provider", "error", err)
		s.notElsewhere(w, r, http.StatusServiceUnavailable, "The sign-in could not be finished now. Try again in a while.")
		return
	}
	next = safePath(next)
	factors, err := s.o.MFA.Factors(ctx, u.ID)
	if err != nil {
		s.fail(w, r, nil, err)
		return
	}
	if !enrolled(factors) {
		s.render(w, r, nil, http.StatusOK, "welcome", map[string]any{"U": u})
		return
	}
	token := newToken()
	ev := audit.Event{Type: audit.PageLinkMade, Outcome: audit.Success, User: u.ID, Reason: "signed in at the identity provider",
		Actor: audit.Actor{ID: u.ID, Name: u.Name, Source: sourceOf(r), Via: "oidc"}}
	link := store.Link{Hash: hashToken(token), UserID: u.ID, Source: sourceOf(r), ExpiresAt: s.o.Now().Add(linkAfterOIDC)}
	if err := s.o.Elsewhere.Links.CreateLink(ctx, link, ev); err != nil {
		s.fail(w, r, nil, err)
		return
	}
	http.Redirect(w, r, "/sign-in?"+url.Values{"t": {token}, "next": {next}}.Encode(), http.StatusSeeOther)
}

// enrolled reports whether there is a factor to sign in with.
func enrolled(factors []mfa.Factor) bool {
	for _, f := range factors {
		if f.Kind == mfa.TOTP || f.Kind == mfa.Passkey {
			return true
		}
	}
	return false
}

func (s *Server) notElsewhere(w http.ResponseWriter, r *http.Request, status int, msg string) {
	s.render(w, r, nil, status, "sign-in", map[string]any{"Error": msg, "Next": "/"})
}
