package evidence

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"errors"
	"html/template"
	"io/fs"
	"time"

	"jit-gateway/recording"
	"jit-gateway/session"
)

// What of recordings goes into the summary itself. Longer ones are beside it,
// whole.
const (
	maxInline   = 16 << 20 // compressed, of all sessions together
	maxCast     = 64 << 20 // uncompressed, of one: what a browser can take
	maxHappened = 500      // statements, commands and file operations of a session
	maxSearched = 64 << 20 // bytes of a recording that are read to list them
)

// shownSession is a session as the summary tells it.
type shownSession struct {
	session.Row
	Why      string        // why there is nothing to play
	Cast     template.HTML // asciicast v2, gzip, base64: its letters need no escaping, and would not survive it
	Happened []happened
	Cut      bool // there is more than Happened
}

// happened is a line of a session's timeline.
type happened struct {
	T       time.Duration
	Kind    string
	Text    string
	Values  []string
	Outcome string
	Bad     bool
}

func (p *Writer) shown(row session.Row, room *int) (shownSession, error) {
	out := shownSession{Row: row}
	if row.State == session.Open {
		out.Why = "It is still open: there is no sealed recording yet."
		return out, nil
	}
	rec, err := p.o.Recordings.Open(row.ID)
	if errors.Is(err, fs.ErrNotExist) {
		out.Why = "There is no recording of it."
		return out, nil
	}
	if err != nil {
		out.Why = "Its recording cannot be read: " + err.Error()
		return out, nil
	}
	defer rec.Close()
	if rec.Header().Encrypted() {
		out.Why = "Its recording is encrypted to its auditors' keys; jit-gateway replay-file plays it."
		return out, nil
	}
	out.happened(rec)
	_, _, _, screen, err := rec.Screen()
	switch {
	case err != nil:
		return out, err
	case !screen || rec.Header().Protocol == "postgres":
	case p.o.Player == nil:
		out.Why = "This gateway has no player to put here; jit-gateway replay-file plays the recording."
	default:
		if out.Cast = cast(rec, *room); out.Cast == "" {
			out.Why = "Its recording is too long to be played here; it is in the pack, and jit-gateway replay-file plays it."
		}
		*room -= len(out.Cast)
	}
	return out, nil
}

var errTooLong = errors.New("too long")

// capped refuses to grow beyond a limit.
type capped struct {
	bytes.Buffer
	left int
}

func (c *capped) Write(p []byte) (int, error) {
	if c.left -= len(p); c.left < 0 {
		return 0, errTooLong
	}
	return c.Buffer.Write(p)
}

// counted stops a writer after so many bytes.
type counted struct {
	z    *gzip.Writer
	left int
}

func (c *counted) Write(p []byte) (int, error) {
	if c.left -= len(p); c.left < 0 {
		return 0, errTooLong
	}
	return c.z.Write(p)
}

// cast is a recording for the player, or "" if it is longer than there is room.
// Of a damaged one it has all that is intact, with a marker where it broke.
func cast(rec *recording.Reader, room int) template.HTML {
	out := &capped{left: room / 4 * 3}
	z := gzip.NewWriter(out)
	err := recording.ExportCast(rec, &counted{z, maxCast}, 2, recording.ExportOptions{})
	var damage *recording.Damage
	if err != nil && !errors.As(err, &damage) {
		return ""
	}
	if z.Close() != nil {
		return ""
	}
	return template.HTML(base64.StdEncoding.EncodeToString(out.Bytes())) //nolint:gosec // base64
}

// happened lists what the screen does not show: statements with their
// outcomes, commands, files.
func (s *shownSession) happened(rec *recording.Reader) {
	read, bySeq := 0, map[int64]int{}
	for ev, err := range rec.Events() {
		if err != nil {
			s.Happened = append(s.Happened, happened{T: ev.T, Kind: "damage", Text: err.Error(), Bad: true})
			continue
		}
		if read += len(ev.Data) + 64; read > maxSearched || len(s.Happened) >= maxHappened {
			s.Cut = true
			return
		}
		h := happened{T: ev.T, Kind: string(ev.Kind)}
		switch e := ev.Payload.(type) {
		case recording.SQL:
			if i, ok := bySeq[e.Seq]; e.Op == "result" && ok {
				s.Happened[i].outcome(e)
				continue
			}
			h.Text = e.Statement
			for _, v := range e.Params {
				h.Values = append(h.Values, v.String())
			}
			h.outcome(e)
			bySeq[e.Seq] = len(s.Happened)
		case recording.Exec:
			h.Text = e.Command
		case recording.SFTP:
			h.Text, h.Outcome, h.Bad = e.Op+" "+e.Path+" "+e.To, e.Result, e.Denied
		case recording.File:
			h.Kind, h.Text, h.Outcome = e.Via+" "+e.Direction, e.Path+" "+e.SHA256, e.Result
		case recording.Forward:
			h.Text, h.Outcome, h.Bad = e.Type+" "+e.Dest, e.Result, e.Denied
		case recording.Viewer:
			h.Text = e.Name + map[bool]string{true: " watches", false: " left"}[e.Joined]
		case recording.Termination:
			h.Text, h.Bad = e.Cause+": "+e.Reason, true
		case recording.Marker:
			h.Text = e.Text
		default:
			continue
		}
		s.Happened = append(s.Happened, h)
	}
}

func (h *happened) outcome(q recording.SQL) {
	switch {
	case q.Error != "":
		h.Outcome, h.Bad = q.SQLSTATE+" "+q.Error, true
	case q.Tag != "" && h.Outcome == "":
		h.Outcome = q.Tag
	case q.Tag != "":
		h.Outcome += "; " + q.Tag
	}
}
