package web

import (
	"errors"
	"net/http"
	"strings"
	"time"

	"jit-gateway/approval/mfa"
	"jit-gateway/internal/audit"
	"jit-gateway/internal/identity"
	"jit-gateway/internal/store"
)

// beginPasskeySignIn is asked by a script before anybody is signed in.
func (s *Server) beginPasskeySignIn(w http.ResponseWriter, r *http.Request) {
	if s.o.People.Passkeys == nil {
		http.NotFound(w, r)
		return
	}
	options, dialogue, err := s.o.People.Passkeys.BeginSignIn()
	if err := tell(w, http.StatusInternalServerError, options, dialogue, err); err != nil {
		s.o.Logger.Debug("a passkey dialogue was not told", "error", err)
	}
}

// passkeySignIn signs in whoever the passkey belongs to. A passkey is both:
// something that one has, and the finger or PIN that it verified.
func (s *Server) passkeySignIn(w http.ResponseWriter, r *http.Request) {
	if s.o.People.Passkeys == nil {
		http.NotFound(w, r)
		return
	}
	next := safePath(r.PostFormValue("next"))
	var u identity.User
	who := func(userID string) (audit.Actor, error) {
		var err error
		if u, err = s.o.Users.User(r.Context(), userID); err != nil {
			return audit.Actor{}, err
		}
		if !u.Usable(s.o.Now()) {
			return audit.Actor{}, errors.New("disabled")
		}
		return audit.Actor{ID: u.ID, Name: u.Name, Source: sourceOf(r), Via: "web"}, nil
	}
	_, err := s.o.People.Passkeys.FinishSignIn(r.Context(), r.PostFormValue("dialogue"), []byte(r.PostFormValue("assertion")), who)
	if err != nil {
		s.render(w, r, nil, http.StatusForbidden, "sign-in", map[string]any{"Next": next, "Error": sentence(err)})
		return
	}
	if err := s.enter(w, r, u, store.Link{}, "passkey"); err != nil {
		s.fail(w, r, nil, err)
		return
	}
	http.Redirect(w, r, next, http.StatusSeeOther)
}

// enter makes a page session for u and gives it to the browser.
func (s *Server) enter(w http.ResponseWriter, r *http.Request, u identity.User, l store.Link, how string) error {
	now, token := s.o.Now(), newToken()
	page := store.PageSession{ID: pageID(token), UserID: u.ID, KeyFingerprint: l.KeyFingerprint, KeySource: l.Source, Source: sourceOf(r),
		CreatedAt: now, ExpiresAt: now.Add(pageLifetime), LastSeen: now}
	ev := audit.Event{Type: audit.PageSignedIn, Outcome: audit.Success, User: u.ID, Actor: audit.Actor{ID: u.ID, Name: u.Name, Source: sourceOf(r), Via: "web"},
		Detail: map[string]string{"how": how, "browser": page.ID[:handleLength]}}
	if err := s.o.Pages.CreatePageSession(r.Context(), page, ev); err != nil {
		return err
	}
	http.SetCookie(w, &http.Cookie{Name: cookieName, Value: token, Path: "/", Secure: true, HttpOnly: true,
		SameSite: http.SameSiteStrictMode, MaxAge: int(pageLifetime.Seconds())})
	rememberNext(w, "", -1)
	return nil
}

// beginNewPasskey starts to register a passkey. Nothing is stored before its
// form comes back with a fresh second factor.
func (s *Server) beginNewPasskey(w http.ResponseWriter, r *http.Request, v *viewer) error {
	if s.o.People.Passkeys == nil {
		return errNotFound
	}
	if !s.limits.user.allow(v.ID) {
		return tell(w, http.StatusTooManyRequests, nil, "", errTooMany)
	}
	options, dialogue, err := s.o.People.Passkeys.BeginRegistration(r.Context(), v.ID, v.Name)
	return tell(w, http.StatusForbidden, options, dialogue, err)
}

func (s *Server) addPasskey(w http.ResponseWriter, r *http.Request, v *viewer) error {
	if s.o.People.Passkeys == nil {
		return errNotFound
	}
	return s.onYou(w, r, v, "passkey", func() error {
		p, err := s.proofForNew(r, v)
		if err != nil {
			return err
		}
		_, err = s.o.People.Passkeys.FinishRegistration(r.Context(), v.ID, p, r.PostFormValue("new_dialogue"), passkeyName(r), []byte(r.PostFormValue("attestation")), v.actor())
		return err
	})
}

// proofForNew is the proof under which a new passkey is registered. Nothing is
// spent when the browser made no passkey.
func (s *Server) proofForNew(r *http.Request, v *viewer) (mfa.Proof, error) {
	if r.PostFormValue("attestation") == "" {
		return mfa.Proof{}, errors.New("your browser made no passkey; a passkey needs JavaScript here")
	}
	return s.proofOfAct(r, v)
}

func passkeyName(r *http.Request) string {
	if n := strings.TrimSpace(r.PostFormValue("name")); n != "" {
		return n
	}
	return "passkey"
}

// enrollForm is for who has nothing yet but an administrator's one-time code.
func (s *Server) enrollForm(w http.ResponseWriter, r *http.Request) {
	s.render(w, r, nil, http.StatusOK, "enroll", map[string]any{})
}

// invited finds the user of a one-time code, without spending it.
func (s *Server) invited(r *http.Request) (identity.Invite, identity.User, error) {
	inv, err := identity.OpenInvite(r.Context(), s.o.People.Invites, r.PostFormValue("invite"), s.o.Now())
	if err != nil {
		return inv, identity.User{}, s.wrongInvite(r, err)
	}
	u, err := s.o.Users.User(r.Context(), inv.UserID)
	if err == nil && !u.Usable(s.o.Now()) {
		err = identity.ErrInvite
	}
	return inv, u, err
}

// wrongInvite counts in the log: somebody may be guessing.
func (s *Server) wrongInvite(r *http.Request, err error) error {
	if !errors.Is(err, identity.ErrInvite) {
		return err
	}
	_, lerr := s.o.Log.Append(r.Context(), audit.Event{Type: audit.LoginFailed, Outcome: audit.Denied, Reason: "one-time code not valid",
		Actor: audit.Actor{Source: sourceOf(r), Via: "web"}, Detail: map[string]string{"source": sourceOf(r)}})
	return errors.Join(err, lerr)
}

func (s *Server) beginEnroll(w http.ResponseWriter, r *http.Request) {
	if s.o.People.Passkeys == nil || s.o.People.Invites == nil {
		http.NotFound(w, r)
		return
	}
	_, u, err := s.invited(r)
	if err == nil {
		options, dialogue, berr := s.o.People.Passkeys.BeginRegistration(r.Context(), u.ID, u.Name)
		err = tell(w, http.StatusForbidden, options, dialogue, berr)
	} else {
		err = tell(w, http.StatusForbidden, nil, "", err)
	}
	if err != nil {
		s.o.Logger.Debug("a passkey dialogue was not told", "error", err)
	}
}

// enroll registers a passkey under a one-time code, which it spends, and signs in.
func (s *Server) enroll(w http.ResponseWriter, r *http.Request) {
	if s.o.People.Passkeys == nil || s.o.People.Invites == nil {
		http.NotFound(w, r)
		return
	}
	again := func(err error) {
		s.render(w, r, nil, http.StatusForbidden, "enroll", map[string]any{"Error": sentence(err), "Invite": r.PostFormValue("invite")})
	}
	_, u, err := s.invited(r)
	if err != nil {
		again(err)
		return
	}
	if r.PostFormValue("attestation") == "" {
		again(errors.New("your browser made no passkey; a passkey needs JavaScript here"))
		return
	}
	actor := audit.Actor{ID: u.ID, Name: u.Name, Source: sourceOf(r), Via: "web"}
	redeem := func() (string, error) {
		inv, err := identity.Redeem(r.Context(), s.o.People.Invites, r.PostFormValue("invite"), s.o.Now(), actor)
		if err == nil && inv.UserID != u.ID {
			err = identity.ErrInvite
		}
		return inv.ID, err
	}
	_, err = s.o.People.Passkeys.FinishInvited(r.Context(), u.ID, r.PostFormValue("new_dialogue"), passkeyName(r), []byte(r.PostFormValue("attestation")), actor, redeem)
	if err != nil {
		again(err)
		return
	}
	if err := s.enter(w, r, u, store.Link{}, "invite"); err != nil {
		s.fail(w, r, nil, err)
		return
	}
	http.Redirect(w, r, "/you", http.StatusSeeOther)
}

// handleLength is how much of a page session's hash names it on the page.
const handleLength = 16

// alive reports whether a page session still signs anybody in.
func alive(p store.PageSession, now time.Time) bool {
	return now.Before(p.ExpiresAt) && now.Sub(p.LastSeen) <= pageIdle
}
