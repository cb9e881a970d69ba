package web

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"jit-gateway/internal/display"
	"jit-gateway/session"
)

// liveRow is a session as it stands now.
type liveRow struct {
	session.Row
	Here    bool // on this gateway: what follows is known
	Left    time.Duration
	Window  time.Duration
	Soon    bool // it ends within five minutes
	Length  time.Duration
	Quiet   time.Duration // without traffic for so long, if it is worth saying
	Doing   string        // the last statement or command
	Viewers []string
}

// live lists the sessions of now that the viewer may watch, those of other
// gateways too, oldest first.
func (s *Server) live(w http.ResponseWriter, r *http.Request, v *viewer) error {
	rows, err := s.o.Rows.ListSessions(r.Context(), session.Filter{State: session.Open, Limit: 1000})
	if err != nil {
		return err
	}
	now := s.o.Now()
	infos := map[string]session.Info{}
	for _, i := range s.o.Sessions.Live() {
		infos[i.ID] = i
	}
	var out []liveRow
	may := s.watchable(r, v)
	for i := len(rows) - 1; i >= 0; i-- {
		row := rows[i]
		if !may(row) {
			continue
		}
		l := liveRow{Row: row, Length: now.Sub(row.StartedAt)}
		if info, ok := infos[row.ID]; ok {
			l.Row, l.Here, l.Left = info.Row, true, max(info.End.Sub(now), 0)
			l.Soon, l.Window = l.Left < 5*time.Minute, max(info.End.Sub(row.StartedAt), time.Minute)
			if quiet := now.Sub(info.LastUsed); quiet > time.Minute {
				l.Quiet = quiet
			}
			if live, ok := s.o.Sessions.Get(row.ID); ok {
				l.Doing, l.Viewers = display.Line(live.Recorder().Doing(), 300), live.Recorder().Viewers()
			}
		}
		out = append(out, l)
	}
	s.render(w, r, v, http.StatusOK, "live", map[string]any{"Rows": out, "All": v.Auditor || v.Admin})
	return nil
}

// watchable tells which live sessions the viewer may watch; a list asks once
// for each grant.
func (s *Server) watchable(r *http.Request, v *viewer) func(session.Row) bool {
	known := map[string]bool{}
	return func(row session.Row) bool {
		ok, asked := known[row.GrantID]
		if !asked {
			ok = v.Auditor || v.Admin || s.o.Approvals.CanWatch(r.Context(), v.ID, row.GrantID) == nil
			known[row.GrantID] = ok
		}
		return ok
	}
}

// terminate ends a live session, with a reason and a fresh factor.
func (s *Server) terminate(w http.ResponseWriter, r *http.Request, v *viewer) error {
	row, err := s.row(r, v)
	if err != nil {
		return err
	}
	refuse := func(err error) error {
		d := map[string]any{"S": row, "Error": sentence(err), "Reason": r.PostFormValue("reason")}
		s.liveData(r, v, row, d)
		s.render(w, r, v, http.StatusForbidden, "session", d)
		return nil
	}
	if err := s.o.Approvals.CanTerminate(r.Context(), v.ID, row.GrantID); err != nil {
		return err
	}
	if row.State != session.Open {
		return refuse(fmt.Errorf("the session has ended already: %s", cause(row.Cause)))
	}
	reason := strings.TrimSpace(r.PostFormValue("reason"))
	if reason == "" {
		return refuse(errors.New("say why: the user sees the reason"))
	}
	digest, err := s.grantDigest(r, v, row.GrantID)
	if err != nil {
		return err
	}
	if _, err := s.proof(r, v, digest); err != nil {
		return refuse(err)
	}
	t := session.Termination{Cause: "terminated", Reason: "Terminated by " + v.Name + ": " + display.Line(reason, 200), By: v.ID, At: s.o.Now()}
	if err := s.o.Sessions.Terminate(r.Context(), row.ID, t); err != nil {
		return refuse(err)
	}
	http.Redirect(w, r, "/sessions/"+row.ID, http.StatusSeeOther)
	return nil
}
