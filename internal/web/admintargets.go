package web

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"jit-gateway/internal/admin"
	"jit-gateway/internal/inventory"
)

const targetsPage = 100

// targets lists the inventory.
func (s *Server) targets(w http.ResponseWriter, r *http.Request, v *viewer) error {
	q := r.URL.Query()
	shown := map[string]string{"q": strings.ToLower(strings.TrimSpace(q.Get("q"))), "kind": q.Get("kind"), "label": strings.TrimSpace(q.Get("label"))}
	list := slices.Clone(s.o.Inventory.Targets())
	list = slices.DeleteFunc(list, func(t inventory.Target) bool {
		name := strings.Contains(t.Name, shown["q"]) || slices.ContainsFunc(t.Aliases, func(a string) bool { return strings.Contains(a, shown["q"]) })
		return !name || shown["kind"] != "" && string(t.Kind) != shown["kind"] || !hasLabel(t, shown["label"])
	})
	d := map[string]any{"Q": shown, "Total": len(list)}
	from, _ := strconv.Atoi(q.Get("from"))
	list = list[min(max(from, 0), len(list)):]
	if len(list) > targetsPage {
		list = list[:targetsPage]
		d["More"] = pageURL("/admin/targets", shown, "from", strconv.Itoa(max(from, 0)+targetsPage))
	}
	d["Rows"] = list
	s.render(w, r, v, http.StatusOK, "targets", d)
	return nil
}

// hasLabel takes key or key=value.
func hasLabel(t inventory.Target, want string) bool {
	if want == "" {
		return true
	}
	k, val, exact := strings.Cut(want, "=")
	got, ok := t.Labels[k]
	return ok && (!exact || got == val)
}

// target shows one definition as it is loaded.
func (s *Server) target(w http.ResponseWriter, r *http.Request, v *viewer) error {
	t, err := s.targetOf(r)
	if err != nil {
		return err
	}
	return s.showTarget(w, r, v, t, map[string]any{})
}

func (s *Server) targetOf(r *http.Request) (inventory.Target, error) {
	t, ok := s.o.Inventory.Target(inventory.Normalize(r.PathValue("name")))
	if !ok {
		return t, errNotFound
	}
	return t, nil
}

func (s *Server) showTarget(w http.ResponseWriter, r *http.Request, v *viewer, t inventory.Target, d map[string]any) error {
	d["T"], d["Address"], d["MayCheck"] = t, admin.Address(t), s.o.Check != nil
	s.render(w, r, v, http.StatusOK, "target", d)
	return nil
}

// checkTime bounds a check that somebody waits for.
const checkTime = 60 * time.Second

// checkTarget looks at a target now: it connects to it, so it is no GET.
func (s *Server) checkTarget(w http.ResponseWriter, r *http.Request, v *viewer) error {
	t, err := s.targetOf(r)
	if err != nil {
		return err
	}
	if s.o.Check == nil {
		return errNotFound
	}
	ctx, cancel := context.WithTimeout(r.Context(), checkTime)
	defer cancel()
	began := s.o.Now()
	results, err := s.o.Check(ctx, t, r.PostFormValue("standing") != "")
	if errors.Is(err, context.DeadlineExceeded) {
		err = errors.New("the target did not answer in time")
	}
	d := map[string]any{"Results": results, "Checked": true, "Took": s.o.Now().Sub(began), "Bad": slices.ContainsFunc(results, func(c CheckResult) bool { return !c.OK })}
	if err != nil {
		d["Error"] = sentence(err)
	}
	return s.showTarget(w, r, v, t, d)
}
