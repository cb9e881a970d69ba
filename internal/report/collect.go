package report

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"jit-gateway/approval"
	"jit-gateway/internal/audit"
	"jit-gateway/internal/display"
	"jit-gateway/internal/identity"
	"jit-gateway/internal/store"
	"jit-gateway/session"
)

// everything is a limit for lists that must be whole.
const everything = 10_000_000

// maxText is how much of what people wrote a report shows.
const maxText = 1000

func line(s string) string { return display.Line(s, maxText) }

func lines(list []string) []string {
	out := make([]string, len(list))
	for i, s := range list {
		out[i] = display.Line(s, 100)
	}
	return out
}

// past is what the store says of the period, read once.
type past struct {
	Query
	now      time.Time
	users    []identity.User
	names    map[string]string // by User id
	requests map[string]approval.Request
	grants   []approval.Grant
	sessions map[string][]session.Row // by grant
}

func (w *Writer) collect(ctx context.Context, q Query) (Report, error) {
	r := Report{Gateway: w.o.Gateway, From: q.From, To: q.To, MadeAt: w.o.Now().UTC().Truncate(time.Second), RulesHash: w.o.Rules().Hash()}
	p, filed, err := w.read(ctx, q)
	if err != nil {
		return r, err
	}
	for _, g := range p.grants {
		r.Grants = append(r.Grants, p.grant(g))
	}
	for _, q := range filed {
		if q.GrantID == "" {
			r.Refused = append(r.Refused, p.request(q))
		}
	}
	refused, err := w.o.Store.FindEvents(ctx, audit.Filter{Types: []audit.Type{audit.RequestRefused}, Since: q.From, Until: q.To, Limit: everything})
	if err != nil {
		return r, fmt.Errorf("read refusals: %w", err)
	}
	for _, ev := range within(refused, q) {
		r.Refused = append(r.Refused, Request{User: p.name(ev.User), Targets: lines(strings.Split(ev.Detail["targets"], ",")), Login: display.Line(ev.Detail["login"], 64),
			Reason: line(ev.Detail["reason"]), FiledAt: ev.Time.UTC(), State: "refused", Why: line(ev.Reason)})
	}
	slices.SortStableFunc(r.Refused, func(a, b Request) int { return a.FiledAt.Compare(b.FiledAt) })
	if r.Checks, err = w.checks(ctx, q); err != nil {
		return r, err
	}
	if r.Findings, err = w.findings(ctx, p); err != nil {
		return r, err
	}
	r.Eligibility = w.eligibility(p)
	r.Counts = counts(p, r, filed, w.o.Inventory.Targets(), len(w.o.Rules().Rules()))
	return r, nil
}

func within(evs []audit.Event, q Query) []audit.Event {
	return slices.DeleteFunc(evs, func(e audit.Event) bool { return e.Time.Before(q.From) || !e.Time.Before(q.To) })
}

// read reads users, the requests that were filed in the period, and the grants
// that touch it with their requests and sessions, all from the store's oldest on:
// a grant of the period may have been asked for long before.
func (w *Writer) read(ctx context.Context, q Query) (past, []approval.Request, error) {
	p := past{Query: q, now: w.o.Now().UTC(), names: map[string]string{}, requests: map[string]approval.Request{}, sessions: map[string][]session.Row{}}
	var err error
	if p.users, err = w.o.Store.Users(ctx); err != nil {
		return p, nil, fmt.Errorf("list users: %w", err)
	}
	for _, u := range p.users {
		p.names[u.ID] = u.Name
	}
	requests, err := w.o.Store.ListRequests(ctx, approval.RequestFilter{Limit: everything})
	if err != nil {
		return p, nil, fmt.Errorf("list requests: %w", err)
	}
	var filed []approval.Request
	for _, r := range requests {
		p.requests[r.ID] = r
		if !r.FiledAt.Before(q.From) && r.FiledAt.Before(q.To) {
			filed = append(filed, r)
		}
	}
	grants, err := w.o.Store.ListGrants(ctx, approval.GrantFilter{Limit: everything})
	if err != nil {
		return p, nil, fmt.Errorf("list grants: %w", err)
	}
	for _, g := range grants {
		if g.ApprovedAt.Before(q.To) && p.ended(g).After(q.From) {
			p.grants = append(p.grants, g)
		}
	}
	slices.SortStableFunc(p.grants, func(a, b approval.Grant) int { return a.ApprovedAt.Compare(b.ApprovedAt) })
	rows, err := w.o.Store.ListSessions(ctx, session.Filter{Limit: everything})
	if err != nil {
		return p, nil, fmt.Errorf("list sessions: %w", err)
	}
	for _, s := range rows {
		p.sessions[s.GrantID] = append(p.sessions[s.GrantID], s)
	}
	return p, filed, nil
}

// ended is when a grant ended or will.
func (p past) ended(g approval.Grant) time.Time {
	switch {
	case !g.EndedAt.IsZero():
		return g.EndedAt
	case g.State == approval.Waiting:
		return g.ActivateBy
	}
	return g.End
}

func (p past) name(userID string) string {
	if n, ok := p.names[userID]; ok {
		return display.Line(n, 100)
	}
	return display.Line(userID, 100)
}

func (p past) grant(g approval.Grant) Grant {
	q := p.requests[g.RequestID]
	out := Grant{ID: g.ID, Request: g.RequestID, User: display.Line(g.User, 100), UserID: g.UserID, Targets: lines(g.Targets), Login: display.Line(g.Login, 64),
		Rule: display.Line(g.Rule.Name, 100), Reason: line(q.Reason), Ticket: display.Line(q.Ticket, 100), FiledAt: q.FiledAt, ApprovedAt: g.ApprovedAt,
		ApprovedBy: []string{}, Asked: seconds(q.Duration), Granted: seconds(g.Duration), Start: g.Start, End: p.ended(g), Ended: string(g.Cause),
		Sessions: len(p.sessions[g.ID]), Extensions: len(g.Extensions), BreakGlass: g.BreakGlass}
	if !q.FiledAt.IsZero() {
		out.TimeToApprove = seconds(g.ApprovedAt.Sub(q.FiledAt))
	}
	for _, v := range g.Votes {
		out.ApprovedBy = append(out.ApprovedBy, display.Line(v.User, 100))
	}
	switch {
	case g.State == approval.Waiting && p.now.Before(g.ActivateBy):
		out.State = "waiting"
	case g.ActivatedAt.IsZero():
		out.State, out.End = "not_activated", time.Time{}
	case out.Sessions == 0:
		out.State = "unused"
	default:
		out.State = "used"
	}
	if !g.ActivatedAt.IsZero() {
		end := out.End
		if p.now.Before(end) {
			end = p.now
		}
		out.Open = max(0, seconds(end.Sub(g.Start)))
		out.Used = seconds(union(p.sessions[g.ID], p.now))
	}
	if g.BreakGlass && !g.ActivatedAt.IsZero() {
		out.Review = "open"
		if !g.ReviewedAt.IsZero() {
			out.Review, out.ReviewedBy, out.ReviewedAt, out.ReviewNote = "done", p.name(g.ReviewedBy), g.ReviewedAt, line(g.ReviewNote)
		}
	}
	return out
}

func (p past) request(q approval.Request) Request {
	out := Request{ID: q.ID, User: display.Line(q.User, 100), Targets: lines(q.Targets), Login: display.Line(q.Login, 64), Rule: display.Line(q.Rule, 100),
		Reason: line(q.Reason), FiledAt: q.FiledAt, State: string(q.State)}
	if d := q.Decision; d != nil {
		out.By, out.Why, out.Answered = display.Line(d.User, 100), line(d.Reason), seconds(d.At.Sub(q.FiledAt))
	}
	return out
}

// union is how long any of the sessions was open.
func union(rows []session.Row, now time.Time) time.Duration {
	type span struct{ from, to time.Time }
	var spans []span
	for _, s := range rows {
		end := s.EndedAt
		if end.IsZero() {
			end = now
		}
		spans = append(spans, span{s.StartedAt, end})
	}
	slices.SortFunc(spans, func(a, b span) int { return a.from.Compare(b.from) })
	var total time.Duration
	var upTo time.Time
	for _, s := range spans {
		if s.from.Before(upTo) {
			s.from = upTo
		}
		if s.to.After(s.from) {
			total += s.to.Sub(s.from)
			upTo = s.to
		}
	}
	return total
}

func seconds(d time.Duration) int64 { return int64(d.Round(time.Second) / time.Second) }

func (w *Writer) checks(ctx context.Context, q Query) ([]Check, error) {
	failed, err := w.o.Store.FindEvents(ctx, audit.Filter{Types: []audit.Type{audit.CredentialAlive}, Since: q.From, Until: q.To, Limit: everything})
	if err != nil || len(failed) == 0 {
		return nil, err
	}
	dead, err := w.o.Store.FindEvents(ctx, audit.Filter{Types: []audit.Type{audit.CredentialDead}, Since: q.From, Limit: everything})
	if err != nil {
		return nil, fmt.Errorf("read after-checks: %w", err)
	}
	later := map[string]time.Time{}
	for _, ev := range dead {
		later[ev.Detail["credential"]] = ev.Time.UTC()
	}
	var out []Check
	for _, ev := range within(failed, q) {
		out = append(out, Check{At: ev.Time.UTC(), Session: ev.Session, Grant: ev.Grant, Target: display.Line(ev.Target, 100), Kind: display.Line(ev.Detail["kind"], 40),
			Name: display.Line(ev.Detail["name"], 100), Trouble: line(ev.Reason), DeadAt: later[ev.Detail["credential"]]})
	}
	slices.SortStableFunc(out, func(a, b Check) int { return a.At.Compare(b.At) })
	return out, nil
}

func (w *Writer) findings(ctx context.Context, p past) ([]Finding, error) {
	list, err := w.o.Store.Findings(ctx, store.FindingFilter{Since: p.From, Limit: everything})
	if err != nil {
		return nil, fmt.Errorf("list findings: %w", err)
	}
	var out []Finding
	for _, f := range list {
		if !f.RaisedAt.Before(p.To) {
			continue
		}
		o := Finding{ID: f.ID, Code: f.Code, User: p.name(f.UserID), Request: f.Request, Target: display.Line(f.Target, 100), Text: line(f.Text),
			RaisedAt: f.RaisedAt, SeenAt: f.AckedAt, Note: line(f.AckNote)}
		if f.AckedBy != "" {
			o.SeenBy = p.name(f.AckedBy)
		}
		out = append(out, o)
	}
	slices.SortStableFunc(out, func(a, b Finding) int { return cmp.Or(a.RaisedAt.Compare(b.RaisedAt), strings.Compare(a.ID, b.ID)) })
	return out, nil
}
