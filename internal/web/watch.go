package web

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"

	"jit-gateway/internal/audit"
	"jit-gateway/internal/display"
	"jit-gateway/recording"
	"jit-gateway/session"
)

// recheck is how often an open live view looks again whether it may go on.
const recheck = 2 * time.Second

// watch streams a live session as it happens: terminals in the form that the
// player's event stream takes, statements and all else as lines. That somebody
// watches is in the recording and in the log; a slow viewer loses events, the
// session never waits.
func (s *Server) watch(w http.ResponseWriter, r *http.Request, v *viewer) error {
	row, err := s.row(r, v)
	if err != nil {
		return err
	}
	live, ok := s.o.Sessions.Get(row.ID)
	if !ok || s.o.Approvals.CanWatch(r.Context(), v.ID, row.GrantID) != nil {
		return errNotFound
	}
	leave, ok := s.streams.enter(v.ID)
	if !ok {
		http.Error(w, "Too many pages are open.", http.StatusTooManyRequests)
		return nil
	}
	defer leave()
	if err := s.viewed(r, v, row, audit.SessionWatched, nil); err != nil {
		return err
	}
	defer func() {
		if err := s.left(r, v, row); err != nil {
			s.o.Logger.Error("a viewer left", "session", row.ID, "error", err)
		}
	}()
	view, err := live.Recorder().Watch(v.Name)
	if err != nil {
		return err
	}
	defer view.Close()
	live.Flag(session.FlagWatched)
	w.Header().Set("Content-Type", "text/event-stream")
	out := &liveStream{w: w, terminal: row.Protocol == "ssh"}
	out.reset(80, 24, "")
	for _, ev := range view.Snapshot {
		out.event(ev)
	}
	again := time.NewTicker(recheck)
	defer again.Stop()
	for out.flush() {
		select {
		case ev, ok := <-view.Events():
			if !ok {
				out.send("done", "ended")
				out.flush()
				return nil
			}
			out.event(ev)
		case <-again.C:
			now, err := s.viewer(r)
			if err != nil || s.o.Approvals.CanWatch(r.Context(), now.ID, row.GrantID) != nil {
				out.send("done", "over")
				out.flush()
				return nil
			}
			out.comment()
		case <-r.Context().Done():
			return nil
		}
	}
	return nil
}

// left is written although the browser has gone.
func (s *Server) left(r *http.Request, v *viewer, row session.Row) error {
	ctx, cancel := contextFor(r, 5*time.Second)
	defer cancel()
	_, err := s.o.Log.Append(ctx, audit.Event{Type: audit.SessionLeft, Outcome: audit.Success, Actor: v.actor(),
		User: row.UserID, Target: row.Target, Grant: row.GrantID, Session: row.ID})
	return err
}

// liveStream writes server-sent events; the first error ends it.
type liveStream struct {
	w        http.ResponseWriter
	terminal bool
	last     time.Duration
	err      error
}

func (o *liveStream) send(event, data string) {
	if o.err != nil {
		return
	}
	if event != "" {
		event = "event: " + event + "\n"
	}
	_, o.err = fmt.Fprintf(o.w, "%sdata: %s\n\n", event, data)
}

// id is what a browser says when it comes back.
func (o *liveStream) id(n int64) {
	if o.err == nil {
		_, o.err = fmt.Fprintf(o.w, "id: %d\n", n)
	}
}

func (o *liveStream) comment() {
	if o.err == nil {
		_, o.err = o.w.Write([]byte(": still here\n\n"))
	}
}

func (o *liveStream) flush() bool {
	if f, ok := o.w.(http.Flusher); ok && o.err == nil {
		f.Flush()
	}
	return o.err == nil
}

func (o *liveStream) json(v any) {
	b, err := json.Marshal(v)
	if err != nil {
		return // strings and numbers: cannot be
	}
	o.send("", string(b))
}

func (o *liveStream) reset(cols, rows uint32, init string) {
	if cols == 0 || rows == 0 { // a script's terminal
		cols, rows = 80, 24
	}
	if o.terminal {
		o.json(map[string]any{"cols": min(cols, 500), "rows": min(rows, 200), "time": o.last.Seconds(), "init": init})
	}
}

func (o *liveStream) event(ev recording.Event) {
	o.last = max(o.last, ev.T)
	switch p := ev.Payload.(type) {
	case recording.Screen:
		o.reset(p.Cols, p.Rows, strings.ToValidUTF8(string(ev.Data), "\ufffd"))
		return
	case recording.Resize:
		if o.terminal {
			o.json([]any{o.last.Seconds(), "r", fmt.Sprintf("%dx%d", min(p.Cols, 500), min(p.Rows, 200))})
		}
		return
	}
	if ev.Kind == recording.KindOutput {
		if o.terminal {
			o.json([]any{o.last.Seconds(), "o", strings.ToValidUTF8(string(ev.Data), "\ufffd")})
		}
		return
	}
	text := liveLine(ev)
	if text == "" {
		return
	}
	text = display.Line(text, 4000)
	if o.terminal {
		o.json([]any{o.last.Seconds(), "o", "\r\n\x1b[2m" + clock(ev.T) + " " + text + "\x1b[0m\r\n"})
		return
	}
	b, _ := json.Marshal(map[string]string{"at": clock(ev.T), "text": text})
	o.send("line", string(b))
}

// liveLine tells of an event that is no output.
func liveLine(ev recording.Event) string {
	switch p := ev.Payload.(type) {
	case recording.Exec:
		return "exec " + p.Command
	case recording.SFTP:
		return strings.Join(strings.Fields("sftp "+p.Op+" "+p.Path+" "+p.To+" "+p.Result), " ")
	case recording.File:
		return fmt.Sprintf("%s %s %s, %s", p.Via, p.Direction, p.Path, byteCount(p.Bytes))
	case recording.Forward:
		return "forward " + p.Type + " " + p.Dest + " " + p.Result
	case recording.SQL:
		switch {
		case p.Error != "":
			return "  " + p.SQLSTATE + " " + p.Error
		case p.Op == "result":
			return "  " + p.Tag
		}
		return p.Statement
	case recording.Notice:
		return "told: " + p.Text
	case recording.Termination:
		return "terminated: " + p.Reason
	}
	return ""
}
