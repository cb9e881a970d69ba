package web

import (
	"maps"
	"net/http"
	"slices"

	"jit-gateway/approval"
)

// label is one that several targets share, and that may be asked for at once.
type label struct {
	Text  string // role=web
	Count int
}

// access is what the viewer may ask for, or has.
func (s *Server) access(w http.ResponseWriter, r *http.Request, v *viewer) error {
	targets, err := s.o.Approvals.Targets(r.Context(), v.caller())
	if err != nil {
		return err
	}
	s.render(w, r, v, http.StatusOK, "access", map[string]any{"Targets": targets, "Labels": sharedLabels(targets)})
	return nil
}

// maxLabels bounds the list of labels; names that many share come first.
const maxLabels = 12

func sharedLabels(targets []approval.TargetView) []label {
	count := map[string]int{}
	for _, t := range targets {
		if !t.AskAllowed {
			continue
		}
		for k, v := range t.Target.Labels {
			count[k+"="+v]++
		}
	}
	var out []label
	for _, text := range slices.Sorted(maps.Keys(count)) {
		if n := count[text]; n > 1 {
			out = append(out, label{text, n})
		}
	}
	slices.SortStableFunc(out, func(a, b label) int { return b.Count - a.Count })
	return out[:min(len(out), maxLabels)]
}
