package web

import (
	"net/http"
	"slices"
)

// health says how the gateway is, in areas, the worst first.
func (s *Server) health(w http.ResponseWriter, r *http.Request, v *viewer) error {
	d := map[string]any{}
	if s.o.Health != nil {
		list := s.o.Health(r.Context())
		rank := map[string]int{"fail": 0, "warn": 1, "ok": 2}
		slices.SortStableFunc(list, func(a, b Health) int { return rank[a.Level] - rank[b.Level] })
		bad := 0
		for _, h := range list {
			if h.Level != "ok" {
				bad++
			}
		}
		d["List"], d["Bad"] = list, bad
	}
	live := s.o.Sessions.Live()
	d["Live"] = len(live)
	if s.o.Changes != nil {
		waiting, err := s.o.Changes.Waiting(r.Context())
		if err != nil {
			return err
		}
		d["Waiting"] = len(waiting)
	}
	users, err := s.o.Users.Users(r.Context())
	if err != nil {
		return err
	}
	d["Users"], d["Targets"] = len(users), len(s.o.Inventory.Targets())
	if s.o.Rules != nil {
		d["Rules"], d["Hash"] = len(s.o.Rules().Rules()), s.o.Rules().Hash()
	}
	s.render(w, r, v, http.StatusOK, "health", d)
	return nil
}
