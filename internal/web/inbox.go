package web

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"jit-gateway/approval"
	"jit-gateway/internal/audit"
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
	s.render(w, r, v, http.StatusOK, "inbox", map[string]any{"Pending": pending, "Reviews": reviews, "Mine": mine, "Waits": waits, "Grants": grants})
	return nil
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
	after = seen(r, after)
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
		if ev.Type == audit.RequestRefused || !strings.HasPrefix(string(ev.Type), "request.") &&
			!strings.HasPrefix(string(ev.Type), "grant.") && !strings.HasPrefix(string(ev.Type), "session.") {
			continue // a refusal changes no page; one that looked at a form would make it look again, for ever
		}
		if _, err := fmt.Fprintf(w, "id: %d\nevent: changed\ndata: %s\n\n", ev.Seq, ev.Type); err != nil {
			return nil
		}
		flusher.Flush()
	}
	return nil
}

// seen is up to where the page knows what happened: what it said when it was
// made, or the last event of a stream that broke. Without it, what happens
// between a page and its stream would be missed. A page that is far behind
// gets one event, and looks again.
func seen(r *http.Request, last int64) int64 {
	for _, text := range []string{r.Header.Get("Last-Event-ID"), r.URL.Query().Get("after")} {
		if n, err := strconv.ParseInt(text, 10, 64); err == nil && n <= last {
			return max(n, last-maxBehind)
		}
	}
	return last
}

const maxBehind = 1000
