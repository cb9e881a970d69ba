package web

import (
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	"jit-gateway/approval"
	"jit-gateway/internal/store"
)

const (
	startLayout = "2006-01-02T15:04" // of <input type=datetime-local>; UTC here, and the page says so
	maxMinutes  = 60 * 24 * 30
)

// askForm asks for one target, for several, or for all with a label; the rule
// that would apply says how long, and who would have to say yes.
func (s *Server) askForm(w http.ResponseWriter, r *http.Request, v *viewer) error {
	return s.showAsk(w, r, v, http.StatusOK, "")
}

// askOf reads an ask from the address or the form: the part that says for what.
func askOf(r *http.Request) approval.Ask {
	_ = r.ParseForm()
	a := approval.Ask{Targets: r.Form["target"], Login: r.FormValue("login"), BreakGlass: r.FormValue("emergency") != ""}
	if k, v, ok := strings.Cut(r.FormValue("label"), "="); ok {
		a.Targets, a.Selector = nil, map[string]string{k: v}
	}
	return a
}

func (s *Server) showAsk(w http.ResponseWriter, r *http.Request, v *viewer, status int, msg string) error {
	a := askOf(r)
	d := map[string]any{"Ask": a, "Label": r.FormValue("label"), "Error": msg, "Reason": r.PostFormValue("reason"), "Ticket": r.PostFormValue("ticket"),
		"Minutes": r.PostFormValue("minutes"), "Start": r.PostFormValue("start"), "UntilLast": r.PostFormValue("until_last") != ""}
	p, err := s.o.Approvals.Preview(r.Context(), v.caller(), a)
	var choose *approval.ChooseLogin
	switch {
	case errors.As(err, &choose):
		d["Choose"], d["Asked"], d["Again"] = choose.Logins, choose.Target, r.URL.Query()
		d["Links"] = loginLinks(r, choose.Logins)
	case errors.Is(err, approval.ErrForbidden):
		if msg == "" {
			return errNotFound // one answer, whether it exists or not
		}
	case err != nil:
		return err
	default:
		d["P"] = p
		if d["Minutes"] == "" {
			d["Minutes"] = strconv.Itoa(int(p.Default / time.Minute))
		}
	}
	s.render(w, r, v, status, "ask", d)
	return nil
}

// loginLinks are the ways on from an ask that leaves the login open.
func loginLinks(r *http.Request, logins []string) []string {
	var out []string
	q := r.URL.Query()
	for _, l := range logins {
		q.Set("login", l)
		out = append(out, "/ask?"+q.Encode())
	}
	return out
}

// duration and start read what people typed.
func askedMinutes(r *http.Request) (time.Duration, error) {
	m := r.PostFormValue("minutes")
	if m == "" {
		return 0, nil
	}
	n, err := strconv.Atoi(m)
	if err != nil || n < 1 || n > maxMinutes {
		return 0, errors.New("give the time in whole minutes")
	}
	return time.Duration(n) * time.Minute, nil
}

func askedStart(r *http.Request) (time.Time, error) {
	text := strings.TrimSpace(r.PostFormValue("start"))
	if text == "" {
		return time.Time{}, nil
	}
	for _, layout := range []string{startLayout, "2006-01-02T15:04:05", "2006-01-02 15:04"} {
		if t, err := time.ParseInLocation(layout, text, time.UTC); err == nil {
			return t, nil
		}
	}
	return time.Time{}, errors.New("give the start as 2026-11-23T08:30, in UTC")
}

// file asks. It gives no access: an approval and a code follow.
func (s *Server) file(w http.ResponseWriter, r *http.Request, v *viewer) error {
	a := askOf(r)
	a.Reason, a.Ticket, a.EndsWithLast = strings.TrimSpace(r.PostFormValue("reason")), strings.TrimSpace(r.PostFormValue("ticket")), r.PostFormValue("until_last") != ""
	var err, err2 error
	a.Duration, err = askedMinutes(r)
	a.StartAt, err2 = askedStart(r)
	if err := errors.Join(err, err2); err != nil {
		return s.showAsk(w, r, v, http.StatusBadRequest, sentence(err))
	}
	if a.BreakGlass && r.PostFormValue("loud") == "" {
		return s.showAsk(w, r, v, http.StatusBadRequest, "Say that you mean it: others are told at once, and somebody reviews it afterwards.")
	}
	req, err := s.o.Approvals.File(r.Context(), v.caller(), a)
	if err != nil {
		return s.showAsk(w, r, v, http.StatusForbidden, sentence(err))
	}
	s.toRequest(w, r, req)
	return nil
}

// toRequest leads on: to the grant where there is one already.
func (s *Server) toRequest(w http.ResponseWriter, r *http.Request, req approval.Request) {
	if req.State == approval.Approved && req.GrantID != "" {
		http.Redirect(w, r, "/grants/"+req.GrantID, http.StatusSeeOther)
		return
	}
	http.Redirect(w, r, "/requests/"+req.ID, http.StatusSeeOther)
}

func (s *Server) extendForm(w http.ResponseWriter, r *http.Request, v *viewer) error {
	return s.showExtend(w, r, v, http.StatusOK, "")
}

func (s *Server) showExtend(w http.ResponseWriter, r *http.Request, v *viewer, status int, msg string) error {
	g, err := s.o.Approvals.Grant(r.Context(), v.caller(), r.PathValue("id"))
	if errors.Is(err, store.ErrNotFound) || err == nil && g.UserID != v.ID {
		return errNotFound
	} else if err != nil {
		return err
	}
	d := map[string]any{"G": g, "Error": msg, "Reason": r.PostFormValue("reason"), "Ticket": r.PostFormValue("ticket"), "Minutes": r.PostFormValue("minutes")}
	p, err := s.o.Approvals.Preview(r.Context(), v.caller(), approval.Ask{Extends: g.ID})
	if err == nil {
		d["P"] = p
		if d["Minutes"] == "" {
			d["Minutes"] = strconv.Itoa(int(p.Default / time.Minute))
		}
	} else if msg == "" {
		d["Error"] = sentence(err)
	}
	s.render(w, r, v, status, "extend", d)
	return nil
}

// extend asks for more time. The end moves when it is approved.
func (s *Server) extend(w http.ResponseWriter, r *http.Request, v *viewer) error {
	more, err := askedMinutes(r)
	if err != nil {
		return s.showExtend(w, r, v, http.StatusBadRequest, sentence(err))
	}
	req, err := s.o.Approvals.File(r.Context(), v.caller(), approval.Ask{Extends: r.PathValue("id"), Duration: more,
		Reason: strings.TrimSpace(r.PostFormValue("reason")), Ticket: strings.TrimSpace(r.PostFormValue("ticket"))})
	if errors.Is(err, store.ErrNotFound) {
		return errNotFound
	} else if err != nil {
		return s.showExtend(w, r, v, http.StatusForbidden, sentence(err))
	}
	s.toRequest(w, r, req)
	return nil
}
