package web

import (
	"errors"
	"net/http"
	"strings"

	"jit-gateway/internal/admin"
	"jit-gateway/internal/store"
)

// changeRow is a change that waits for a second administrator.
type changeRow struct {
	store.AdminAct
	ByName string
	Own    bool
	Here   bool // can be confirmed on the page
}

// changes lists what waits for a second administrator (guarantee G6).
func (s *Server) changes(w http.ResponseWriter, r *http.Request, v *viewer) error {
	return s.showChanges(w, r, v, http.StatusOK, map[string]any{"Asked": r.URL.Query().Get("asked")})
}

func (s *Server) showChanges(w http.ResponseWriter, r *http.Request, v *viewer, status int, d map[string]any) error {
	if s.o.Changes == nil {
		return errNotFound
	}
	list, err := s.o.Changes.Waiting(r.Context())
	if err != nil {
		return err
	}
	var rows []changeRow
	for _, a := range list {
		row := changeRow{AdminAct: a, ByName: a.By, Own: a.Person == v.Person(), Here: a.Kind == admin.Kind}
		if u, err := s.o.Users.User(r.Context(), a.By); err == nil {
			row.ByName = u.Name
		}
		rows = append(rows, row)
	}
	d["Rows"] = rows
	s.render(w, r, v, status, "changes", d)
	return nil
}

// decideChange confirms one, which makes it, or refuses it.
func (s *Server) decideChange(w http.ResponseWriter, r *http.Request, v *viewer) error {
	if s.o.Changes == nil {
		return errNotFound
	}
	id, no := r.PathValue("id"), r.PostFormValue("answer") == "refuse"
	again := func(err error) error {
		return s.showChanges(w, r, v, http.StatusForbidden, map[string]any{"Error": sentence(err), "At": id})
	}
	if _, err := s.o.Changes.Decidable(r.Context(), v.by(), id, no); err != nil {
		return s.changeError(err, again)
	}
	if _, err := s.proofOfAct(r, v); err != nil {
		return again(err)
	}
	out, err := s.o.Changes.Decide(r.Context(), v.by(), id, no, strings.TrimSpace(r.PostFormValue("note")))
	switch {
	case err != nil:
		return s.changeError(err, again)
	case out.Code != "": // shown once
		return s.showChanges(w, r, v, http.StatusOK, map[string]any{"Code": out.Code, "Expires": out.Expires, "For": out.User.Name})
	}
	http.Redirect(w, r, "/admin/changes", http.StatusSeeOther)
	return nil
}

func (s *Server) changeError(err error, again func(error) error) error {
	var refusal *admin.Refusal
	if errors.As(err, &refusal) {
		return again(refusal)
	}
	return err
}
