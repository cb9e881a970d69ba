package web

import (
	"html/template"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"jit-gateway/internal/audit"
	"jit-gateway/internal/display"
	"jit-gateway/internal/store"
	"jit-gateway/recording"
)

// search finds words in recordings that the viewer may replay. A search is
// reading them, so it is an event.
func (s *Server) search(w http.ResponseWriter, r *http.Request, v *viewer) error {
	if s.o.Search == nil || !v.Auditor {
		return errNotFound
	}
	ctx, q := r.Context(), strings.TrimSpace(r.URL.Query().Get("q"))
	shown := map[string]string{}
	for _, k := range []string{"user", "target", "from", "to"} {
		shown[k] = strings.TrimSpace(r.URL.Query().Get(k))
	}
	d := map[string]any{"Q": q, "F": shown, "Narrow": len(strings.Join(mapValues(shown), "")) > 0}
	f, err := s.lineFilter(r, shown)
	if err != nil {
		d["Error"] = sentence(err)
	} else if q != "" {
		hits, err := s.o.Search(ctx, q, f)
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
		d["Hits"], d["Full"] = seen, len(hits) == searchHits
	}
	s.render(w, r, v, http.StatusOK, "search", d)
	return nil
}

// searchHits is how many hits a page shows.
const searchHits = 200

func (s *Server) lineFilter(r *http.Request, shown map[string]string) (f store.LineFilter, err error) {
	f = store.LineFilter{Target: shown["target"], Limit: searchHits}
	if f.Since, f.Until, err = dates(shown["from"], shown["to"]); err != nil {
		return f, err
	}
	f.UserID, err = s.userID(r, shown["user"])
	return f, err
}

// hitURL leads into the replay, to the moment; to what is no terminal text it
// leads in the timeline.
func hitURL(h store.LineHit) string {
	q := url.Values{"t": {strconv.FormatFloat(h.At.Seconds(), 'f', 1, 64)}}
	if h.Kind == string(recording.KindOutput) || h.Kind == "output" {
		return "/sessions/" + h.Session + "?" + q.Encode()
	}
	q.Set("after", strconv.FormatInt(int64(h.At)-1, 10))
	return "/sessions/" + h.Session + "?" + q.Encode() + "#timeline"
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
