package web

import (
	"errors"
	"net/http"
	"net/url"
	"strings"

	"jit-gateway/internal/audit"
	"jit-gateway/internal/store"
)

// signInForm shows the form of a one-time link. Opening it spends nothing:
// link previews in chats open links too.
func (s *Server) signInForm(w http.ResponseWriter, r *http.Request) {
	next := safePath(r.URL.Query().Get("next"))
	if c, err := r.Cookie(nextCookie); err == nil && next == "/" {
		next = safePath(c.Value)
	}
	s.render(w, r, nil, http.StatusOK, "sign-in", map[string]any{"Link": r.URL.Query().Get("t"), "Next": next})
}

// nextCookie remembers where somebody wanted to go while they fetch a link. It
// is Lax, because the link comes from a terminal or a chat, and holds nothing
// but a path of this site.
const nextCookie = "__Host-jit-next"

func rememberNext(w http.ResponseWriter, next string, seconds int) {
	http.SetCookie(w, &http.Cookie{Name: nextCookie, Value: next, Path: "/", Secure: true, HttpOnly: true,
		SameSite: http.SameSiteLaxMode, MaxAge: seconds})
}

// linkToken takes a whole link or the token in it: what people paste.
func linkToken(pasted string) string {
	pasted = strings.TrimSpace(pasted)
	if u, err := url.Parse(pasted); err == nil && u.Query().Get("t") != "" {
		return u.Query().Get("t")
	}
	return pasted
}

// signIn checks the code first, so that a wrong one does not cost the link,
// then spends the link; the code was spent by then. One answer for a link that
// is unknown, used or too old.
func (s *Server) signIn(w http.ResponseWriter, r *http.Request) {
	ctx, now := r.Context(), s.o.Now()
	link, code, next := linkToken(r.PostFormValue("t")), strings.TrimSpace(r.PostFormValue("code")), safePath(r.PostFormValue("next"))
	again := func(status int, msg string) {
		s.render(w, r, nil, status, "sign-in", map[string]any{"Link": link, "Next": next, "Error": msg})
	}
	const spent = "This link is not valid any more. Run `ssh %s web` for a new one."
	gone := func() { link = ""; again(http.StatusForbidden, strings.Replace(spent, "%s", s.o.Name, 1)) }

	l, err := s.o.Pages.Link(ctx, hashToken(link), now)
	if errors.Is(err, store.ErrNotFound) {
		gone()
		return
	} else if err != nil {
		s.fail(w, r, nil, err)
		return
	}
	u, err := s.o.Users.User(ctx, l.UserID)
	if err != nil || !u.Usable(now) {
		gone()
		return
	}
	if !s.limits.user.allow(u.ID) {
		s.tooMany(w, r)
		return
	}
	actor := audit.Actor{ID: u.ID, Name: u.Name, Source: sourceOf(r), Via: "web"}
	if _, err := s.o.MFA.VerifyCode(ctx, u.ID, code, actor); err != nil {
		again(http.StatusForbidden, sentence(err))
		return
	}
	if err := s.o.Pages.UseLink(ctx, hashToken(link), now, audit.Event{Type: audit.PageLinkUsed, Outcome: audit.Success, Actor: actor, User: u.ID}); err != nil {
		gone()
		return
	}
	if err := s.enter(w, r, u, l, "link"); err != nil {
		s.fail(w, r, nil, err)
		return
	}
	http.Redirect(w, r, next, http.StatusSeeOther)
}

func (s *Server) signOut(w http.ResponseWriter, r *http.Request) {
	if v, err := s.viewer(r); err == nil {
		ev := audit.Event{Type: audit.PageSignedOut, Outcome: audit.Success, Actor: v.actor(), User: v.ID}
		if err := s.o.Pages.DeletePageSession(r.Context(), v.page.ID, ev); err != nil {
			s.fail(w, r, v, err)
			return
		}
	}
	http.SetCookie(w, &http.Cookie{Name: cookieName, Path: "/", Secure: true, HttpOnly: true, SameSite: http.SameSiteStrictMode, MaxAge: -1})
	http.Redirect(w, r, "/", http.StatusSeeOther)
}
