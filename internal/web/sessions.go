package web

import (
	"errors"
	"net/http"
	"os"
	"strings"

	"jit-gateway/internal/audit"
	"jit-gateway/internal/display"
	"jit-gateway/internal/store"
	"jit-gateway/recording"
	"jit-gateway/session"
)

// sessions lists what the viewer may see: auditors all, others their own and
// those under grants that they approved, while these are live.
func (s *Server) sessions(w http.ResponseWriter, r *http.Request, v *viewer) error {
	q := r.URL.Query()
	f := session.Filter{Target: q.Get("target"), State: session.State(q.Get("state")), Cause: q.Get("cause"), Limit: 200}
	if name := strings.TrimSpace(q.Get("user")); name != "" {
		u, err := s.o.Users.UserByName(r.Context(), name)
		if errors.Is(err, store.ErrNotFound) {
			f.UserID = "nobody"
		} else if err != nil {
			return err
		} else {
			f.UserID = u.ID
		}
	}
	rows, err := s.o.Rows.ListSessions(r.Context(), f)
	if err != nil {
		return err
	}
	seen := rows[:0]
	for _, row := range rows {
		if s.maySee(r, v, row) {
			seen = append(seen, row)
		}
	}
	s.render(w, r, v, http.StatusOK, "sessions", map[string]any{"Rows": seen, "Filter": f, "User": q.Get("user")})
	return nil
}

// maySee: one's own list entry, a live session that one approved, or auditors.
func (s *Server) maySee(r *http.Request, v *viewer, row session.Row) bool {
	if v.Auditor || row.UserID == v.ID {
		return true
	}
	return row.State == session.Open && s.o.Approvals.CanWatch(r.Context(), v.ID, row.GrantID) == nil
}

// mayReplay is stricter: the content of a recording.
func (s *Server) mayReplay(r *http.Request, v *viewer, row session.Row) bool {
	return s.o.Approvals.CanReplay(r.Context(), v.ID, row.GrantID) == nil
}

// row finds the session of the path, if the viewer may know of it.
func (s *Server) row(r *http.Request, v *viewer) (session.Row, error) {
	row, err := s.o.Rows.Session(r.Context(), r.PathValue("id"))
	if errors.Is(err, store.ErrNotFound) || (err == nil && !s.maySee(r, v, row)) {
		return session.Row{}, errNotFound
	}
	return row, err
}

// timelineMax bounds what one page shows of a recording's events.
const timelineMax = 500

// session shows one, with its recording if the viewer may see it. Looking is
// itself an event.
func (s *Server) session(w http.ResponseWriter, r *http.Request, v *viewer) error {
	row, err := s.row(r, v)
	if err != nil {
		return err
	}
	d := map[string]any{"S": row, "Error": "", "Start": r.URL.Query().Get("t")}
	if live, ok := s.o.Sessions.Get(row.ID); ok && row.State == session.Open {
		d["End"] = live.End()
		d["MayWatch"] = s.o.Approvals.CanWatch(r.Context(), v.ID, row.GrantID) == nil
	}
	if s.o.Approvals.CanTerminate(r.Context(), v.ID, row.GrantID) == nil && row.State == session.Open {
		d["MayTerminate"] = true
	}
	if row.State != session.Open && s.mayReplay(r, v, row) {
		if err := s.viewed(r, v, row, audit.RecordingViewed); err != nil {
			return err
		}
		if err := s.recordingData(row, d); err != nil {
			d["RecordingError"] = sentence(err)
		}
	}
	s.render(w, r, v, http.StatusOK, "session", d)
	return nil
}

// recordingData reads what the page shows beside the player.
func (s *Server) recordingData(row session.Row, d map[string]any) error {
	rec, err := s.o.Recordings.Open(row.ID)
	if errors.Is(err, os.ErrNotExist) {
		return errors.New("the recording is not here")
	} else if err != nil {
		return err
	}
	defer rec.Close()
	d["Duration"] = rec.Duration()
	report := rec.Verify()
	d["Verified"], d["VerifyText"] = report.OK, strings.Split(strings.TrimSpace(report.String()), "\n")
	if rec.Header().Encrypted() {
		d["Encrypted"] = true
		return nil
	}
	var timeline []moment
	hasScreen, more := false, false
	for ev, err := range rec.Events() {
		if err != nil {
			d["RecordingError"] = sentence(err)
			break
		}
		switch ev.Kind {
		case recording.KindOutput:
			hasScreen = true
			continue
		case recording.KindInput, recording.KindResize, recording.KindOpen, recording.KindClose, recording.KindEnv:
			continue
		}
		if len(timeline) == timelineMax {
			more = true
			break
		}
		timeline = addMoment(timeline, ev)
	}
	d["Timeline"], d["HasScreen"], d["More"] = timeline, hasScreen, more
	return nil
}

// cast streams the recording as asciicast for the player.
func (s *Server) cast(w http.ResponseWriter, r *http.Request, v *viewer) error {
	row, err := s.row(r, v)
	if err != nil {
		return err
	}
	if row.State == session.Open || !s.mayReplay(r, v, row) {
		return errNotFound
	}
	rec, err := s.o.Recordings.Open(row.ID)
	if err != nil {
		return errNotFound
	}
	defer rec.Close()
	if rec.Header().Encrypted() {
		return errNotFound // never decrypted on the page
	}
	w.Header().Set("Content-Type", "application/x-asciicast")
	if r.URL.Query().Has("download") {
		if err := s.viewed(r, v, row, audit.RecordingExported); err != nil {
			return err
		}
		w.Header().Set("Content-Disposition", `attachment; filename="`+row.ID+`.cast"`)
	}
	if err := recording.ExportCast(rec, w, 2, recording.ExportOptions{}); err != nil {
		s.o.Logger.Warn("cast was not sent whole", "session", row.ID, "error", err)
	}
	return nil
}

func (s *Server) viewed(r *http.Request, v *viewer, row session.Row, t audit.Type) error {
	_, err := s.o.Log.Append(r.Context(), audit.Event{Type: t, Outcome: audit.Success, Actor: v.actor(),
		User: row.UserID, Target: row.Target, Grant: row.GrantID, Session: row.ID})
	return err
}

// terminate ends a live session, with a reason and a fresh code.
func (s *Server) terminate(w http.ResponseWriter, r *http.Request, v *viewer) error {
	row, err := s.row(r, v)
	if err != nil {
		return err
	}
	refuse := func(err error) error {
		d := map[string]any{"S": row, "MayTerminate": true, "Error": sentence(err), "Reason": r.PostFormValue("reason")}
		s.render(w, r, v, http.StatusForbidden, "session", d)
		return nil
	}
	if err := s.o.Approvals.CanTerminate(r.Context(), v.ID, row.GrantID); err != nil {
		return err
	}
	reason := strings.TrimSpace(r.PostFormValue("reason"))
	if reason == "" {
		return refuse(errors.New("say why: the user sees the reason"))
	}
	if _, err := s.o.MFA.VerifyCode(r.Context(), v.ID, strings.TrimSpace(r.PostFormValue("code")), v.actor()); err != nil {
		return refuse(err)
	}
	t := session.Termination{Cause: "terminated", Reason: "Terminated by " + v.Name + ": " + display.Line(reason, 200), By: v.ID, At: s.o.Now()}
	if err := s.o.Sessions.Terminate(r.Context(), row.ID, t); err != nil {
		return refuse(err)
	}
	http.Redirect(w, r, "/sessions/"+row.ID, http.StatusSeeOther)
	return nil
}
