package report

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"jit-gateway/internal/display"
)

func writeJSON(b *bytes.Buffer, r Report) error {
	// Lists are lists, also when they are empty.
	r.Grants, r.Refused, r.Checks, r.Findings = append([]Grant{}, r.Grants...), append([]Request{}, r.Refused...), append([]Check{}, r.Checks...), append([]Finding{}, r.Findings...)
	raw, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return fmt.Errorf("encode the report: %w", err)
	}
	b.Write(jsonHead)
	b.Write(raw)
	return nil
}

// columns of the CSV form: one table, whose first column says which of the
// report's lists a line is of. Not every column has a meaning in every list.
var columns = []string{"section", "id", "user", "targets", "login", "rule", "state", "filed_at", "approved_at", "approved_by", "seconds_to_answer",
	"asked_seconds", "granted_seconds", "open_seconds", "used_seconds", "sessions", "start", "end", "count", "reason", "note"}

// writeCSV writes one record for each entry. Every cell that people or peers
// had a hand in passes display.Cell: no spreadsheet takes it for a formula.
func writeCSV(b *bytes.Buffer, r Report) error {
	c := csv.NewWriter(b)
	index := map[string]int{}
	for i, name := range columns {
		index[name] = i
	}
	if err := c.Write(columns); err != nil {
		return err
	}
	row := func(section string, pairs ...string) {
		cells := make([]string, len(columns))
		cells[0] = section
		for i := 0; i+1 < len(pairs); i += 2 {
			cells[index[pairs[i]]] = cell(pairs[i+1])
		}
		_ = c.Write(cells) // its error is kept until Error
	}
	row("report", "id", r.Gateway, "start", at(r.From), "end", at(r.To), "filed_at", at(r.MadeAt), "note", "rules "+r.RulesHash)
	for _, n := range r.Counts {
		row("count", "id", n.Name, "count", strconv.Itoa(n.N))
	}
	for _, g := range r.Grants {
		section, note := "grant", ""
		if g.BreakGlass {
			section, note = "emergency", "never used: no review needed"
			if g.Review != "" {
				note = strings.TrimSpace(fmt.Sprintf("review %s %s %s", g.Review, g.ReviewedBy, g.ReviewNote))
			}
		}
		row(section, "id", g.ID, "user", g.User, "targets", strings.Join(g.Targets, " "), "login", g.Login, "rule", g.Rule, "state", g.State,
			"filed_at", at(g.FiledAt), "approved_at", at(g.ApprovedAt), "approved_by", strings.Join(g.ApprovedBy, " "), "seconds_to_answer", num(g.TimeToApprove),
			"asked_seconds", num(g.Asked), "granted_seconds", num(g.Granted), "open_seconds", num(g.Open), "used_seconds", num(g.Used),
			"sessions", strconv.Itoa(g.Sessions), "start", at(g.Start), "end", at(g.End), "reason", g.Reason, "note", note)
	}
	for _, q := range r.Refused {
		row("request", "id", q.ID, "user", q.User, "targets", strings.Join(q.Targets, " "), "login", q.Login, "rule", q.Rule, "state", q.State,
			"filed_at", at(q.FiledAt), "approved_by", q.By, "seconds_to_answer", num(q.Answered), "reason", q.Reason, "note", q.Why)
	}
	for _, k := range r.Checks {
		state := "still alive"
		if !k.DeadAt.IsZero() {
			state = "dead later"
		}
		row("failed_check", "id", k.Session, "targets", k.Target, "login", k.Name, "state", state, "filed_at", at(k.At), "end", at(k.DeadAt), "reason", k.Trouble, "note", k.Kind)
	}
	for _, f := range r.Findings {
		state := "open"
		if f.SeenBy != "" {
			state = "seen"
		}
		row("finding", "id", f.ID, "user", f.User, "targets", f.Target, "rule", f.Code, "state", state, "filed_at", at(f.RaisedAt), "approved_at", at(f.SeenAt),
			"approved_by", f.SeenBy, "reason", f.Text, "note", f.Note)
	}
	for _, e := range r.Eligibility {
		state := "used"
		if e.Dormant {
			state = "dormant"
		}
		for _, t := range chunks(e.Targets) {
			row("eligible", "id", e.UserID, "user", e.User, "targets", strings.Join(t, " "), "login", e.Login, "rule", e.Rule, "state", state,
				"approved_by", e.Consent, "end", at(e.Last), "count", strconv.Itoa(len(t)), "reason", strings.Join(e.Groups, " "),
				"note", fmt.Sprintf("%d of %d targets used", len(e.Used), len(e.Targets)))
		}
	}
	c.Flush()
	return c.Error()
}

// chunks cuts a list so that each fits into a cell as display shows it.
func chunks(list []string) (out [][]string) {
	size, from := 0, 0
	for i, s := range list {
		if size += len(s) + 1; size > display.Max && i > from {
			out, size, from = append(out, list[from:i]), len(s)+1, i
		}
	}
	return append(out, list[from:])
}

// cell is display.Cell, but that numbers of ours stay numbers.
func cell(s string) string {
	if _, err := strconv.ParseInt(s, 10, 64); err == nil {
		return s
	}
	return display.Cell(s)
}

func num(n int64) string { return strconv.FormatInt(n, 10) }

func at(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}
