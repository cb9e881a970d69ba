package web

import (
	"io"
	"net/http"

	"jit-gateway/internal/audit"
	"jit-gateway/recording"
)

// export is one form in which a recording can be taken away.
type export struct {
	Format string // in the address
	Text   string // what it is, for people
	suffix string
	kind   string
	write  func(rec *recording.Reader, w io.Writer) error // nil: the container itself
}

// exports in the order in which they are offered. The container comes first:
// it alone is evidence, and it alone is to be had of an encrypted recording.
var exports = []export{
	{"container", "Container, as it was sealed", ".jitrec", "application/octet-stream", nil},
	{"cast", "asciicast v2", ".cast", "application/x-asciicast", func(rec *recording.Reader, w io.Writer) error {
		return recording.ExportCast(rec, w, 2, recording.ExportOptions{})
	}},
	{"cast3", "asciicast v3", ".v3.cast", "application/x-asciicast", func(rec *recording.Reader, w io.Writer) error {
		return recording.ExportCast(rec, w, 3, recording.ExportOptions{})
	}},
	{"text", "Plain text", ".txt", "text/plain; charset=utf-8", func(rec *recording.Reader, w io.Writer) error {
		return recording.ExportText(rec, w, recording.ExportOptions{})
	}},
	{"sql", "Statements, as SQL", ".sql", "application/sql", func(rec *recording.Reader, w io.Writer) error {
		return recording.ExportSQL(rec, w, recording.ExportOptions{})
	}},
	{"files", "File operations, tab-separated", ".files.tsv", "text/tab-separated-values; charset=utf-8", func(rec *recording.Reader, w io.Writer) error {
		return recording.ExportFiles(rec, w, recording.ExportOptions{})
	}},
	{"json", "Every event, a line each", ".ndjson", "application/x-ndjson", func(rec *recording.Reader, w io.Writer) error {
		return recording.ExportJSON(rec, w, recording.ExportOptions{})
	}},
}

// offered are the exports that make sense for a recording.
func offered(protocol string, encrypted bool) []export {
	if encrypted {
		return exports[:1]
	}
	var out []export
	for _, e := range exports {
		skip := e.Format == "sql" && protocol != "postgres" || protocol == "postgres" && (e.Format == "cast" || e.Format == "cast3" || e.Format == "files")
		if !skip {
			out = append(out, e)
		}
	}
	return out
}

// download sends a recording in one of its forms. That it is taken away is in
// the log before the first byte is sent. Of a damaged one all that is intact
// is sent, and where it broke is said in the file.
func (s *Server) download(w http.ResponseWriter, r *http.Request, v *viewer) error {
	row, rec, err := s.replayable(r, v)
	if err != nil {
		return err
	}
	defer rec.Close()
	for _, e := range offered(rec.Header().Protocol, rec.Header().Encrypted()) {
		if e.Format != r.PathValue("format") {
			continue
		}
		if err := s.viewed(r, v, row, audit.RecordingExported, map[string]string{"format": e.Format}); err != nil {
			return err
		}
		w.Header().Set("Content-Type", e.kind)
		w.Header().Set("Content-Disposition", `attachment; filename="`+row.ID+e.suffix+`"`)
		if e.write == nil {
			_, err = s.o.Recordings.Copy(row.ID, w)
		} else {
			err = e.write(rec, w)
		}
		if err != nil {
			s.o.Logger.Warn("a recording was not sent whole", "session", row.ID, "format", e.Format, "error", err)
			if e.write == nil {
				panic(http.ErrAbortHandler) // the browser must not take half a container for a whole one
			}
		}
		return nil
	}
	return errNotFound
}
