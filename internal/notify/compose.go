package notify

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"jit-gateway/approval"
	"jit-gateway/approval/policy"
	"jit-gateway/internal/audit"
	"jit-gateway/internal/identity"
	"jit-gateway/internal/store"
)

// freshFor is how old an event may be that people are asked or told about for
// their comfort. What concerns safety is told however late.
const freshFor = 24 * time.Hour

// composer makes the message of one event; false if nobody is to be told.
type composer struct {
	about []About // what it may be about
	make  func(*Runner, context.Context, audit.Event) (Message, bool, error)
}

// told says which events are told of, and how.
var told = map[audit.Type]composer{
	audit.RequestFiled:      {[]About{Request}, (*Runner).filed},
	audit.RequestEscalated:  {[]About{Escalation}, (*Runner).escalated},
	audit.RequestApproved:   {[]About{Decision, BreakGlass}, (*Runner).approved},
	audit.RequestDenied:     {[]About{Decision}, (*Runner).decided},
	audit.RequestExpired:    {[]About{Decision}, (*Runner).decided},
	audit.GrantExpiring:     {[]About{Expiring}, (*Runner).expiring},
	audit.GrantExpired:      {[]About{Review}, (*Runner).ended},
	audit.GrantReleased:     {[]About{Review}, (*Runner).ended},
	audit.GrantRevoked:      {[]About{Review, Ended}, (*Runner).ended},
	audit.FindingRaised:     {[]About{Finding}, (*Runner).finding},
	audit.UserDisabled:      {[]About{Account}, (*Runner).disabled},
	audit.UserExpiring:      {[]About{Account}, (*Runner).accountEnds},
	audit.CredentialAlive:   {[]About{Alarm}, (*Runner).alarm},
	audit.RecordingFailed:   {[]About{Alarm}, (*Runner).alarm},
	audit.AdminActRequested: {[]About{Change}, (*Runner).change},
}

// compose makes the message of an event from what is true now.
func (r *Runner) compose(ctx context.Context, ev audit.Event) (Message, bool, error) {
	c, ok := told[ev.Type]
	if !ok || ev.Outcome != audit.Success && c.about[0] != Alarm {
		return Message{}, false, nil
	}
	m, ok, err := c.make(r, ctx, ev)
	if errors.Is(err, store.ErrNotFound) { // what it was about is gone
		return Message{}, false, nil
	}
	if err != nil || !ok {
		return Message{}, false, err
	}
	m.ID, m.Time, m.Type = ev.ID, ev.Time, ev.Type
	m.User, m.Target, m.Request, m.Grant = ev.User, ev.Target, ev.Request, ev.Grant
	now := r.o.Now()
	comfort := slices.Contains([]About{Request, Decision, Escalation, Expiring, Ended}, m.About)
	if comfort && now.Sub(ev.Time) > freshFor {
		return Message{}, false, nil
	}
	m.To = slices.DeleteFunc(m.To, func(u identity.User) bool {
		// A machine reads no mail; who is disabled is told of just that.
		return u.Kind == identity.Machine || m.About != Account && !u.Usable(now)
	})
	return m, true, nil
}

func (r *Runner) filed(ctx context.Context, ev audit.Event) (Message, bool, error) {
	return r.asked(ctx, ev, Request, func(identity.User) bool { return true })
}

// escalated asks the further groups alone: the others know already.
func (r *Runner) escalated(ctx context.Context, ev audit.Event) (Message, bool, error) {
	groups := strings.Split(ev.Detail["groups"], ",")
	m, ok, err := r.asked(ctx, ev, Escalation, func(u identity.User) bool { return slices.ContainsFunc(groups, u.In) })
	if ok {
		m.fact("unanswered", "since "+stamp(ev.Time.Add(-r.waited(ctx, ev))))
	}
	return m, ok, err
}

func (r *Runner) waited(ctx context.Context, ev audit.Event) time.Duration {
	if q, err := r.o.Store.Request(ctx, ev.Request); err == nil {
		return ev.Time.Sub(q.FiledAt)
	}
	return 0
}

func (r *Runner) asked(ctx context.Context, ev audit.Event, about About, who func(identity.User) bool) (Message, bool, error) {
	q, err := r.o.Store.Request(ctx, ev.Request)
	if err != nil || q.State != approval.Pending || !r.o.Now().Before(q.ExpiresAt) {
		return Message{}, false, err // answered meanwhile, or approved by its rule
	}
	quorums, err := r.o.Approvers.Approvers(ctx, q)
	if err != nil || len(quorums) == 0 { // its rule approves by itself in a moment
		return Message{}, false, err
	}
	m := r.about(q, about, text("%s asks for %s on %s", q.User, q.Login, targets(q.Targets)))
	for _, quorum := range quorums {
		if quorum.Have < quorum.Need {
			m.To = append(m.To, quorum.Who...)
		}
	}
	m.To = slices.DeleteFunc(unique(m.To), func(u identity.User) bool { return !who(u) })
	for _, f := range q.Risk {
		m.fact("unusual", f.Text)
	}
	m.fact("open until", stamp(q.ExpiresAt))
	m.fact("waits for", approval.SentTo(quorums))
	m.Next = r.command("approve " + q.ID)
	return m, true, nil
}

// about is a message about a request, with what was asked.
func (r *Runner) about(q approval.Request, about About, title Text) Message {
	m := Message{About: about, Title: title, Link: r.link("/requests/" + q.ID)}
	m.fact("request", q.ID)
	m.fact("reason", q.Reason)
	m.fact("ticket", q.Ticket)
	m.fact("for", policy.Duration(q.Duration).String())
	if !q.StartAt.IsZero() {
		m.fact("from", stamp(q.StartAt))
	}
	if q.Extends != "" {
		m.fact("extends", q.Extends)
	}
	return m
}

// approved tells the requester, or, of an emergency, everybody named.
func (r *Runner) approved(ctx context.Context, ev audit.Event) (Message, bool, error) {
	if ev.Detail["break_glass"] != "true" {
		return r.decided(ctx, ev)
	}
	q, err := r.o.Store.Request(ctx, ev.Request)
	if err != nil {
		return Message{}, false, err
	}
	named := split(ev.Detail["notify"])
	users, err := r.users(ctx, func(u identity.User) bool {
		return u.ID != q.UserID && (slices.Contains(named, u.Name) || slices.ContainsFunc(named, u.In))
	})
	m := r.about(q, BreakGlass, text("EMERGENCY: %s took %s on %s without approval", q.User, q.Login, targets(q.Targets)))
	m.Urgent, m.To = true, users
	m.fact("grant", q.GrantID)
	m.fact("review", "by "+strings.Join(split(ev.Detail["reviews"]), " or ")+", once it is over")
	m.Next = r.command("grants " + q.GrantID)
	m.Link = r.link("/grants/" + q.GrantID)
	return m, true, err
}

// decided tells the requester what became of a request. What a rule approved
// by itself, it approved while they looked.
func (r *Runner) decided(ctx context.Context, ev audit.Event) (Message, bool, error) {
	if ev.Detail["auto"] == "true" {
		return Message{}, false, nil
	}
	q, err := r.o.Store.Request(ctx, ev.Request)
	if err != nil {
		return Message{}, false, err
	}
	u, err := r.o.Store.User(ctx, q.UserID)
	if err != nil {
		return Message{}, false, err
	}
	title, next := text("%s approved your request for %s on %s", ev.Actor.Name, q.Login, targets(q.Targets)), Text{}
	switch {
	case ev.Type == audit.RequestDenied:
		title = text("%s denied your request for %s on %s", ev.Actor.Name, q.Login, targets(q.Targets))
	case ev.Type == audit.RequestExpired:
		title = text("nobody answered your request for %s on %s", q.Login, targets(q.Targets))
	case q.Extends == "":
		next = r.command("activate " + q.GrantID)
	}
	m := r.about(q, Decision, title)
	m.To, m.Next = []identity.User{u}, next
	if ev.Type != audit.RequestExpired {
		m.fact("they said", ev.Reason)
	}
	if ev.Type == audit.RequestApproved {
		m.fact("granted", ev.Detail["granted"])
	}
	return m, true, nil
}

func (r *Runner) link(path string) string {
	if r.o.URL == "" {
		return ""
	}
	return r.o.URL + path
}

func (r *Runner) command(args string) Text { return text("ssh %s %s", r.o.Gateway, args) }

// users lists who fits, by name.
func (r *Runner) users(ctx context.Context, fits func(identity.User) bool) ([]identity.User, error) {
	all, err := r.o.Store.Users(ctx)
	if err != nil {
		return nil, fmt.Errorf("list users: %w", err)
	}
	return slices.DeleteFunc(all, func(u identity.User) bool { return !fits(u) }), nil
}

func unique(us []identity.User) []identity.User {
	seen := map[string]bool{}
	return slices.DeleteFunc(us, func(u identity.User) bool {
		again := seen[u.ID]
		seen[u.ID] = true
		return again
	})
}

func targets(names []string) string {
	if len(names) > 3 {
		return fmt.Sprintf("%s and %d more", strings.Join(names[:3], ", "), len(names)-3)
	}
	return strings.Join(names, ", ")
}

func split(s string) []string {
	return strings.FieldsFunc(s, func(r rune) bool { return r == ',' })
}

func stamp(t time.Time) string { return t.UTC().Format("2 Jan 2006 15:04 UTC") }
