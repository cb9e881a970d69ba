package report

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"jit-gateway/approval"
	"jit-gateway/internal/audit"
	"jit-gateway/internal/testenv/office"
	"jit-gateway/session"
)

var begin = time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)

// year is an office with a past: of each kind of thing one, and some around
// the edges of the period. It returns a writer and the log's public key.
func year(t *testing.T) (*office.Office, *Writer, string) {
	t.Helper()
	f := office.New(t, office.Options{Now: begin})
	skey, vkey, err := audit.GenerateKey("gate.example.org/audit")
	if err != nil {
		t.Fatal(err)
	}
	signer, err := audit.NewSigner(skey)
	if err != nil {
		t.Fatal(err)
	}
	w, err := New(Options{Store: f.DB, Inventory: f.Inventory, Rules: f.RuleSet, Sign: signer.SignText, Gateway: "gate", Now: f.Now})
	if err != nil {
		t.Fatal(err)
	}
	return f, w, vkey
}

// visit is one session under a grant, from now on for d, begun ago.
func visit(f *office.Office, g approval.Grant, n int, ago, d time.Duration) {
	f.T.Helper()
	row := session.Row{ID: fmt.Sprintf("S%s%d", g.ID, n), GrantID: g.ID, RequestID: g.RequestID, UserID: g.UserID, User: g.User, Target: g.Targets[0], Login: g.Login,
		Protocol: "ssh", Source: "192.0.2.7", Gateway: "I1", StartedAt: f.Now().Add(-ago), State: session.Open}
	ev := audit.Event{Type: audit.SessionStarted, Outcome: audit.Success, Actor: audit.Gateway, Session: row.ID, Grant: g.ID}
	if err := f.DB.BeginSession(f.T.Context(), row, ev); err != nil {
		f.T.Fatal(err)
	}
	row.State, row.EndedAt, row.Cause = session.Closed, row.StartedAt.Add(d), "logout"
	ev.Type = audit.SessionEnded
	if err := f.DB.EndSession(f.T.Context(), session.End{Row: row, Event: ev}); err != nil {
		f.T.Fatal(err)
	}
}

func released(f *office.Office, g approval.Grant) {
	f.T.Helper()
	if _, err := f.Approvals.Release(f.T.Context(), f.As("alice"), g.ID); err != nil {
		f.T.Fatal(err)
	}
}

func read(t *testing.T, w *Writer, q Query) Report {
	t.Helper()
	var b bytes.Buffer
	if err := w.Write(t.Context(), q, JSON, &b); err != nil {
		t.Fatal(err)
	}
	var whole struct{ Report Report }
	if err := json.Unmarshal(b.Bytes(), &whole); err != nil {
		t.Fatal(err)
	}
	return whole.Report
}

func counted(r Report) map[string]int {
	out := map[string]int{}
	for _, c := range r.Counts {
		out[c.Name] = c.N
	}
	return out
}

func TestTheWholePopulation(t *testing.T) {
	t.Parallel()
	f, w, _ := year(t)
	ctx := t.Context()

	// Before the period, and over before it.
	g0 := f.Activate(f.Approve("bob", f.Ask(approval.Ask{Targets: []string{"web02"}})).ID)
	f.Pass(time.Minute)
	released(f, g0)
	f.Pass(24 * time.Hour)
	// Approved before the period, and open into it.
	g1 := f.Activate(f.Approve("bob", f.Ask(approval.Ask{Targets: []string{"web01"}, Duration: 2 * time.Hour, Reason: "=HYPERLINK(\"x\")"})).ID)
	f.Pass(time.Hour)
	q := Query{From: f.Now()}
	// Two sessions that overlap by ten minutes: 20 + 30 − 10.
	visit(f, g1, 1, 50*time.Minute, 20*time.Minute)
	visit(f, g1, 2, 40*time.Minute, 30*time.Minute)
	f.Pass(30 * time.Minute)
	released(f, g1)
	// Never used, approved after four minutes; never activated; waiting.
	r2 := f.Ask(approval.Ask{Targets: []string{"orders"}, Ticket: "INC-7", Duration: 20 * time.Minute})
	f.Pass(4 * time.Minute)
	g2 := f.Activate(f.Approve("carol", r2).ID)
	f.Pass(5 * time.Minute)
	released(f, g2)
	g3 := f.Approve("bob", f.Ask(approval.Ask{Targets: []string{"web01"}}))
	f.Pass(9 * time.Hour)
	stop := f.Go(f.Approvals.Run) // it lapses
	for end := time.Now().Add(40 * time.Second); len(f.Events(audit.GrantExpired)) == 0 && time.Now().Before(end); {
		time.Sleep(5 * time.Millisecond)
	}
	stop()
	// Denied, withdrawn, pending, refused.
	rd := f.Ask(approval.Ask{Targets: []string{"web01"}})
	f.Pass(2 * time.Minute)
	if _, err := f.Approvals.Deny(ctx, f.As("bob"), rd.ID, "+1 too many", f.Proof("bob")); err != nil {
		t.Fatal(err)
	}
	rw := f.Ask(approval.Ask{Targets: []string{"web01"}})
	if _, err := f.Approvals.Withdraw(ctx, f.As("alice"), rw.ID); err != nil {
		t.Fatal(err)
	}
	f.Ask(approval.Ask{Targets: []string{"web02"}})
	if _, err := f.Approvals.File(ctx, f.As("alice"), approval.Ask{Targets: []string{"vault"}, Reason: "let me"}); err == nil {
		t.Fatal("there is no such target")
	}
	// Two emergencies: one reviewed, one open.
	for i, reviewed := range []bool{true, false} {
		e := f.Activate(f.Ask(approval.Ask{Targets: []string{"web01"}, Login: "root", BreakGlass: true, Reason: "fire <script>alert(1)</script>"}).GrantID)
		visit(f, e, i, 0, time.Minute)
		f.Pass(2 * time.Minute)
		released(f, e)
		if reviewed {
			if _, err := f.Approvals.Review(ctx, f.As("bob"), e.ID, "@it was needed", f.Proof("bob")); err != nil {
				t.Fatal(err)
			}
		}
	}
	// Two after-checks failed; one was good in the end.
	for _, c := range []string{"C1", "C2"} {
		if _, err := f.DB.Append(ctx, audit.Event{Type: audit.CredentialAlive, Outcome: audit.Failure, Actor: audit.Gateway, Session: "S1", Target: "orders",
			Reason: "the role is still there", Detail: map[string]string{"credential": c, "kind": "pg_role", "name": "jit_" + c}}); err != nil {
			t.Fatal(err)
		}
	}
	f.Pass(time.Minute)
	if _, err := f.DB.Append(ctx, audit.Event{Type: audit.CredentialDead, Outcome: audit.Success, Actor: audit.Gateway, Detail: map[string]string{"credential": "C2"}}); err != nil {
		t.Fatal(err)
	}
	f.Dismiss("dave", "left")
	q.To = f.Now().Add(time.Second)
	f.Pass(time.Hour)
	f.Ask(approval.Ask{Targets: []string{"web01"}}) // after the period

	r := read(t, w, q)
	want := map[string]int{"users": 6, "users: usable": 5, "users: disabled or ended": 1, "users: machines": 0, "targets": 3, "rules": 3,
		"requests filed": 7, "requests filed: approved": 4, "requests filed: denied": 1, "requests filed: withdrawn": 1, "requests filed: expired": 0, "requests filed: pending": 1,
		"requests refused before they were filed": 1, "grants": 5, "grants: used": 3, "grants: unused": 1, "grants: not activated": 1, "grants: waiting": 0,
		"grants: approved by a rule itself": 0, "emergencies": 2, "emergencies: review open": 1, "sessions under these grants": 4,
		"after-checks that failed": 2, "eligibilities (user, rule and login)": 3, "eligibilities: dormant": 1}
	got := counted(r)
	for name, n := range want {
		if got[name] != n {
			t.Errorf("%s: got %d, want %d", name, got[name], n)
		}
	}
	if n := len(r.Grants); n != got["grants"] || len(r.Checks) != 2 || len(r.Refused) != 4 || len(r.Findings) != got["findings"] || got["findings"] == 0 {
		t.Errorf("lists of %d grants, %d checks, %d requests, %d findings", n, len(r.Checks), len(r.Refused), len(r.Findings))
	}
	one := r.Grants[0]
	if one.ID != g1.ID || one.Used != 40*60 || one.Open != 90*60 || one.Granted != 2*3600 || one.Sessions != 2 || one.State != "used" || one.Ended != "released" || !slices.Equal(one.ApprovedBy, []string{"bob"}) {
		t.Errorf("got %+v", one)
	}
	if two := r.Grants[1]; two.ID != g2.ID || two.TimeToApprove != 240 || two.State != "unused" || two.Open != 300 || two.Used != 0 || two.Ticket != "INC-7" {
		t.Errorf("got %+v", two)
	}
	if three := r.Grants[2]; three.ID != g3.ID || three.State != "not_activated" || three.Ended != "not_activated" || three.Open != 0 {
		t.Errorf("got %+v", three)
	}
	if e := r.Grants[3:]; !e[0].BreakGlass || e[0].Review != "done" || e[0].ReviewedBy != "bob" || e[1].Review != "open" {
		t.Errorf("got %+v", e)
	}
	if !r.Checks[0].DeadAt.IsZero() == !r.Checks[1].DeadAt.IsZero() {
		t.Errorf("got %+v", r.Checks)
	}
	for _, e := range r.Eligibility {
		if e.User != "alice" || e.Dormant != (e.Rule == "ticketed") {
			t.Errorf("got %+v", e)
		}
	}
	if e := r.Eligibility[1]; e.Rule != "standard" || e.Consent != "sre-leads" || !slices.Equal(e.Targets, []string{"web01", "web02"}) || !slices.Equal(e.Used, []string{"web01"}) {
		t.Errorf("got %+v", e)
	}
	forms(t, w, q, r)
}

// forms: the other two hold the same, and hostile text is text in each.
func forms(t *testing.T, w *Writer, q Query, r Report) {
	t.Helper()
	var sheet, page bytes.Buffer
	if err := w.Write(t.Context(), q, CSV, &sheet); err != nil {
		t.Fatal(err)
	}
	rows, err := csv.NewReader(&sheet).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	n := map[string]int{}
	for _, row := range rows[1:] {
		n[row[0]]++
		for _, c := range row[:len(row)-1] {
			if c != "" && strings.ContainsRune("=+-@|%\t\r", rune(c[0])) {
				t.Errorf("a formula: %q", c)
			}
		}
	}
	if n["report"] != 1 || n["count"] != len(r.Counts) || n["grant"] != 3 || n["emergency"] != 2 || n["request"] != len(r.Refused) || n["failed_check"] != 2 ||
		n["finding"] != len(r.Findings) || n["eligible"] != len(r.Eligibility) || n["signature"] != 1 {
		t.Errorf("lines: %v", n)
	}
	if err := w.Write(t.Context(), q, HTML, &page); err != nil {
		t.Fatal(err)
	}
	s := page.String()
	for _, bad := range []string{"<script", "http://", "https://", "src=", "@import", "url("} {
		if strings.Contains(s, bad) {
			t.Errorf("the page holds %q", bad)
		}
	}
	if got := strings.Count(s, "<tr><td>"); got != len(r.Counts)+2+len(r.Checks)+len(r.Grants)+len(r.Refused)+len(r.Findings)+1+len(r.Eligibility) {
		t.Errorf("the page has %d lines", got)
	}
	if !strings.Contains(s, "fire &lt;script&gt;") {
		t.Error("the reason is not in the page as text")
	}
}

// TestG7ReportsAreSigned: whatever is changed in a report is seen.
func TestG7ReportsAreSigned(t *testing.T) {
	t.Parallel()
	f, w, vkey := year(t)
	f.Ask(approval.Ask{Targets: []string{"web01"}, Reason: "signature,x\n<!-- signature\n,\"signature\":"})
	_, other, err := audit.GenerateKey("gate.example.org/audit")
	if err != nil {
		t.Fatal(err)
	}
	q := Query{begin.Add(-time.Hour), begin.Add(time.Hour)}
	for _, format := range []string{HTML, CSV, JSON} {
		var b bytes.Buffer
		if err := w.Write(t.Context(), q, format, &b); err != nil {
			t.Fatal(err)
		}
		file := b.Bytes()
		v, err := Verify(file, vkey)
		if err != nil || v.Format != format || v.From != "2026-03-02T08:00:00Z" || v.To != "2026-03-02T10:00:00Z" || !Is(file) {
			t.Errorf("%s: %+v, %v", format, v, err)
		}
		if _, err := Verify(file, other); err == nil {
			t.Errorf("%s: another key is good", format)
		}
		step := max(1, len(file)/300)
		for i := 0; i < len(file); i += step {
			bad := slices.Clone(file)
			bad[i] ^= 1
			if _, err := Verify(bad, vkey); err == nil {
				t.Errorf("%s: byte %d was changed, and nobody saw", format, i)
			}
		}
		for what, bad := range map[string][]byte{"cut": file[:len(file)-1], "longer": append(slices.Clone(file), '\n'), "half": file[:len(file)/2], "empty": nil,
			"twice": append(slices.Clone(file), file...)} {
			if _, err := Verify(bad, vkey); err == nil {
				t.Errorf("%s: %s, and nobody saw", format, what)
			}
		}
	}
}

func TestQueriesThatCannotBe(t *testing.T) {
	t.Parallel()
	_, w, _ := year(t)
	for _, c := range []struct {
		q      Query
		format string
	}{{Query{begin, begin.Add(time.Hour)}, "pdf"}, {Query{}, CSV}, {Query{begin, begin}, CSV}, {Query{begin.Add(-6 * 366 * 24 * time.Hour), begin}, CSV}} {
		var b bytes.Buffer
		if err := w.Write(t.Context(), c.q, c.format, &b); err == nil || b.Len() > 0 {
			t.Errorf("%+v: %v, %d bytes", c, err, b.Len())
		}
	}
}

func TestSpan(t *testing.T) {
	for n, want := range map[int64]string{0: "0s", 59: "59s", 60: "1m", 3599: "60m", 3600: "1h", 5400: "1h 30m", 86400: "1d", 187200: "2d 4h"} {
		if got := span(n); got != want {
			t.Errorf("%d: %q, want %q", n, got, want)
		}
	}
}
