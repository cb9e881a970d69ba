package web

import (
	"net/http"

	"jit-gateway/approval"
)

// inbox is the first page: what waits for the viewer, what they wait for, and
// what they have. An emergency that nobody has reviewed stays until it is.
func (s *Server) inbox(w http.ResponseWriter, r *http.Request, v *viewer) error {
	ctx := r.Context()
	pending, err := s.o.Approvals.Pending(ctx, v.caller())
	if err != nil {
		return err
	}
	reviews, err := s.o.Approvals.OpenReviews(ctx, v.caller())
	if err != nil {
		return err
	}
	mine, err := s.o.Approvals.Requests(ctx, v.caller(), approval.RequestFilter{UserID: v.ID, Limit: 20})
	if err != nil {
		return err
	}
	waits := map[string]string{} // where my own requests stand
	for _, req := range mine {
		if req.State != approval.Pending {
			continue
		}
		quorums, err := s.o.Approvals.Approvers(ctx, req)
		if err != nil {
			return err
		}
		waits[req.ID] = approval.SentTo(quorums)
	}
	grants, err := s.o.Approvals.Grants(ctx, v.caller(), approval.GrantFilter{UserID: v.ID,
		States: []approval.GrantState{approval.Waiting, approval.Active}})
	if err != nil {
		return err
	}
	s.render(w, r, v, http.StatusOK, "inbox", map[string]any{"Pending": pending, "Reviews": reviews, "Mine": mine, "Waits": waits, "Grants": grants,
		"Waiting": len(pending) + len(reviews)})
	return nil
}
