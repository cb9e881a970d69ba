package command

import (
	"fmt"
	"io"
	"time"

	"jit-gateway/internal/audit"
	"jit-gateway/internal/display"
	"jit-gateway/recording"
	"jit-gateway/recording/vt"
	"jit-gateway/session"
)

type watchCmd struct {
	Session string `arg:"" help:"Live session."`
}

// Help is shown below the usage.
func (*watchCmd) Help() string {
	return "Joins at the current screen. q or Ctrl-C leaves; the session does not notice, unless its rule tells the user. With --json, events as JSON lines."
}

func (w *watchCmd) Run(c *call) error {
	row, err := c.findSession(w.Session)
	if err != nil {
		return err
	}
	if !c.inv.LocalAdmin {
		if err := c.r.o.Approvals.CanWatch(c.ctx, c.inv.User.ID, row.GrantID); err != nil {
			return err
		}
	}
	live, ok := c.r.o.Sessions.Get(row.ID)
	switch {
	case !ok && row.State == session.Open:
		return failf("Session %s is live on the gateway %s; watch it there.", row.ID, display.Line(row.Gateway, 64))
	case !ok:
		return failf("Session %s has ended. Replay it: %srecording replay %s", row.ID, c.prefix(), row.ID)
	}
	if err := c.auditSession(audit.SessionWatched, row, nil); err != nil {
		return err
	}
	defer func() {
		if err := c.auditSession(audit.SessionLeft, row, nil); err != nil {
			c.r.o.Logger.Error("a viewer left", "session", row.ID, "error", err)
		}
	}()
	view, err := live.Recorder().Watch(c.actor().Name)
	if err != nil {
		return err
	}
	defer view.Close()
	live.Flag(session.FlagWatched)
	ended, err := c.view(row, view)
	if ended {
		c.say("Session %s has ended.", row.ID)
	}
	return err
}

// view shows events until the session ends or the viewer leaves.
func (c *call) view(row session.Row, view *recording.Watch) (ended bool, err error) {
	leave := make(chan struct{})
	out := c.inv.Out
	if c.con != nil {
		keys, release, err := c.con.keys(c.ctx)
		if err != nil {
			return false, err
		}
		gone := make(chan struct{})
		defer func() { release(); <-gone }()
		go func() {
			defer close(gone)
			waitLeave(keys, leave)
		}()
		_, _ = io.WriteString(out, "\x1b[2J\x1b[H")
		defer func() { _, _ = io.WriteString(out, vt.Clean) }()
	}
	// What a session shows must not act on who watches it (guarantee G11).
	filters := map[streamID]*vt.Filter{}
	show := func(ev recording.Event) error { return c.showWatched(out, row, ev, filters) }
	for _, ev := range view.Snapshot {
		if err := show(ev); err != nil {
			return false, err
		}
	}
	for {
		select {
		case ev, ok := <-view.Events():
			if !ok {
				return true, nil
			}
			if err := show(ev); err != nil {
				return false, err
			}
		case <-leave:
			return false, nil
		case <-c.ctx.Done():
			return false, nil
		}
	}
}

// waitLeave reads keys until one of those that leave, or the end.
func waitLeave(keys io.Reader, leave chan struct{}) {
	defer close(leave)
	var b [64]byte
	for {
		n, err := keys.Read(b[:])
		for _, k := range b[:n] {
			if k == 'q' || k == 'Q' || k == keyInterrupt || k == 0x04 {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// streamID is one stream of output; sequences do not cross them.
type streamID struct {
	channel uint32
	stream  byte
}

func (c *call) showWatched(out io.Writer, row session.Row, ev recording.Event, filters map[streamID]*vt.Filter) error {
	switch {
	case c.root.JSON:
		return c.jsonLine(recording.EventJSON(ev))
	case ev.Kind == recording.KindScreen && c.con == nil:
		return nil // drawn for a terminal
	case ev.Kind == recording.KindOutput, ev.Kind == recording.KindScreen:
		id := streamID{ev.Channel, ev.Stream}
		if filters[id] == nil {
			filters[id] = &vt.Filter{}
		}
		_, err := out.Write(filters[id].Append(nil, ev.Data))
		return err
	}
	text := watchLine(ev)
	if text == "" {
		return nil
	}
	_, err := fmt.Fprintf(out, "\r\n%s %s\r\n", row.StartedAt.Add(ev.T).UTC().Format(time.TimeOnly), display.Line(text, 0))
	return err
}

// watchLine tells of an event that is no output.
func watchLine(ev recording.Event) string {
	switch p := ev.Payload.(type) {
	case recording.Exec:
		return "exec: " + p.Command
	case recording.SFTP:
		return fmt.Sprintf("sftp %s %s %s %s", p.Op, p.Path, p.To, p.Result)
	case recording.File:
		return fmt.Sprintf("%s %s %s (%d bytes)", p.Via, p.Direction, p.Path, p.Bytes)
	case recording.Forward:
		return fmt.Sprintf("forward %s %s %s", p.Type, p.Dest, p.Result)
	case recording.SQL:
		s := "sql: " + p.Statement
		if p.Error != "" {
			s += " -- " + p.Error
		} else if p.Tag != "" {
			s += " -- " + p.Tag
		}
		return s
	case recording.Notice:
		return "told: " + p.Text
	case recording.Termination:
		return fmt.Sprintf("ended (%s): %s", p.Cause, p.Reason)
	}
	return ""
}
