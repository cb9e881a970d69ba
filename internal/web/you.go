package web

import (
	"context"
	"errors"
	"net/http"
	"strings"

	"jit-gateway/approval/mfa"
	"jit-gateway/internal/audit"
	"jit-gateway/internal/identity"
	"jit-gateway/internal/store"
)

// you is one's own account: second factors, keys, and where one is signed in.
func (s *Server) you(w http.ResponseWriter, r *http.Request, v *viewer) error {
	return s.showYou(w, r, v, http.StatusOK, map[string]any{})
}

// browser is one place where the viewer is signed in.
type browser struct {
	store.PageSession
	Handle string
	This   bool
}

func (s *Server) showYou(w http.ResponseWriter, r *http.Request, v *viewer, status int, d map[string]any) error {
	ctx := r.Context()
	factors, err := s.o.MFA.Factors(ctx, v.ID)
	if err != nil {
		return err
	}
	var passkeys, apps []mfa.Factor
	recovery := 0
	for _, f := range factors {
		switch f.Kind {
		case mfa.Passkey:
			passkeys = append(passkeys, f)
		case mfa.Recovery:
			recovery++
		case mfa.TOTP:
			apps = append(apps, f)
		}
	}
	keys, err := s.o.Users.Keys(ctx, v.ID)
	if err != nil {
		return err
	}
	browsers, err := s.browsers(ctx, v)
	if err != nil {
		return err
	}
	d["Passkeys"], d["Apps"], d["Recovery"], d["Keys"], d["Browsers"] = passkeys, apps, recovery, keys, browsers
	d["Here"] = v.page.KeyFingerprint
	d["MayAdd"], d["MayKey"], d["MayClient"] = s.o.People.Passkeys != nil, s.o.People.Accounts != nil, s.o.People.Client != nil
	d["OnlyFactor"] = len(passkeys)+len(apps) == 1
	s.render(w, r, v, status, "you", d)
	return nil
}

func (s *Server) browsers(ctx context.Context, v *viewer) ([]browser, error) {
	if s.o.People.Browsers == nil {
		return nil, nil
	}
	list, err := s.o.People.Browsers.PageSessionsOf(ctx, v.ID)
	if err != nil {
		return nil, err
	}
	var out []browser
	for _, p := range list {
		if alive(p, s.o.Now()) {
			out = append(out, browser{p, p.ID[:handleLength], p.ID == v.page.ID})
		}
	}
	return out, nil
}

// onYou runs a change of one's own account, and shows beside which part of the
// page it failed.
func (s *Server) onYou(w http.ResponseWriter, r *http.Request, v *viewer, part string, do func() error) error {
	err := do()
	switch {
	case err == nil:
		http.Redirect(w, r, "/you#"+part, http.StatusSeeOther)
		return nil
	case errors.Is(err, store.ErrNotFound):
		return errNotFound
	}
	return s.showYou(w, r, v, http.StatusForbidden, map[string]any{"Part": part, "Error": sentence(err)})
}

func (s *Server) renameFactor(w http.ResponseWriter, r *http.Request, v *viewer) error {
	return s.onYou(w, r, v, "passkeys", func() error {
		name := strings.TrimSpace(r.PostFormValue("name"))
		if name == "" {
			return errors.New("give it a name that you will know again")
		}
		return s.o.MFA.Rename(r.Context(), v.ID, r.PathValue("id"), name, v.actor())
	})
}

func (s *Server) removeFactor(w http.ResponseWriter, r *http.Request, v *viewer) error {
	return s.onYou(w, r, v, "passkeys", func() error {
		p, err := s.proofOfAct(r, v)
		if err != nil {
			return err
		}
		if err := s.o.MFA.Remove(r.Context(), v.ID, r.PathValue("id"), p, v.actor()); err != nil {
			return err
		}
		return s.signOutElsewhere(r.Context(), v, others) // whoever holds the device may be signed in with it
	})
}

// newRecovery replaces the recovery codes and shows them, this once.
func (s *Server) newRecovery(w http.ResponseWriter, r *http.Request, v *viewer) error {
	p, err := s.proofOfAct(r, v)
	var codes []string
	if err == nil {
		codes, err = s.o.MFA.NewRecoveryCodes(r.Context(), v.ID, p, v.actor())
	}
	if err != nil {
		return s.showYou(w, r, v, http.StatusForbidden, map[string]any{"Part": "recovery", "Error": sentence(err)})
	}
	s.render(w, r, v, http.StatusOK, "recovery", map[string]any{"Codes": codes})
	return nil
}

// authenticatorForm shows a new secret. Nothing is stored before a code of it
// and a proof of a present factor come back.
func (s *Server) authenticatorForm(w http.ResponseWriter, r *http.Request, v *viewer) error {
	return s.showAuthenticator(w, r, v, http.StatusOK, s.o.MFA.BeginTOTP(v.Name), "")
}

func (s *Server) showAuthenticator(w http.ResponseWriter, r *http.Request, v *viewer, status int, e mfa.Enrolment, msg string) error {
	img, err := qrImage(e.URI)
	if err != nil {
		return err
	}
	s.render(w, r, v, status, "authenticator", map[string]any{"Secret": spaced(e.Secret), "Plain": e.Secret, "URI": e.URI, "QR": img, "Error": msg})
	return nil
}

func (s *Server) replaceAuthenticator(w http.ResponseWriter, r *http.Request, v *viewer) error {
	e := s.o.MFA.Enrolment(r.PostFormValue("secret"), v.Name)
	first := strings.TrimSpace(r.PostFormValue("first"))
	refuse := func(err error) error {
		return s.showAuthenticator(w, r, v, http.StatusForbidden, e, sentence(err))
	}
	if first == "" {
		return refuse(errors.New("give the code that the new authenticator shows"))
	}
	p, err := s.proofOfAct(r, v)
	if err != nil {
		return refuse(err)
	}
	_, codes, err := s.o.MFA.ReplaceTOTP(r.Context(), v.ID, p, e, first, v.actor())
	if err != nil {
		return refuse(err)
	}
	if err := s.signOutElsewhere(r.Context(), v, others); err != nil {
		return err
	}
	s.render(w, r, v, http.StatusOK, "recovery", map[string]any{"Codes": codes, "Authenticator": true})
	return nil
}

// others stands for all browsers but this one.
const others = "others"

// signOutBrowser ends another page session of the viewer's, or all others.
// Less access needs no code.
func (s *Server) signOutBrowser(w http.ResponseWriter, r *http.Request, v *viewer) error {
	if err := s.signOutElsewhere(r.Context(), v, r.PostFormValue("browser")); err != nil {
		return err
	}
	http.Redirect(w, r, "/you#browsers", http.StatusSeeOther)
	return nil
}

func (s *Server) signOutElsewhere(ctx context.Context, v *viewer, which string) error {
	list, err := s.browsers(ctx, v)
	if err != nil {
		return err
	}
	for _, b := range list {
		if b.This || which != others && which != b.Handle {
			continue
		}
		err := s.o.Pages.DeletePageSession(ctx, b.ID, audit.Event{Type: audit.PageSignedOut, Outcome: audit.Success, Actor: v.actor(), User: v.ID,
			Detail: map[string]string{"browser": b.Handle}})
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return err
		}
	}
	return nil
}

// client is what to paste for one's own clients.
func (s *Server) client(w http.ResponseWriter, r *http.Request, v *viewer) error {
	if s.o.People.Client == nil {
		return errNotFound
	}
	c, err := s.o.People.Client(r.Context(), v.caller(), v.User)
	if err != nil {
		return err
	}
	targets, err := s.o.Approvals.Targets(r.Context(), v.caller())
	if err != nil {
		return err
	}
	var databases []string
	for _, t := range targets {
		if t.Target.Postgres != nil {
			databases = append(databases, t.Target.Name)
		}
	}
	s.render(w, r, v, http.StatusOK, "client", map[string]any{"C": c, "Databases": databases, "User": identity.User(v.User).Name})
	return nil
}

// spaced is a secret in groups that can be typed.
func spaced(s string) string {
	var b strings.Builder
	for i, c := range s {
		if i > 0 && i%4 == 0 {
			b.WriteByte(' ')
		}
		b.WriteRune(c)
	}
	return b.String()
}
