package web

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

// reportRows is how many lines of a report a page shows; downloads have all.
const reportRows = 500

// reportFormats can be taken away.
var reportFormats = map[string]string{"csv": "text/csv; charset=utf-8", "json": "application/json"}

// report shows who had access, in a range of days, to auditors and administrators.
func (s *Server) report(w http.ResponseWriter, r *http.Request, v *viewer) error {
	if s.o.Report == nil || !v.Auditor && !v.Admin {
		return errNotFound
	}
	q, given, err := s.reportQuery(r)
	d := map[string]any{"From": q.From.Format(time.DateOnly), "To": q.To.AddDate(0, 0, -1).Format(time.DateOnly), "Formats": []string{"csv", "json"}}
	if err != nil {
		d["Error"] = sentence(err)
	} else if given {
		if err := s.auditRead(r, v, map[string]string{"report": "html", "from": fmt.Sprint(d["From"]), "to": fmt.Sprint(d["To"])}); err != nil {
			return err
		}
		if err := s.reportTable(r, q, d); err != nil {
			return err
		}
	}
	s.render(w, r, v, http.StatusOK, "report", d)
	return nil
}

// reportQuery reads whole days, both included; without any, the last thirty.
func (s *Server) reportQuery(r *http.Request) (q ReportQuery, given bool, err error) {
	today := s.o.Now().UTC().Truncate(24 * time.Hour)
	q = ReportQuery{From: today.AddDate(0, 0, -29), To: today.AddDate(0, 0, 1)}
	from, to := r.URL.Query().Get("from"), r.URL.Query().Get("to")
	if from == "" && to == "" {
		return q, false, nil
	}
	since, until, err := dates(from, to)
	if err != nil {
		return q, false, err
	}
	if since.IsZero() || until.IsZero() || !since.Before(until) {
		return q, false, errors.New("give the first and the last day, in that order")
	}
	return ReportQuery{From: since, To: until}, true, nil
}

// reportTable is the CSV form, as a table.
func (s *Server) reportTable(r *http.Request, q ReportQuery, d map[string]any) error {
	pr, pw := io.Pipe()
	done := make(chan error, 1)
	go func() {
		err := s.o.Report(r.Context(), q, "csv", pw)
		pw.CloseWithError(err)
		done <- err
	}()
	in := csv.NewReader(pr)
	in.FieldsPerRecord = -1
	var head []string
	var rows [][]string
	n := 0
	for {
		rec, err := in.Read()
		if err != nil {
			break // its own error comes from done
		}
		switch {
		case head == nil:
			for _, h := range rec {
				head = append(head, strings.ReplaceAll(h, "_", " "))
			}
			continue
		case len(rec) > len(head):
			rec = rec[:len(head)]
		}
		if n++; len(rows) < reportRows {
			rows = append(rows, rec)
		}
	}
	pr.Close()
	if err := <-done; err != nil && !errors.Is(err, io.ErrClosedPipe) {
		return fmt.Errorf("make the access report: %w", err)
	}
	d["Shown"], d["Rows"], d["Count"], d["Cut"] = true, rows, n, n > len(rows)
	if n > 0 {
		d["Head"] = head
	}
	return nil
}

// downloadReport gives it as a file.
func (s *Server) downloadReport(w http.ResponseWriter, r *http.Request, v *viewer) error {
	format := r.URL.Query().Get("format")
	kind, ok := reportFormats[format]
	if s.o.Report == nil || !v.Auditor && !v.Admin || !ok {
		return errNotFound
	}
	q, _, err := s.reportQuery(r)
	if err != nil {
		return err
	}
	from, to := q.From.Format(time.DateOnly), q.To.AddDate(0, 0, -1).Format(time.DateOnly)
	if err := s.auditRead(r, v, map[string]string{"report": format, "from": from, "to": to}); err != nil {
		return err
	}
	w.Header().Set("Content-Type", kind)
	w.Header().Set("Content-Disposition", `attachment; filename="access-`+from+`-`+to+`.`+format+`"`)
	if err := s.o.Report(r.Context(), q, format, w); err != nil {
		s.o.Logger.Error("an access report was not made whole", "error", err)
		panic(http.ErrAbortHandler) // the browser must not keep half a report
	}
	return nil
}
