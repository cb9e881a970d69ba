package web

import (
	"html/template"
	"net/http"
	"strconv"
	"strings"

	"jit-gateway/internal/audit"
	"jit-gateway/internal/display"
	"jit-gateway/internal/store"
)

// search finds words in recordings that the viewer may replay. A search is
// reading them, so it is an event.
func (s *Server) search(w http.ResponseWriter, r *http.Request, v *viewer) error {
	if s.o.Search == nil || !v.Auditor {
		return errNotFound
	}
	ctx, q := r.Context(), strings.TrimSpace(r.URL.Query().Get("q"))
	d := map[string]any{"Q": q}
	if q != "" {
		hits, err := s.o.Search(ctx, q, store.LineFilter{Target: r.URL.Query().Get("target"), Limit: 200})
		if err != nil {
			d["Error"] = sentence(err)
		}
		_, err = s.o.Log.Append(ctx, audit.Event{Type: audit.RecordingViewed, Outcome: audit.Success, Actor: v.actor(),
			Detail: map[string]string{"search": display.Line(q, 200), "hits": strconv.Itoa(len(hits))}})
		if err != nil {
			return err
		}
		seen := hits[:0]
		may := map[string]bool{}
		for _, h := range hits {
			ok, known := may[h.Session]
			if !known {
				row, err := s.o.Rows.Session(ctx, h.Session)
				ok = err == nil && s.mayReplay(r, v, row)
				may[h.Session] = ok
			}
			if ok {
				seen = append(seen, h)
			}
		}
		d["Hits"] = seen
	}
	s.render(w, r, v, http.StatusOK, "search", d)
	return nil
}

// excerpt marks the words that matched; all else is escaped.
func excerpt(s string) template.HTML {
	var b strings.Builder
	for i, part := range strings.Split(s, store.MarkStart) {
		before, after, marked := strings.Cut(part, store.MarkEnd)
		if i == 0 || !marked {
			b.WriteString(template.HTMLEscapeString(display.Line(part, 2000)))
			continue
		}
		b.WriteString("<mark>" + template.HTMLEscapeString(display.Line(before, 2000)) + "</mark>" + template.HTMLEscapeString(display.Line(after, 2000)))
	}
	return template.HTML(b.String())
}

// evidence is the pack of a grant, which verifies offline.
func (s *Server) evidence(w http.ResponseWriter, r *http.Request, v *viewer) error {
	id := r.PathValue("id")
	if s.o.Evidence == nil || s.o.Approvals.CanReplay(r.Context(), v.ID, id) != nil {
		return errNotFound
	}
	w.Header().Set("Content-Type", "application/zip")
	w.Header().Set("Content-Disposition", `attachment; filename="evidence-`+id+`.zip"`)
	if err := s.o.Evidence(r.Context(), v.caller(), id, w); err != nil {
		s.o.Logger.Error("an evidence pack was not made whole", "grant", id, "error", err)
		panic(http.ErrAbortHandler) // the browser must not keep half a pack
	}
	return nil
}
