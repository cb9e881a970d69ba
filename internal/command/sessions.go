package command

import (
	"fmt"
	"time"

	"jit-gateway/internal/audit"
	"jit-gateway/internal/display"
	"jit-gateway/session"
)

type sessionsCmd struct {
	IDs    []string `arg:"" optional:"" name:"session" help:"Show these in full."`
	All    bool     `help:"Also those that have ended." short:"a"`
	User   string   `help:"Of this user."`
	Target string   `help:"On this target."`
	Grant  string   `help:"Under this grant."`
	Since  span     `help:"Begun within this time, such as 7d." placeholder:"DURATION"`
	Limit  int      `help:"At most so many." default:"100"`
}

// maxListed bounds what one listing reads.
const maxListed = 1000

func (s *sessionsCmd) Run(c *call) error {
	if len(s.IDs) > 0 {
		return c.showSessions(s.IDs)
	}
	f := session.Filter{Target: s.Target, Limit: maxListed}
	if !s.All {
		f.State = session.Open
	}
	if s.Grant != "" {
		f.GrantID = cleanID(s.Grant)
	}
	if s.Since != 0 {
		f.Since = c.r.o.Now().Add(-time.Duration(s.Since))
	}
	if s.User != "" {
		u, err := c.r.o.Users.UserByName(c.ctx, s.User)
		if err != nil {
			return c.noSuch(err, "user", s.User, "sessions")
		}
		f.UserID = u.ID
	}
	rows, err := c.r.o.Rows.ListSessions(c.ctx, f)
	if err != nil {
		return err
	}
	visible := rows[:0:0]
	for _, r := range rows {
		if len(visible) < max(s.Limit, 1) && c.mayView(r) {
			visible = append(visible, r)
		}
	}
	if c.root.JSON {
		return c.json(append([]session.Row{}, visible...))
	}
	if len(visible) == 0 {
		c.say("No sessions%s.", map[bool]string{false: " are open; --all lists those that have ended", true: ""}[s.All])
		return nil
	}
	t := newTable("SESSION", "STATE", "USER", "LOGIN", "TARGET", "FROM", "STARTED", "LASTED", "END")
	for _, r := range visible {
		state, lasted := c.sessionState(r)
		t.row(r.ID, state, r.User, r.Login, r.Target, r.Source, c.stamp(r.StartedAt), lasted, r.Cause)
	}
	return c.table(t)
}

func (c *call) sessionState(r session.Row) (state cell, lasted string) {
	end := r.EndedAt
	st := dim
	switch r.State {
	case session.Open:
		st, end = green, c.r.o.Now()
	case session.Crashed:
		st = red
	}
	return cell{string(r.State), st}, clockText(end.Sub(r.StartedAt))
}

func (c *call) seesAll() bool {
	a := c.r.o.Approvals
	return c.inv.LocalAdmin || a.IsAdmin(c.inv.User) || a.IsAuditor(c.inv.User)
}

// mayView: one's own sessions, and what one may watch or replay.
func (c *call) mayView(r session.Row) bool {
	if c.seesAll() || r.UserID == c.inv.User.ID {
		return true
	}
	return c.r.o.Approvals.CanWatch(c.ctx, c.inv.User.ID, r.GrantID) == nil ||
		c.r.o.Approvals.CanReplay(c.ctx, c.inv.User.ID, r.GrantID) == nil
}

// findSession returns the row of a session that the caller may see.
func (c *call) findSession(id string) (session.Row, error) {
	r, err := c.r.o.Rows.Session(c.ctx, cleanID(id))
	switch {
	case isNotFound(err) || err == nil && !c.mayView(r):
		return r, failf("There is no session %s that you may see. See: %ssessions --all", display.Line(id, 40), c.prefix())
	}
	return r, err
}

func (c *call) showSessions(ids []string) error {
	var rows []session.Row
	for i, id := range ids {
		r, err := c.findSession(id)
		if err != nil {
			return err
		}
		rows = append(rows, r)
		if c.root.JSON {
			continue
		}
		if i > 0 {
			c.print("")
		}
		state, lasted := c.sessionState(r)
		c.fields(
			"session", fmt.Sprintf("%s (%s)", r.ID, state.text),
			"user", r.User,
			"access", fmt.Sprintf("%s on %s (%s)", r.Login, r.Target, r.Protocol),
			"grant", r.GrantID,
			"request", r.RequestID,
			"from", r.Source,
			"client", r.Client,
			"gateway", r.Gateway,
			"started", c.stamp(r.StartedAt),
			"ended", c.stamp(r.EndedAt),
			"lasted", lasted,
			"cause", r.Cause,
			"reason", r.Reason,
			"ended by", c.userName(r.EndedBy),
			"bytes", fmt.Sprintf("%d in, %d out", r.BytesIn, r.BytesOut),
			"recording", c.recordingField(r),
			"flags", names(r.Flags),
		)
	}
	if c.root.JSON {
		return c.json(rows)
	}
	return nil
}

// recordingField says which recording it is and for how long it is kept.
func (c *call) recordingField(r session.Row) string {
	if text, _ := c.keptState(r.ID); text != "" {
		return r.Recording + ", " + text
	}
	return r.Recording
}

// userName is the name behind a user id, for people.
func (c *call) userName(id string) string {
	if id == "" {
		return ""
	}
	if u, err := c.r.o.Users.User(c.ctx, id); err == nil {
		return u.Name
	}
	return id
}

type terminateCmd struct {
	Sessions []string `arg:"" name:"session" help:"Live sessions."`
	Reason   string   `help:"Why; their user reads it. Asked for if not given." short:"r"`
}

func (t *terminateCmd) Run(c *call) error {
	reason, err := c.reason(t.Reason)
	if err != nil {
		return err
	}
	return c.each(t.Sessions, func(id string) (string, any, error) {
		r, err := c.findSession(id)
		switch {
		case err != nil:
			return "", nil, err
		case r.State != session.Open:
			return "", nil, failf("It has ended already (%s).", r.Cause)
		case !c.inv.LocalAdmin && r.UserID != c.inv.User.ID:
			if err := c.r.o.Approvals.CanTerminate(c.ctx, c.inv.User.ID, r.GrantID); err != nil {
				return "", nil, err
			}
		}
		by := display.Line(c.actor().Name, 64)
		err = c.r.o.Sessions.Terminate(c.ctx, r.ID, session.Termination{Cause: "terminated", By: c.inv.User.ID,
			Reason: fmt.Sprintf("Terminated by %s: %s", by, display.Line(reason, 200))})
		return r.ID + " terminated.", map[string]string{"session": r.ID, "reason": reason}, err
	})
}

// auditSession tells the log that somebody looked.
func (c *call) auditSession(typ audit.Type, r session.Row, detail map[string]string) error {
	_, err := c.r.o.Log.Append(c.ctx, audit.Event{Type: typ, Outcome: audit.Success, Actor: c.actor(), User: r.UserID,
		Target: r.Target, Request: r.RequestID, Grant: r.GrantID, Session: r.ID, Detail: detail})
	if err != nil {
		return fmt.Errorf("record that %s was looked at: %w", r.ID, err)
	}
	return nil
}
