package web

import (
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	"jit-gateway/approval"
	"jit-gateway/internal/audit"
	"jit-gateway/internal/store"
)

// inbox is the first page: what waits for the viewer, what they wait for, and
// what they have.
func (s *Server) inbox(w http.ResponseWriter, r *http.Request, v *viewer) error {
	ctx := r.Context()
	pending, err := s.o.Approvals.Pending(ctx, v.caller())
	if err != nil {
		return err
	}
	mine, err := s.o.Approvals.Requests(ctx, v.caller(), approval.RequestFilter{UserID: v.ID, Limit: 20})
	if err != nil {
		return err
	}
	grants, err := s.o.Approvals.Grants(ctx, v.caller(), approval.GrantFilter{UserID: v.ID,
		States: []approval.GrantState{approval.Waiting, approval.Active}})
	if err != nil {
		return err
	}
	s.render(w, r, v, http.StatusOK, "inbox", map[string]any{"Pending": pending, "Mine": mine, "Grants": grants})
	return nil
}

func (s *Server) requests(w http.ResponseWriter, r *http.Request, v *viewer) error {
	f := approval.RequestFilter{State: approval.RequestState(r.URL.Query().Get("state")), Limit: 200}
	list, err := s.o.Approvals.Requests(r.Context(), v.caller(), f)
	if err != nil {
		return err
	}
	s.render(w, r, v, http.StatusOK, "requests", map[string]any{"Requests": list, "State": f.State})
	return nil
}

// request shows one: who, what, why, how long, who else must approve.
func (s *Server) request(w http.ResponseWriter, r *http.Request, v *viewer) error {
	return s.showRequest(w, r, v, http.StatusOK, "", "")
}

func (s *Server) showRequest(w http.ResponseWriter, r *http.Request, v *viewer, status int, field, msg string) error {
	ctx := r.Context()
	req, err := s.o.Approvals.Request(ctx, v.caller(), r.PathValue("id"))
	if errors.Is(err, store.ErrNotFound) {
		return errNotFound
	} else if err != nil {
		return err
	}
	quorums, err := s.o.Approvals.Approvers(ctx, req)
	if err != nil {
		return err
	}
	may := false
	for _, q := range quorums {
		for _, u := range q.Who {
			may = may || u.ID == v.ID
		}
	}
	s.render(w, r, v, status, "request", map[string]any{
		"R": req, "Digest": req.Digest(), "Quorums": quorums, "Field": field, "Error": msg,
		"MayAnswer": may && req.State == approval.Pending,
		"Mine":      req.UserID == v.ID,
		"Reason":    r.PostFormValue("reason"),
		"Minutes":   r.PostFormValue("minutes"),
	})
	return nil
}

// act runs a state change of a request and shows what went wrong beside the
// form, with 409 when somebody else answered meanwhile.
func (s *Server) act(w http.ResponseWriter, r *http.Request, v *viewer, field string, do func() error) error {
	err := do()
	switch {
	case err == nil:
		http.Redirect(w, r, r.URL.Path[:strings.LastIndex(r.URL.Path, "/")], http.StatusSeeOther)
		return nil
	case errors.Is(err, approval.ErrNotPending), errors.Is(err, approval.ErrDigest), errors.Is(err, store.ErrConflict):
		return s.showRequest(w, r, v, http.StatusConflict, field, sentence(err))
	case errors.Is(err, store.ErrNotFound):
		return errNotFound
	}
	return s.showRequest(w, r, v, http.StatusForbidden, field, sentence(err))
}

func (s *Server) approve(w http.ResponseWriter, r *http.Request, v *viewer) error {
	return s.act(w, r, v, "approve", func() error {
		opt := approval.ApproveOptions{Digest: r.PostFormValue("digest"), Comment: r.PostFormValue("comment")}
		if m := r.PostFormValue("minutes"); m != "" {
			n, err := strconv.Atoi(m)
			if err != nil || n < 1 {
				return errors.New("give the time in whole minutes")
			}
			opt.Duration = time.Duration(n) * time.Minute
		}
		p, err := s.o.MFA.VerifyCode(r.Context(), v.ID, strings.TrimSpace(r.PostFormValue("code")), v.actor())
		if err != nil {
			return err
		}
		_, err = s.o.Approvals.Approve(r.Context(), v.caller(), r.PathValue("id"), opt, p)
		return err
	})
}

func (s *Server) deny(w http.ResponseWriter, r *http.Request, v *viewer) error {
	return s.act(w, r, v, "deny", func() error {
		reason := strings.TrimSpace(r.PostFormValue("reason"))
		if reason == "" {
			return errors.New("say why: the requester sees the reason")
		}
		p, err := s.o.MFA.VerifyCode(r.Context(), v.ID, strings.TrimSpace(r.PostFormValue("code")), v.actor())
		if err != nil {
			return err
		}
		_, err = s.o.Approvals.Deny(r.Context(), v.caller(), r.PathValue("id"), reason, p)
		return err
	})
}

func (s *Server) withdraw(w http.ResponseWriter, r *http.Request, v *viewer) error {
	return s.act(w, r, v, "withdraw", func() error {
		_, err := s.o.Approvals.Withdraw(r.Context(), v.caller(), r.PathValue("id"))
		return err
	})
}

// events tells an open page that something changed: the type and the ids,
// nothing else, since the page asks again for what it may see.
func (s *Server) events(w http.ResponseWriter, r *http.Request, v *viewer) error {
	flusher, ok := w.(http.Flusher)
	if !ok {
		return errors.New("this connection cannot stream")
	}
	after, err := s.o.Feed.LastSeq(r.Context())
	if err != nil {
		return err
	}
	if _, err := s.viewer(r); err != nil { // again, now that nothing can slip past the cursor
		return err
	}
	w.Header().Set("Content-Type", "text/event-stream")
	w.WriteHeader(http.StatusOK)
	flusher.Flush()
	for ev, err := range audit.Tail(r.Context(), s.o.Feed, after) {
		if err != nil {
			return nil // the page reconnects
		}
		if _, err := s.viewer(r); err != nil { // disabled, signed out or expired meanwhile
			w.Write([]byte("event: out\ndata: out\n\n"))
			flusher.Flush()
			return nil
		}
		if !strings.HasPrefix(string(ev.Type), "request.") && !strings.HasPrefix(string(ev.Type), "grant.") &&
			!strings.HasPrefix(string(ev.Type), "session.") {
			continue
		}
		if _, err := w.Write([]byte("event: changed\ndata: " + string(ev.Type) + "\n\n")); err != nil {
			return nil
		}
		flusher.Flush()
	}
	return nil
}
