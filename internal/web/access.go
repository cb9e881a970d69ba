package web

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	"jit-gateway/approval"
	"jit-gateway/ca"
	"jit-gateway/internal/inventory"
	"jit-gateway/internal/store"
)

// Tokens mints session tokens of databases; *ca.Tokens is one.
type Tokens interface {
	Mint(ctx context.Context, adm approval.Admission, o ca.TokenOptions) (string, error)
}

// contextFor outlives the request, for what must be written down.
func contextFor(r *http.Request, d time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(r.Context()), d)
}

// access is what the viewer may ask for, or has.
func (s *Server) access(w http.ResponseWriter, r *http.Request, v *viewer) error {
	targets, err := s.o.Approvals.Targets(r.Context(), v.caller())
	if err != nil {
		return err
	}
	s.render(w, r, v, http.StatusOK, "access", map[string]any{"Targets": targets})
	return nil
}

// askForm asks for one target; the rule that would apply says how long.
func (s *Server) askForm(w http.ResponseWriter, r *http.Request, v *viewer) error {
	return s.showAsk(w, r, v, http.StatusOK, "")
}

func (s *Server) showAsk(w http.ResponseWriter, r *http.Request, v *viewer, status int, msg string) error {
	targets, err := s.o.Approvals.Targets(r.Context(), v.caller())
	if err != nil {
		return err
	}
	name := r.FormValue("target")
	for _, t := range targets {
		if t.Target.Name != name || !t.AskAllowed {
			continue
		}
		login := r.FormValue("login")
		if login == "" {
			login = t.Logins[0]
		}
		d := map[string]any{"T": t, "Login": login, "Error": msg, "Reason": r.PostFormValue("reason"),
			"Ticket": r.PostFormValue("ticket"), "Minutes": r.PostFormValue("minutes")}
		p, err := s.o.Approvals.Preview(r.Context(), v.caller(), approval.Ask{Targets: []string{name}, Login: login})
		if err == nil {
			d["P"] = p
			if d["Minutes"] == "" {
				d["Minutes"] = strconv.Itoa(int(p.Default / time.Minute))
			}
		}
		s.render(w, r, v, status, "ask", d)
		return nil
	}
	return errNotFound
}

// file asks. It gives no access: an approval and a code follow.
func (s *Server) file(w http.ResponseWriter, r *http.Request, v *viewer) error {
	ask := approval.Ask{Targets: []string{r.PostFormValue("target")}, Login: r.PostFormValue("login"),
		Reason: strings.TrimSpace(r.PostFormValue("reason")), Ticket: strings.TrimSpace(r.PostFormValue("ticket"))}
	if m := r.PostFormValue("minutes"); m != "" {
		n, err := strconv.Atoi(m)
		if err != nil || n < 1 || n > 60*24*30 {
			return s.showAsk(w, r, v, http.StatusBadRequest, "Give the time in whole minutes.")
		}
		ask.Duration = time.Duration(n) * time.Minute
	}
	req, err := s.o.Approvals.File(r.Context(), v.caller(), ask)
	if err != nil {
		return s.showAsk(w, r, v, http.StatusForbidden, sentence(err))
	}
	http.Redirect(w, r, "/requests/"+req.ID, http.StatusSeeOther)
	return nil
}

func (s *Server) grant(w http.ResponseWriter, r *http.Request, v *viewer) error {
	return s.showGrant(w, r, v, http.StatusOK, map[string]any{})
}

func (s *Server) showGrant(w http.ResponseWriter, r *http.Request, v *viewer, status int, d map[string]any) error {
	g, err := s.o.Approvals.Grant(r.Context(), v.caller(), r.PathValue("id"))
	if errors.Is(err, store.ErrNotFound) {
		return errNotFound
	} else if err != nil {
		return err
	}
	d["G"], d["Mine"] = g, g.UserID == v.ID
	d["Evidence"] = s.o.Evidence != nil && s.o.Approvals.CanReplay(r.Context(), v.ID, g.ID) == nil
	if g.UserID == v.ID && g.State == approval.Active && s.o.Tokens != nil {
		for _, name := range g.Targets {
			if t, ok := s.o.Inventory.Target(name); ok && t.Kind == inventory.Postgres {
				d["Database"] = name
				break
			}
		}
	}
	s.render(w, r, v, status, "grant", d)
	return nil
}

// onGrant runs an act on the viewer's own grant, and shows what went wrong.
func (s *Server) onGrant(w http.ResponseWriter, r *http.Request, v *viewer, do func(approval.Caller) error) error {
	// The key that asked for the sign-in link stands for the viewer's ssh: with
	// it, a code given here lets that key pass from this address.
	c := v.caller()
	c.KeyFingerprint = v.page.KeyFingerprint
	if err := do(c); errors.Is(err, store.ErrNotFound) {
		return errNotFound
	} else if err != nil {
		return s.showGrant(w, r, v, http.StatusForbidden, map[string]any{"Error": sentence(err)})
	}
	http.Redirect(w, r, "/grants/"+r.PathValue("id"), http.StatusSeeOther)
	return nil
}

func (s *Server) activate(w http.ResponseWriter, r *http.Request, v *viewer) error {
	return s.onGrant(w, r, v, func(c approval.Caller) error {
		p, err := s.o.MFA.VerifyCode(r.Context(), v.ID, strings.TrimSpace(r.PostFormValue("code")), v.actor())
		if err != nil {
			return err
		}
		_, err = s.o.Approvals.Activate(r.Context(), c, r.PathValue("id"), p)
		return err
	})
}

// release gives access up: less access needs no code.
func (s *Server) release(w http.ResponseWriter, r *http.Request, v *viewer) error {
	return s.onGrant(w, r, v, func(c approval.Caller) error {
		_, err := s.o.Approvals.Release(r.Context(), c, r.PathValue("id"))
		return err
	})
}

// token mints a session token under a fresh code, and shows it this once.
func (s *Server) token(w http.ResponseWriter, r *http.Request, v *viewer) error {
	if s.o.Tokens == nil {
		return errNotFound
	}
	ctx, id := r.Context(), r.PathValue("id")
	c := v.caller()
	c.KeyFingerprint = v.page.KeyFingerprint
	mint := func() (string, error) {
		g, err := s.o.Approvals.Grant(ctx, v.caller(), id)
		if err != nil || g.UserID != v.ID {
			return "", errors.Join(store.ErrNotFound, err)
		}
		p, err := s.o.MFA.VerifyCode(ctx, v.ID, strings.TrimSpace(r.PostFormValue("code")), v.actor())
		if err != nil {
			return "", err
		}
		if _, err := s.o.Approvals.Confirm(ctx, c, id, p); err != nil {
			return "", err
		}
		adm, err := s.o.Approvals.Admit(ctx, approval.AdmitInput{Caller: c, Target: r.PostFormValue("target"), Login: g.Login, GrantID: id})
		if err != nil {
			return "", err
		}
		actor := v.actor()
		return s.o.Tokens.Mint(ctx, adm, ca.TokenOptions{Actor: &actor})
	}
	token, err := mint()
	if errors.Is(err, store.ErrNotFound) {
		return errNotFound
	} else if err != nil {
		return s.showGrant(w, r, v, http.StatusForbidden, map[string]any{"Error": sentence(err)})
	}
	return s.showGrant(w, r, v, http.StatusOK, map[string]any{"Token": token})
}
