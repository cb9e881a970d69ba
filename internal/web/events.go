package web

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"jit-gateway/internal/audit"
)

const (
	maxBehind  = 1000             // events; a page that is further behind looks once
	eventBatch = 256              // read at once
	beat       = 20 * time.Second // without an event a stream says that it is alive
	breath     = time.Second      // between two of one page: a busy gateway has many
	maxStreams = 40               // of one user, on one gateway
)

// events tells an open page that something changed which its viewer may know
// of: a type, nothing else, since the page asks again for what it may see.
func (s *Server) events(w http.ResponseWriter, r *http.Request, v *viewer) error {
	leave, ok := s.streams.enter(v.ID)
	if !ok {
		http.Error(w, "Too many pages are open.", http.StatusTooManyRequests)
		return nil
	}
	defer leave()
	after, err := s.o.Feed.LastSeq(r.Context())
	if err != nil {
		return err
	}
	after = seen(r, after)
	if _, err = s.viewer(r); err != nil { // again, now that nothing can slip past the cursor
		return err
	}
	w.Header().Set("Content-Type", "text/event-stream")
	out := &liveStream{w: w}
	for out.flush() {
		batch, err := s.newEvents(r.Context(), after)
		if err != nil {
			return nil // the page reconnects
		}
		if v, err = s.viewer(r); err != nil { // disabled, signed out or expired meanwhile
			out.send("out", "out")
			out.flush()
			return nil
		}
		if len(batch) == 0 {
			out.comment()
			continue
		}
		after = batch[len(batch)-1].Seq
		if t := s.firstOf(r.Context(), v, batch); t != "" {
			out.id(after)
			out.send("changed", string(t))
			if out.flush(); !pause(r.Context(), breath) {
				return nil
			}
		}
	}
	return nil
}

// newEvents waits for events, at most until the next beat: then there are none.
func (s *Server) newEvents(ctx context.Context, after int64) ([]audit.Event, error) {
	wait, cancel := context.WithTimeout(ctx, s.beat)
	defer cancel()
	if err := s.o.Feed.WaitEvents(wait, after); err != nil {
		if ctx.Err() == nil && errors.Is(wait.Err(), context.DeadlineExceeded) {
			return nil, nil
		}
		return nil, err
	}
	return s.o.Feed.Events(ctx, after, eventBatch)
}

// firstOf is the type of the first event that changes a page of the viewer's,
// or "". Others' business is nobody's: not even that there was some.
func (s *Server) firstOf(ctx context.Context, v *viewer, batch []audit.Event) audit.Type {
	known := map[string]bool{}
	for _, ev := range batch {
		if !changesPages(ev.Type) {
			continue
		}
		if v.Admin || v.Auditor || ev.User == v.ID || ev.Actor.ID == v.ID {
			return ev.Type
		}
		about := ev.Request + " " + ev.Grant
		may, asked := known[about]
		if !asked {
			may = s.concerns(ctx, v, ev)
			known[about] = may
		}
		if may {
			return ev.Type
		}
	}
	return ""
}

// concerns reports whether the viewer may see the request or grant of an event.
func (s *Server) concerns(ctx context.Context, v *viewer, ev audit.Event) bool {
	if ev.Request != "" {
		if _, err := s.o.Approvals.Request(ctx, v.caller(), ev.Request); err == nil {
			return true
		}
	}
	if ev.Grant != "" {
		if _, err := s.o.Approvals.Grant(ctx, v.caller(), ev.Grant); err == nil {
			return true
		}
	}
	return false
}

// changesPages: a refusal changes none, and a form that looked at its own
// would make it look again, for ever.
func changesPages(t audit.Type) bool {
	kind, _, _ := strings.Cut(string(t), ".")
	return t != audit.RequestRefused && (kind == "request" || kind == "grant" || kind == "session")
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

func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// streams counts the open streams of each user: they cost memory and queries.
type streams struct {
	mu sync.Mutex
	n  map[string]int
}

func (s *streams) enter(user string) (leave func(), ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.n[user] >= maxStreams {
		return nil, false
	}
	if s.n == nil {
		s.n = map[string]int{}
	}
	s.n[user]++
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.n[user]--; s.n[user] == 0 {
			delete(s.n, user)
		}
	}, true
}
