package web

import (
	"bytes"
	"embed"
	"errors"
	"fmt"
	"html/template"
	"io/fs"
	"net/http"
	"path"
	"strconv"
	"strings"
	"time"

	"jit-gateway/approval"
	"jit-gateway/internal/display"
	"jit-gateway/internal/store"
)

//go:embed templates static
var files embed.FS

// parseTemplates makes one template set per page: layout plus the page.
func (s *Server) parseTemplates() error {
	names, err := fs.Glob(files, "templates/*.html")
	if err != nil {
		return err
	}
	layout, err := template.New("layout").Funcs(s.funcs()).Funcs(s.adminFuncs()).ParseFS(files, "templates/layout.html", "templates/parts.html")
	if err != nil {
		return fmt.Errorf("parse the page's layout: %w", err)
	}
	s.tmpl = map[string]*template.Template{}
	for _, n := range names {
		page := strings.TrimSuffix(path.Base(n), ".html")
		if page == "layout" || page == "parts" {
			continue
		}
		t, err := template.Must(layout.Clone()).ParseFS(files, n)
		if err != nil {
			return fmt.Errorf("parse page %s: %w", page, err)
		}
		s.tmpl[page] = t
	}
	return nil
}

// funcs of the templates. line is package display's (G11); html/template
// escapes for HTML after it.
func (s *Server) funcs() template.FuncMap {
	return template.FuncMap{
		"line":  func(v any) string { return display.Line(fmt.Sprint(v), 2000) },
		"dur":   duration,
		"stamp": func(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05Z") },
		"when":  s.when,
		"until": until,
		"at":    func(t time.Time) string { return t.UTC().Format("2 Jan 2006, 15:04 UTC") },
		"bytes": byteCount,
		"join":  strings.Join,

		"minutes": func(d time.Duration) int { return int(d / time.Minute) },
		"gateway": func() string { return s.o.Name },
		"enroll":  s.o.Enroll,
		"clock":   clock,
		"inc":     func(i int) int { return i + 1 },
		"asset":   s.assetURL,
		"excerpt": excerpt,
		"seconds": func(d time.Duration) string { return strconv.FormatFloat(d.Seconds(), 'f', 1, 64) },
		"elsewhere": func() string {
			if s.o.Elsewhere.OIDC == nil {
				return ""
			}
			return s.o.Elsewhere.Name
		},
		"passkeys": func() bool { return s.o.People.Passkeys != nil },

		"hasPasskey": s.hasPasskey,
		"list":       func(v ...string) []string { return v },
	}
}

// page is what every template gets.
type page struct {
	V    *viewer
	Name string
	Path string
	Here string // where it can be had again; "" if it is shown this once
	Busy bool   // a form that was refused: what was typed stays
	D    any
}

// origin tells where what is shown can be had again. The answer to a form is at
// an address that takes forms only: what was refused is above it, what a form
// made is nowhere.
func origin(r *http.Request, status int) (here string, busy bool) {
	if r.Method == http.MethodGet {
		return safePath(r.URL.RequestURI()), false
	}
	if above := path.Dir(r.URL.Path); status >= 400 && above != "/" {
		return above, true
	}
	return "", false
}

func (s *Server) render(w http.ResponseWriter, r *http.Request, v *viewer, status int, name string, data any) {
	t, ok := s.tmpl[name]
	if !ok {
		s.o.Logger.Error("no such page", "name", name)
		http.Error(w, "This page is missing.", http.StatusInternalServerError)
		return
	}
	var b bytes.Buffer
	here, busy := origin(r, status)
	if err := t.ExecuteTemplate(&b, "layout", page{v, s.o.Name, r.URL.Path, here, busy, data}); err != nil {
		s.o.Logger.Error("page did not render", "name", name, "error", err)
		http.Error(w, "This page could not be shown. The operator's log has the detail.", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	if name == "session" {
		w.Header().Set("Content-Security-Policy", cspPlayer)
	}
	w.WriteHeader(status)
	w.Write(b.Bytes())
}

// fail shows an error as a page: what happened, and what to do next.
func (s *Server) fail(w http.ResponseWriter, r *http.Request, v *viewer, err error) {
	status, msg := http.StatusInternalServerError, "Something went wrong here. The operator's log has the detail."
	switch {
	case errors.Is(err, errNotFound), errors.Is(err, store.ErrNotFound):
		status, msg = http.StatusNotFound, "There is nothing here, or it is not for you to see."
	case errors.Is(err, approval.ErrForbidden), errors.Is(err, approval.ErrOwnRequest):
		status, msg = http.StatusForbidden, sentence(err)
	case errors.Is(err, approval.ErrInvalid):
		status, msg = http.StatusBadRequest, sentence(err)
	case errors.Is(err, approval.ErrNotPending), errors.Is(err, approval.ErrDigest), errors.Is(err, store.ErrConflict):
		status, msg = http.StatusConflict, sentence(err)
	default:
		s.o.Logger.Error("page failed", "path", r.URL.Path, "error", err)
	}
	s.render(w, r, v, status, "error", map[string]any{"Message": msg, "Status": status})
}

var errNotFound = errors.New("not found")

// sentence makes an error's text one for people: capital first, full stop last.
func sentence(err error) string {
	t := display.Line(err.Error(), 1000)
	if t == "" {
		return ""
	}
	t = strings.ToUpper(t[:1]) + t[1:]
	if !strings.ContainsAny(t[len(t)-1:], ".!?") {
		t += "."
	}
	return t
}

// when is a time as people say it, next to an exact <time>.
func (s *Server) when(t time.Time) string {
	if t.IsZero() {
		return "–"
	}
	switch d := s.o.Now().Sub(t); {
	case d < -time.Minute:
		return "in " + duration(-d)
	case d < time.Minute:
		return "just now"
	case d < 48*time.Hour:
		return duration(d) + " ago"
	}
	return t.UTC().Format("2 Jan 2006 15:04")
}

// until is a window as people read it, with its day once.
func until(start, end time.Time) string {
	start, end = start.UTC(), end.UTC()
	if start.YearDay() == end.YearDay() && start.Year() == end.Year() {
		return start.Format("2 Jan 2006, 15:04:05") + " to " + end.Format("15:04:05 UTC")
	}
	return start.Format("2 Jan 2006, 15:04:05") + " to " + end.Format("2 Jan 2006, 15:04:05 UTC")
}

func duration(d time.Duration) string {
	d = d.Round(time.Second)
	h, m, sec := int(d/time.Hour), int(d/time.Minute)%60, int(d/time.Second)%60
	switch {
	case h >= 48:
		return fmt.Sprintf("%d days", h/24)
	case h > 0 && m > 0:
		return fmt.Sprintf("%d h %d min", h, m)
	case h > 0:
		return fmt.Sprintf("%d h", h)
	case m > 0:
		return fmt.Sprintf("%d min", m)
	}
	return fmt.Sprintf("%d s", sec)
}

func byteCount(n int64) string {
	switch {
	case n < 1<<10:
		return fmt.Sprintf("%d B", n)
	case n < 1<<20:
		return fmt.Sprintf("%.1f KiB", float64(n)/(1<<10))
	case n < 1<<30:
		return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20))
	}
	return fmt.Sprintf("%.1f GiB", float64(n)/(1<<30))
}
