package command

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"jit-gateway/internal/audit"
	"jit-gateway/internal/display"
	"jit-gateway/internal/store"
	"jit-gateway/session"
)

type recordingVerifyCmd struct {
	Sessions []string `arg:"" optional:"" name:"session" help:"Sessions; with --all every recording."`
	All      bool     `help:"Every recording that you may see."`
}

// verifyJSON is what --json prints of a verified recording.
type verifyJSON struct {
	Session string      `json:"session"`
	OK      bool        `json:"ok"`
	Report  *reportJSON `json:"report,omitempty"`
	Text    string      `json:"text"`
	Deleted bool        `json:"deleted,omitempty"` // in order, as the log says: there is nothing to verify
}

func (v *recordingVerifyCmd) Run(c *call) error {
	ids := v.Sessions
	switch {
	case v.All == (len(ids) > 0):
		return usagef("Name sessions, or --all.")
	case v.All:
		infos, err := c.r.o.Recordings.List()
		if err != nil {
			return err
		}
		for _, in := range infos {
			if !in.Live && (c.seesAll() || c.mayReplay(in.Header.Grant)) {
				ids = append(ids, in.Session)
			}
		}
	}
	var out []verifyJSON
	bad := 0
	for _, id := range ids {
		if err := c.ctx.Err(); err != nil {
			return err
		}
		one := c.verifyRecording(id)
		if out = append(out, one); !one.OK {
			bad++
		}
		if !c.root.JSON {
			c.print("%s: %s", display.Line(one.Session, 40), lineByLine(one.Text))
		}
	}
	if c.root.JSON {
		if err := c.json(append([]verifyJSON{}, out...)); err != nil {
			return err
		}
	}
	if bad > 0 {
		return errQuiet
	}
	return nil
}

func (c *call) verifyRecording(id string) verifyJSON {
	rd, row, err := c.openRecording(id)
	if err != nil {
		text := err.Error()
		var f *failure
		if _, row := c.keptState(cleanID(id)); row != nil && row.Deleted() && errors.As(err, &f) {
			return verifyJSON{Session: row.Session, OK: true, Deleted: true, Text: text}
		}
		if !errors.As(err, &f) {
			text = "cannot be read: " + text
		}
		return verifyJSON{Session: cleanID(id), Text: text}
	}
	defer rd.Close()
	rep := rd.Verify()
	out := verifyJSON{Session: row.ID, OK: rep.OK, Report: reportView(rep), Text: rep.String()}
	// A file that somebody made anew is intact in itself.
	leaves, seal, err := session.Logged(c.ctx, c.r.o.Log, row.ID)
	if err != nil {
		out.OK, out.Text = false, out.Text+"  NOT compared with the audit log: "+err.Error()+"\n"
		return out
	}
	switch bad := rep.Compare(leaves, seal); {
	case len(bad) > 0:
		out.OK, out.Text = false, out.Text+fmt.Sprintf("  NOT the one that was recorded: segment %d: %s\n", bad[0].Segment, bad[0].What)
	case rep.OK && seal != "": // of a damaged one it would only say that its end is whole
		out.Text += "  the audit log has the same seal\n"
	}
	return out
}

// lineByLine is display.Line for a text that has lines of its own.
func lineByLine(s string) string {
	parts := strings.Split(strings.TrimRight(s, "\n"), "\n")
	for i, p := range parts {
		parts[i] = display.Line(p, 0)
	}
	return strings.Join(parts, "\n  ")
}

type recordingSearchCmd struct {
	Text   []string `arg:"" help:"Words to find."`
	User   string   `help:"Of this user."`
	Target string   `help:"On this target."`
	Since  span     `help:"Within this time, such as 7d." placeholder:"DURATION"`
	Limit  int      `help:"At most so many." default:"100"`
}

func (s *recordingSearchCmd) Run(c *call) error {
	f := store.LineFilter{Target: s.Target, Limit: s.Limit}
	if s.User != "" {
		u, err := c.findUser(s.User)
		if err != nil {
			return err
		}
		f.UserID = u.ID
	}
	if s.Since != 0 {
		f.Since = c.r.o.Now().Add(-time.Duration(s.Since))
	}
	text := strings.Join(s.Text, " ")
	_, err := c.r.o.Log.Append(c.ctx, audit.Event{Type: audit.RecordingViewed, Outcome: audit.Success, Actor: c.actor(), Target: s.Target,
		Detail: map[string]string{"how": "search"}})
	if err != nil {
		return fmt.Errorf("record the search: %w", err)
	}
	hits, err := c.r.o.Search(c.ctx, text, f)
	if err != nil {
		return err
	}
	if c.root.JSON {
		return c.json(hitViews(hits))
	}
	if len(hits) == 0 {
		c.say("Nothing found.")
		return nil
	}
	t := newTable("SESSION", "USER", "TARGET", "STARTED", "AT", "KIND", "TEXT")
	for _, h := range hits {
		excerpt := strings.NewReplacer(store.MarkStart, "", store.MarkEnd, "").Replace(h.Excerpt)
		t.row(h.Session, h.User, h.Target, c.stamp(h.StartedAt), clockText(h.At), h.Kind, excerpt)
	}
	return c.table(t)
}
