package web

import (
	"errors"
	"fmt"
	"net/http"
	"strings"

	"jit-gateway/approval"
	"jit-gateway/internal/store"
)

func (s *Server) requests(w http.ResponseWriter, r *http.Request, v *viewer) error {
	q := r.URL.Query()
	f := approval.RequestFilter{State: approval.RequestState(q.Get("state")), Limit: 200}
	if q.Has("mine") {
		f.UserID = v.ID
	}
	list, err := s.o.Approvals.Requests(r.Context(), v.caller(), f)
	if err != nil {
		return err
	}
	s.render(w, r, v, http.StatusOK, "requests", map[string]any{"Requests": list, "State": f.State, "Mine": q.Has("mine")})
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
	d := map[string]any{
		"R": req, "Digest": req.Digest(), "Quorums": quorums, "Progress": progress(quorums), "Field": field, "Error": msg,
		"MayAnswer": may && req.State == approval.Pending,
		"Mine":      req.UserID == v.ID,
		"Reason":    r.PostFormValue("reason"),
		"Comment":   r.PostFormValue("comment"),
		"Minutes":   r.PostFormValue("minutes"),
	}
	if rule, ok := s.o.Approvals.RuleOf(req); ok {
		d["Kinds"] = rule.Factor.ApproveKinds
		d["PasskeyOnly"] = passkeyOnly(rule.Factor.ApproveKinds) && s.hasPasskey(v)
		if e := rule.Escalate; e != nil && req.State == approval.Pending {
			d["EscalatesAt"], d["EscalatesTo"] = req.FiledAt.Add(e.After.Std()), e.Groups
		}
	}
	s.render(w, r, v, status, "request", d)
	return nil
}

// progress is where a request with several votes stands: "peer and manager: 1 of 2".
func progress(qs []approval.QuorumView) string {
	var labels []string
	have, need := 0, 0
	for _, q := range qs {
		labels = append(labels, q.Label)
		have += min(q.Have, q.Need)
		need += q.Need
	}
	if need == 0 {
		return ""
	}
	return fmt.Sprintf("%s: %d of %d", strings.Join(labels, " and "), have, need)
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

// approve is bound to what the approver was shown: the digest in the form, and
// with a passkey to what was signed.
func (s *Server) approve(w http.ResponseWriter, r *http.Request, v *viewer) error {
	return s.act(w, r, v, "approve", func() error {
		opt := approval.ApproveOptions{Digest: r.PostFormValue("digest"), Comment: strings.TrimSpace(r.PostFormValue("comment"))}
		var err error
		if opt.Duration, err = askedMinutes(r); err != nil {
			return err
		}
		p, err := s.proof(r, v, opt.Digest)
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
		req, err := s.o.Approvals.Request(r.Context(), v.caller(), r.PathValue("id"))
		if err != nil {
			return err
		}
		p, err := s.proof(r, v, req.Digest())
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

// maxAnswers is how many requests one code answers.
const maxAnswers = 20

// answer is what became of one of several.
type answer struct {
	ID    string
	R     approval.Request
	Error string
}

// approveMany approves what was picked in the inbox, as asked, with one code.
// Each pick carries the digest of what was shown. A passkey signs one request
// at a time, so it has no part here.
func (s *Server) approveMany(w http.ResponseWriter, r *http.Request, v *viewer) error {
	_ = r.ParseForm()
	picks := r.PostForm["pick"]
	refuse := func(status int, msg string) error {
		s.render(w, r, v, status, "answers", map[string]any{"Error": msg})
		return nil
	}
	switch {
	case len(picks) == 0:
		return refuse(http.StatusBadRequest, "Pick what you approve.")
	case len(picks) > maxAnswers:
		return refuse(http.StatusBadRequest, fmt.Sprintf("At most %d at once: each deserves a look.", maxAnswers))
	case strings.TrimSpace(r.PostFormValue("code")) == "":
		return refuse(http.StatusForbidden, sentence(errNoCode))
	}
	p, err := s.o.MFA.VerifyCode(r.Context(), v.ID, strings.TrimSpace(r.PostFormValue("code")), v.actor())
	if err != nil {
		return refuse(http.StatusForbidden, sentence(err))
	}
	status := http.StatusOK
	var out []answer
	for _, pick := range picks {
		id, digest, _ := strings.Cut(pick, ":")
		req, err := s.o.Approvals.Approve(r.Context(), v.caller(), id, approval.ApproveOptions{Digest: digest}, p)
		a := answer{ID: id, R: req}
		if err != nil {
			a.Error, status = sentence(err), http.StatusConflict
			if shown, err := s.o.Approvals.Request(r.Context(), v.caller(), id); err == nil {
				a.R = shown
			}
		}
		out = append(out, a)
	}
	s.render(w, r, v, status, "answers", map[string]any{"Answers": out})
	return nil
}
