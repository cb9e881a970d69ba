package web

import (
	"net/http"
	"strings"

	"jit-gateway/internal/store"
)

// findings lists what was unusual, for auditors and administrators: what
// nobody has looked at, or all.
func (s *Server) findings(w http.ResponseWriter, r *http.Request, v *viewer) error {
	if s.o.Findings == nil || (!v.Auditor && !v.Admin) {
		return errNotFound
	}
	all := r.URL.Query().Has("all")
	list, err := s.o.Findings(r.Context(), store.FindingFilter{Open: !all, Limit: 200})
	if err != nil {
		return err
	}
	names := map[string]string{}
	for _, f := range list {
		for _, id := range []string{f.UserID, f.AckedBy} {
			if u, err := s.o.Users.User(r.Context(), id); err == nil {
				names[id] = u.Name
			}
		}
	}
	s.render(w, r, v, http.StatusOK, "findings", map[string]any{"Findings": list, "All": all, "Names": names, "Me": v.ID})
	return nil
}

// acknowledge notes that the viewer has looked. It changes no access.
func (s *Server) acknowledge(w http.ResponseWriter, r *http.Request, v *viewer) error {
	if s.o.Findings == nil {
		return errNotFound
	}
	note := strings.TrimSpace(r.PostFormValue("note"))
	if err := s.o.Approvals.Acknowledge(r.Context(), v.caller(), r.PathValue("id"), note); err != nil {
		return err
	}
	http.Redirect(w, r, "/findings", http.StatusSeeOther)
	return nil
}
