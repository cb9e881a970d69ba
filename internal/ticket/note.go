package ticket

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"jit-gateway/approval"
	"jit-gateway/internal/audit"
	"jit-gateway/internal/display"
	"jit-gateway/internal/store"
	"jit-gateway/session"
)

// Note says where and how a note is written.
type Note struct {
	URL    string // with {ticket}
	Method string // POST if empty
	Body   string // JSON with {text}; {"body": {text}} if empty
}

// Store is what notes are made of, and how far they have come.
type Store interface {
	audit.Cursors
	Append(ctx context.Context, ev audit.Event) (audit.Event, error)
	Request(ctx context.Context, id string) (approval.Request, error)
	Grant(ctx context.Context, id string) (approval.Grant, error)
	ListSessions(ctx context.Context, f session.Filter) ([]session.Row, error)
}

const (
	cursorName = "tickets"
	// giveUp is how long one note is tried before those behind it have their turn.
	giveUp = 24 * time.Hour
)

// notes is the way of notes through the log.
type notes struct {
	s       *System
	failing string
	since   time.Time
}

// Begin makes a system that never ran start with what happens from now on.
func (s *System) Begin(ctx context.Context) error {
	if s.o.Note == nil {
		return nil
	}
	return s.follower().Begin(ctx)
}

// Run writes notes until ctx is done.
func (s *System) Run(ctx context.Context) error {
	if s.o.Note == nil {
		<-ctx.Done()
		return nil
	}
	return s.follower().Run(ctx)
}

func (s *System) follower() *audit.Follower {
	n := &notes{s: s}
	return &audit.Follower{Name: cursorName, Store: s.o.Store, Handle: n.handle, Pause: s.o.Pause,
		OnError: func(ev audit.Event, err error, next time.Duration) {
			s.o.Logger.Warn("a note is not in its ticket yet", "event", ev.ID, "grant", ev.Grant, "error", err, "next_try", next)
		}}
}

func (n *notes) handle(ctx context.Context, ev audit.Event) (bool, error) {
	switch ev.Type {
	case audit.GrantExpired, audit.GrantReleased, audit.GrantRevoked:
	default:
		return false, nil
	}
	g, err := n.s.o.Store.Grant(ctx, ev.Grant)
	if errors.Is(err, store.ErrNotFound) || err == nil && g.ActivatedAt.IsZero() {
		return false, nil
	}
	if err != nil {
		return true, err
	}
	r, err := n.s.o.Store.Request(ctx, g.RequestID)
	if err != nil || r.Ticket == "" {
		return false, err
	}
	lost, err := n.s.write(ctx, ev.ID, r, g)
	if err == nil {
		n.failing = ""
		return true, n.s.log(ctx, audit.NotificationSent, ev, r, "")
	}
	if ctx.Err() != nil {
		return true, err
	}
	now := n.s.o.Now()
	if n.failing != ev.ID {
		n.failing, n.since = ev.ID, now
	}
	if !lost && now.Sub(n.since) < giveUp {
		return true, err
	}
	n.failing = ""
	n.s.o.Logger.Error("a note did not get into its ticket", "event", ev.ID, "grant", ev.Grant, "error", err)
	return true, n.s.log(ctx, audit.NotificationLost, ev, r, err.Error())
}

// write writes one note; lost says that the ticket system will never take it.
func (s *System) write(ctx context.Context, id string, r approval.Request, g approval.Grant) (lost bool, err error) {
	text, err := s.text(ctx, r, g)
	if err != nil {
		return false, err
	}
	place, err := address(s.o.Note.URL, r.Ticket)
	if err != nil {
		return true, err
	}
	quoted, err := json.Marshal(text)
	if err != nil {
		return true, fmt.Errorf("encode the note: %w", err)
	}
	body, method := s.o.Note.Body, s.o.Note.Method
	if body == "" {
		body = `{"body": {text}}`
	}
	if method == "" {
		method = http.MethodPost
	}
	ctx, cancel := context.WithTimeout(ctx, s.o.Timeout)
	defer cancel()
	status, _, err := s.send(ctx, method, place, id, []byte(strings.Replace(body, "{text}", string(quoted), 1)))
	if err != nil {
		return false, err
	}
	switch {
	case status/100 == 2:
		return false, nil
	case status == http.StatusBadRequest, status == http.StatusNotFound, status == http.StatusGone, status == http.StatusUnprocessableEntity:
		lost = true
	}
	return lost, fmt.Errorf("the ticket system answered with status %d", status)
}

// maxSessions is how many sessions of a grant are looked at for a note.
const maxSessions = 10_000

// text is what the note says: facts, and nothing that was typed in a session.
func (s *System) text(ctx context.Context, r approval.Request, g approval.Grant) (string, error) {
	rows, err := s.o.Store.ListSessions(ctx, session.Filter{GrantID: g.ID, Limit: maxSessions})
	if err != nil {
		return "", fmt.Errorf("list the sessions of grant %s: %w", g.ID, err)
	}
	var by []string
	for _, v := range g.Votes {
		by = append(by, v.User)
	}
	how := "approved by " + strings.Join(by, " and ")
	switch {
	case g.BreakGlass:
		how = "an emergency, without approval"
	case len(by) == 0:
		how = "approved by rule " + g.Rule.Name
	}
	used := fmt.Sprintf("%d sessions", len(rows))
	if len(rows) == 1 {
		used = "1 session"
	}
	end := g.EndedAt
	if end.IsZero() {
		end = g.End
	}
	return display.Line(fmt.Sprintf("%s: %s had access as %s to %s from %s to %s (%s; %s; it ended: %s). Request %s, grant %s.",
		s.o.Gateway, g.User, g.Login, strings.Join(g.Targets, ", "), g.Start.UTC().Format("2 Jan 2006 15:04:05"), end.UTC().Format("15:04:05 UTC"),
		how, used, g.Cause, r.ID, g.ID), 2000), nil
}

// log says that a note was written, or that it never will be.
func (s *System) log(ctx context.Context, t audit.Type, ev audit.Event, r approval.Request, why string) error {
	out := audit.Event{Type: t, Outcome: audit.Success, Actor: audit.Gateway, User: ev.User, Target: ev.Target, Request: r.ID, Grant: ev.Grant,
		Reason: display.Line(why, 300),
		Detail: map[string]string{"channel": "tickets", "about": "ticket_note", "event": ev.ID, "ticket": r.Ticket}}
	if t == audit.NotificationLost {
		out.Outcome = audit.Failure
	}
	_, err := s.o.Store.Append(ctx, out)
	return err
}
