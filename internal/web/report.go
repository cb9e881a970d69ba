package web

import (
	"cmp"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// reportRows is how many lines of a report a page shows; downloads have all.
const reportRows = 500

// reportFormats can be taken away.
var reportFormats = map[string]string{"html": "text/html; charset=utf-8", "csv": "text/csv; charset=utf-8", "json": "application/json"}

// report shows who had access, in a range of days, to auditors and administrators.
func (s *Server) report(w http.ResponseWriter, r *http.Request, v *viewer) error {
	if s.o.Report == nil || !v.Auditor && !v.Admin {
		return errNotFound
	}
	q, given, err := s.reportQuery(r)
	d := map[string]any{"From": q.From.Format(time.DateOnly), "To": q.To.AddDate(0, 0, -1).Format(time.DateOnly), "Formats": []string{"html", "csv", "json"}}
	if err != nil {
		d["Error"] = sentence(err)
	} else if given {
		if err := s.auditRead(r, v, map[string]string{"report": "html", "from": fmt.Sprint(d["From"]), "to": fmt.Sprint(d["To"])}); err != nil {
			return err
		}
		if err := s.reportTables(r, q, d); err != nil {
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

// reportTable is one list of a report.
type reportTable struct {
	Name string
	Head []string
	Rows [][]string
	N    int // lines; Rows has the first of them
}

// sectionNames are the report's lists, for people.
var sectionNames = map[string]string{"grant": "Grants", "emergency": "Emergencies", "request": "Requests that were not granted",
	"failed_check": "Checks that failed", "finding": "Findings", "eligible": "Who may ask for what"}

// reportTables shows the CSV form: a table for each of its lists, without the
// columns that are empty there.
func (s *Server) reportTables(r *http.Request, q ReportQuery, d map[string]any) error {
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
	var tables []*reportTable
	var counts [][2]string
	byName := map[string]*reportTable{}
	for {
		rec, err := in.Read()
		if err != nil {
			break // what went wrong comes from done
		}
		switch {
		case head == nil:
			head = rec
			continue
		case len(rec) != len(head) || rec[0] == "signature":
			continue
		case rec[0] == "count":
			counts = append(counts, [2]string{field(head, rec, "id"), field(head, rec, "count")})
			continue
		case rec[0] == "report":
			continue
		}
		t := byName[rec[0]]
		if t == nil {
			t = &reportTable{Name: cmp.Or(sectionNames[rec[0]], rec[0])}
			byName[rec[0]], tables = t, append(tables, t)
		}
		if t.N++; t.N <= reportRows {
			t.Rows = append(t.Rows, rec[1:])
		}
	}
	_, _ = io.Copy(io.Discard, pr)
	if err := <-done; err != nil {
		return fmt.Errorf("make the access report: %w", err)
	}
	for _, t := range tables {
		t.tidy(head[1:])
	}
	d["Shown"], d["Tables"], d["Counts"] = true, tables, counts
	return nil
}

func field(head, rec []string, name string) string {
	if i := slices.Index(head, name); i >= 0 {
		return rec[i]
	}
	return ""
}

// tidy leaves out empty columns, and words the rest.
func (t *reportTable) tidy(head []string) {
	var keep []int
	for i, h := range head {
		if slices.ContainsFunc(t.Rows, func(row []string) bool { return row[i] != "" }) {
			keep = append(keep, i)
			t.Head = append(t.Head, strings.TrimSpace(strings.ReplaceAll(strings.ReplaceAll(h, "seconds_to", "time to"), "_", " ")))
		}
	}
	for n, row := range t.Rows {
		var out []string
		for _, i := range keep {
			out = append(out, worded(head[i], row[i]))
		}
		t.Rows[n] = out
	}
	for i, h := range t.Head {
		t.Head[i] = strings.TrimSuffix(h, " seconds")
	}
}

// worded shows a cell: seconds as a length of time, moments to the minute.
func worded(column, cell string) string {
	if strings.Contains(column, "seconds") {
		if n, err := strconv.ParseInt(cell, 10, 64); err == nil {
			return duration(time.Duration(n) * time.Second)
		}
	}
	if at, err := time.Parse(time.RFC3339Nano, cell); err == nil {
		return at.UTC().Format("2006-01-02 15:04")
	}
	return cell
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
