package web

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"strings"
	"time"

	"jit-gateway/internal/audit"
	"jit-gateway/internal/display"
	"jit-gateway/internal/store"
	"jit-gateway/session"
)

// sessionsPage is how many sessions one page lists.
const sessionsPage = 50

// outcomes that the list can be filtered by, and how people read them.
var outcomes = []string{"open", "logout", "disconnected", "expired", "released", "revoked", "terminated", "idle", "user_disabled", "key_removed",
	"upstream_failed", "recording_failed", "protocol_error", "store_lost", "gateway_stopped", "internal_error", "crashed"}

var causeWords = map[string]string{
	"open": "open now", "logout": "logged out", "expired": "grant expired", "released": "released by its user", "revoked": "revoked",
	"terminated": "terminated by somebody", "idle": "idle for too long", "disconnected": "connection lost", "key_removed": "key removed", "store_lost": "store lost",
	"protocol_error": "protocol error", "internal_error": "gateway error", "user_disabled": "user disabled", "upstream_failed": "target failed",
	"recording_failed": "recording failed", "gateway_stopped": "gateway stopped", "crashed": "gateway crashed",
	"not_activated": "never activated", "last_session_ended": "last session ended",
}

// cause is why something ended, in words.
func cause(c any) string {
	text := display.Line(fmt.Sprint(c), 100)
	if w, ok := causeWords[text]; ok {
		return w
	}
	return strings.ReplaceAll(text, "_", " ")
}

// sessions lists what the viewer may know of: auditors everything, others
// their own and, while they are live, those under grants that they approved.
// The filter is in the address, so a list can be shared.
func (s *Server) sessions(w http.ResponseWriter, r *http.Request, v *viewer) error {
	q := r.URL.Query()
	d := map[string]any{"All": v.Auditor, "Outcomes": outcomes, "Flags": session.Flags, "Newer": ""}
	f, shown, err := s.sessionFilter(r, q)
	if err != nil {
		d["Error"] = sentence(err)
	}
	d["Q"], d["Filtered"] = shown, len(strings.Join(mapValues(shown), "")) > 0
	if !v.Auditor {
		f.UserID = v.ID
	}
	f.Limit, f.Before = sessionsPage+1, q.Get("before")
	rows, err := s.o.Rows.ListSessions(r.Context(), f)
	if err != nil {
		return err
	}
	if len(rows) > sessionsPage {
		rows = rows[:sessionsPage]
		d["Older"] = pageURL("/sessions", shown, "before", rows[sessionsPage-1].ID)
	}
	if f.Before != "" {
		d["Newer"] = pageURL("/sessions", shown, "", "")
	}
	if !v.Auditor && f.Before == "" { // what they may watch now, of others
		open, err := s.o.Rows.ListSessions(r.Context(), session.Filter{State: session.Open, Target: f.Target, GrantID: f.GrantID, Limit: 1000})
		if err != nil {
			return err
		}
		var theirs []session.Row
		may := s.watchable(r, v)
		for _, row := range open {
			if row.UserID != v.ID && may(row) && (f.State == "" || f.State == session.Open) && f.Cause == "" {
				theirs = append(theirs, row)
			}
		}
		rows = append(theirs, rows...)
	}
	d["Rows"] = rows
	s.render(w, r, v, http.StatusOK, "sessions", d)
	return nil
}

// sessionFilter reads the filter of an address, and returns it also as the
// form shows it.
func (s *Server) sessionFilter(r *http.Request, q url.Values) (f session.Filter, shown map[string]string, err error) {
	shown = map[string]string{}
	for _, k := range []string{"user", "target", "grant", "from", "to", "outcome", "flag"} {
		shown[k] = strings.TrimSpace(q.Get(k))
	}
	f.Target, f.GrantID, f.Flag = shown["target"], strings.ToUpper(shown["grant"]), shown["flag"]
	switch shown["outcome"] {
	case "open":
		f.State = session.Open
	case "crashed":
		f.State = session.Crashed
	default:
		f.Cause = shown["outcome"]
	}
	if f.Since, f.Until, err = dates(shown["from"], shown["to"]); err != nil {
		return f, shown, err
	}
	f.UserID, err = s.userID(r, shown["user"])
	return f, shown, err
}

// userID finds a user by name; nobody has the id that it gives for a name
// that nobody has.
func (s *Server) userID(r *http.Request, name string) (string, error) {
	if name == "" {
		return "", nil
	}
	u, err := s.o.Users.UserByName(r.Context(), name)
	if errors.Is(err, store.ErrNotFound) {
		return "nobody", nil
	}
	return u.ID, err
}

// dates are whole days in UTC, both included.
func dates(from, to string) (since, until time.Time, err error) {
	day := func(s string) time.Time {
		if s == "" {
			return time.Time{}
		}
		t, perr := time.Parse(time.DateOnly, s)
		if perr != nil {
			err = errors.New("a day is written like 2026-11-22")
		}
		return t
	}
	since, until = day(from), day(to)
	if err == nil && !until.IsZero() {
		until = until.AddDate(0, 0, 1)
	}
	return since, until, err
}

func pageURL(path string, shown map[string]string, key, value string) string {
	q := url.Values{}
	for k, v := range shown {
		if v != "" {
			q.Set(k, v)
		}
	}
	if key != "" {
		q.Set(key, value)
	}
	if len(q) == 0 {
		return path
	}
	return path + "?" + q.Encode()
}

func mapValues(m map[string]string) (out []string) {
	for v := range maps.Values(m) {
		out = append(out, v)
	}
	return out
}

// maySee: one's own list entry, a live session that one approved, or auditors.
func (s *Server) maySee(r *http.Request, v *viewer, row session.Row) bool {
	if v.Auditor || row.UserID == v.ID {
		return true
	}
	if row.State == session.Open {
		return s.o.Approvals.CanWatch(r.Context(), v.ID, row.GrantID) == nil
	}
	return s.mayReplay(r, v, row) // approvers and reviewers, where the rule says so
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

// viewed logs that somebody looks at what is in a recording, or takes it away.
func (s *Server) viewed(r *http.Request, v *viewer, row session.Row, t audit.Type, detail map[string]string) error {
	_, err := s.o.Log.Append(r.Context(), audit.Event{Type: t, Outcome: audit.Success, Actor: v.actor(),
		User: row.UserID, Target: row.Target, Grant: row.GrantID, Session: row.ID, Detail: detail})
	return err
}
