package report

import (
	"bytes"
	_ "embed"
	"fmt"
	"html/template"
	"strings"
	"time"
)

//go:embed report.html
var page string

// htmlHead is how the HTML form begins.
const htmlHead = "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>Access report"

// few is how many names a cell shows before the rest is folded away.
const few = 12

// The page holds no script, loads nothing, and can be kept as a file: what it
// shows is in it.
var tmpl = template.Must(template.New("report").Funcs(template.FuncMap{
	"stamp": func(t time.Time) string {
		if t.IsZero() {
			return ""
		}
		return t.UTC().Format("2006-01-02 15:04")
	},
	"day":   func(t time.Time) string { return t.UTC().Format(time.DateOnly) },
	"join":  func(s []string) string { return strings.Join(s, ", ") },
	"words": func(s string) string { return strings.ReplaceAll(s, "_", " ") },
	"span":  func(n int64) string { return span(n) },
	"list": func(names []string) template.HTML {
		if len(names) <= few {
			return template.HTML(template.HTMLEscapeString(strings.Join(names, ", ")))
		}
		return template.HTML(fmt.Sprintf("<details><summary>%d targets</summary>%s</details>", len(names), template.HTMLEscapeString(strings.Join(names, ", "))))
	},
	"emergencies": func(gs []Grant) (out []Grant) {
		for _, g := range gs {
			if g.BreakGlass {
				out = append(out, g)
			}
		}
		return out
	},
	"dormant": func(es []Eligible) (out []Eligible) {
		for _, e := range es {
			if e.Dormant {
				out = append(out, e)
			}
		}
		return out
	},
}).Parse(page))

// span is a duration for people: 0s, 45s, 12m, 1h 30m, 2d 4h.
func span(n int64) string {
	d := time.Duration(n) * time.Second
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%ds", n)
	case d < time.Hour:
		return fmt.Sprintf("%dm", int(d.Round(time.Minute)/time.Minute))
	case d < 24*time.Hour:
		d = d.Round(time.Minute)
		return strings.TrimSuffix(fmt.Sprintf("%dh %dm", d/time.Hour, d%time.Hour/time.Minute), " 0m")
	}
	d = d.Round(time.Hour)
	return strings.TrimSuffix(fmt.Sprintf("%dd %dh", d/(24*time.Hour), d%(24*time.Hour)/time.Hour), " 0h")
}

func writeHTML(b *bytes.Buffer, r Report) error {
	if err := tmpl.Execute(b, r); err != nil {
		return fmt.Errorf("make the page of the report: %w", err)
	}
	return nil
}
