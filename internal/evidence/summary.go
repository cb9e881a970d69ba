package evidence

import (
	"archive/zip"
	"embed"
	"html/template"
	"time"

	"jit-gateway/approval"
	"jit-gateway/internal/display"
	"jit-gateway/session"
)

//go:embed summary.tmpl.html
var summaryFile embed.FS

var summaryTemplate = template.Must(template.New("summary.tmpl.html").Funcs(template.FuncMap{
	"line":  func(s string) string { return display.Line(s, 2000) },
	"stamp": func(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 UTC") },
}).ParseFS(summaryFile, "summary.tmpl.html"))

// summary is for reading: self-contained, no scripts, unsigned.
func (p *Writer) summary(z *zip.Writer, m Manifest, r approval.Request, g approval.Grant, rows []session.Row) error {
	w, err := z.Create(summaryName)
	if err != nil {
		return err
	}
	return summaryTemplate.Execute(w, map[string]any{"M": m, "R": r, "G": g, "Rows": rows})
}
