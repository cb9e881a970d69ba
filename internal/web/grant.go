package web

import (
	"context"
	"errors"
	"net/http"
	"net/netip"
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

func (s *Server) grant(w http.ResponseWriter, r *http.Request, v *viewer) error {
	return s.showGrant(w, r, v, http.StatusOK, map[string]any{})
}

func (s *Server) showGrant(w http.ResponseWriter, r *http.Request, v *viewer, status int, d map[string]any) error {
	ctx := r.Context()
	g, err := s.o.Approvals.Grant(ctx, v.caller(), r.PathValue("id"))
	if errors.Is(err, store.ErrNotFound) {
		return errNotFound
	} else if err != nil {
		return err
	}
	mine := g.UserID == v.ID
	d["G"], d["Mine"] = g, mine
	d["Evidence"] = s.o.Evidence != nil && s.o.Approvals.CanReplay(ctx, v.ID, g.ID) == nil
	d["MayRevoke"] = !mine && g.State != approval.Ended && s.o.Approvals.CanTerminate(ctx, v.ID, g.ID) == nil
	d["Reason"], d["Note"] = r.PostFormValue("reason"), r.PostFormValue("note")
	d["PasskeyOnly"] = passkeyOnly(g.Rule.Factor.Kinds)
	d["Silent"] = mine && g.State == approval.Active && s.opener(v).KeyFingerprint != ""
	if g.BreakGlass && g.ReviewedAt.IsZero() && !g.ActivatedAt.IsZero() {
		d["OpenReview"] = true
		d["MayReview"] = g.State == approval.Ended && s.mayReview(r, v, g)
	}
	if g.ReviewedBy != "" {
		if u, err := s.o.Users.User(ctx, g.ReviewedBy); err == nil {
			d["Reviewer"] = u.Name
		}
	}
	if mine && g.State == approval.Active && s.o.Tokens != nil {
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

func (s *Server) mayReview(r *http.Request, v *viewer, g approval.Grant) bool {
	if g.UserID == v.ID || g.Rule.BreakGlass == nil {
		return false
	}
	for _, group := range g.Rule.BreakGlass.Reviews {
		if v.In(group) {
			return s.o.Approvals.CanTerminate(r.Context(), v.ID, g.ID) == nil // somebody else, under any account
		}
	}
	return false
}

// opener is the viewer as the one who opens a grant with the code that this
// page took. From then on a connection with the same key and from the same
// address passes silently, so the key counts only if it spoke to the gateway
// from where the browser is now: it asked for the sign-in link from there. Else
// the grant opens for this address without a key, and ssh asks for a code.
func (s *Server) opener(v *viewer) approval.Caller {
	c := v.caller()
	if sameAddress(v.page.KeySource, c.Source) {
		c.KeyFingerprint = v.page.KeyFingerprint
	}
	return c
}

func sameAddress(a, b string) bool {
	x, err := netip.ParseAddr(a)
	y, err2 := netip.ParseAddr(b)
	return err == nil && err2 == nil && x.Unmap() == y.Unmap()
}

// onGrant runs an act on a grant, and shows beside which form it failed.
func (s *Server) onGrant(w http.ResponseWriter, r *http.Request, v *viewer, field string, do func() error) error {
	if err := do(); errors.Is(err, store.ErrNotFound) || errors.Is(err, errNotFound) {
		return errNotFound
	} else if err != nil {
		return s.showGrant(w, r, v, http.StatusForbidden, map[string]any{"Error": sentence(err), "Field": field})
	}
	http.Redirect(w, r, "/grants/"+r.PathValue("id"), http.StatusSeeOther)
	return nil
}

// owned reads the viewer's own grant.
func (s *Server) owned(r *http.Request, v *viewer) (approval.Grant, error) {
	g, err := s.o.Approvals.Grant(r.Context(), v.caller(), r.PathValue("id"))
	if err == nil && g.UserID != v.ID {
		err = store.ErrNotFound
	}
	return g, err
}

func (s *Server) activate(w http.ResponseWriter, r *http.Request, v *viewer) error {
	return s.onGrant(w, r, v, "activate", func() error {
		g, err := s.owned(r, v)
		if err != nil {
			return err
		}
		if g.Rule.Banner != "" && r.PostFormValue("agree") == "" {
			return errors.New("read the text above and agree to it first")
		}
		p, err := s.proof(r, v, g.Hash)
		if err != nil {
			return err
		}
		_, err = s.o.Approvals.Activate(r.Context(), s.opener(v), g.ID, p)
		return err
	})
}

// release gives access up: less access needs no code.
func (s *Server) release(w http.ResponseWriter, r *http.Request, v *viewer) error {
	return s.onGrant(w, r, v, "release", func() error {
		_, err := s.o.Approvals.Release(r.Context(), v.caller(), r.PathValue("id"))
		return err
	})
}

// revoke ends somebody else's grant, with a reason that they read.
func (s *Server) revoke(w http.ResponseWriter, r *http.Request, v *viewer) error {
	return s.onGrant(w, r, v, "revoke", func() error {
		g, err := s.o.Approvals.Grant(r.Context(), v.caller(), r.PathValue("id"))
		if err != nil {
			return err
		}
		reason := strings.TrimSpace(r.PostFormValue("reason"))
		if reason == "" {
			return errors.New("say why: the user reads it")
		}
		p, err := s.proof(r, v, g.Hash)
		if err != nil {
			return err
		}
		_, err = s.o.Approvals.Revoke(r.Context(), v.caller(), g.ID, reason, p)
		return err
	})
}

// review closes the review that every used emergency needs.
func (s *Server) review(w http.ResponseWriter, r *http.Request, v *viewer) error {
	return s.onGrant(w, r, v, "review", func() error {
		g, err := s.o.Approvals.Grant(r.Context(), v.caller(), r.PathValue("id"))
		if err != nil {
			return err
		}
		note := strings.TrimSpace(r.PostFormValue("note"))
		if note == "" {
			return errors.New("say what you found")
		}
		p, err := s.proof(r, v, g.Hash)
		if err != nil {
			return err
		}
		_, err = s.o.Approvals.Review(r.Context(), v.caller(), g.ID, note, p)
		return err
	})
}

// token mints a session token under a fresh factor, and shows it this once.
func (s *Server) token(w http.ResponseWriter, r *http.Request, v *viewer) error {
	if s.o.Tokens == nil {
		return errNotFound
	}
	ctx := r.Context()
	mint := func() (string, error) {
		g, err := s.owned(r, v)
		if err != nil {
			return "", err
		}
		p, err := s.proof(r, v, g.Hash)
		if err != nil {
			return "", err
		}
		c := s.opener(v)
		if _, err := s.o.Approvals.Confirm(ctx, c, g.ID, p); err != nil {
			return "", err
		}
		adm, err := s.o.Approvals.Admit(ctx, approval.AdmitInput{Caller: c, Target: r.PostFormValue("target"), Login: g.Login, GrantID: g.ID})
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
		return s.showGrant(w, r, v, http.StatusForbidden, map[string]any{"Error": sentence(err), "Field": "token"})
	}
	return s.showGrant(w, r, v, http.StatusOK, map[string]any{"Token": token, "Client": s.clientOf(r, v)})
}

// clientOf is what a client needs to use a token, or nil.
func (s *Server) clientOf(r *http.Request, v *viewer) *Client {
	if s.o.People.Client == nil {
		return nil
	}
	c, err := s.o.People.Client(r.Context(), v.caller(), v.User)
	if err != nil || c.PostgresPort == 0 {
		return nil
	}
	return &c
}
