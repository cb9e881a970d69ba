package command

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"time"

	"jit-gateway/internal/audit"
	"jit-gateway/internal/dialogue"
	"jit-gateway/internal/display"
	"jit-gateway/internal/store"
	"jit-gateway/recording"
	"jit-gateway/session"
)

type recordingCmd struct {
	List   recordingListCmd   `cmd:"" help:"List recordings."`
	Replay recordingReplayCmd `cmd:"" help:"Play a recording; space pauses, q leaves."`
	Export recordingExportCmd `cmd:"" help:"Write a recording to stdout in another form."`
	Verify recordingVerifyCmd `cmd:"" help:"Verify recordings against their hashes."`
	Search recordingSearchCmd `cmd:"" help:"Find text in recordings." needs:"search" who:"auditor"`

	Hold        recordingHoldCmd    `cmd:"" help:"Keep recordings whatever their retention: a legal hold." needs:"keeper" who:"auditor"`
	ReleaseHold recordingReleaseCmd `cmd:"" name:"release-hold" help:"End a legal hold." needs:"keeper" who:"auditor"`
	Delete      recordingDeleteCmd  `cmd:"" help:"Delete recordings, with a reason." needs:"keeper" who:"admin"`
}

// openRecording opens a recording that the caller may replay. The row may be
// gone in a restored store; the recording's header then says whose it is.
func (c *call) openRecording(id string) (*recording.Reader, session.Row, error) {
	none := failf("There is no recording %s that you may see. See: %srecording list", display.Line(id, 40), c.prefix())
	id = cleanID(id)
	row, err := c.r.o.Rows.Session(c.ctx, id)
	switch {
	case isNotFound(err) && !c.seesAll():
		return nil, row, none
	case err != nil && !isNotFound(err):
		return nil, row, err
	case err == nil && !c.mayReplay(row.GrantID):
		return nil, row, none
	}
	rd, err := c.r.o.Recordings.Open(id)
	if err != nil {
		if gone := goneFailure(err); gone != nil {
			return nil, row, gone
		}
		switch missing := isNotFound(err) || errors.Is(err, fs.ErrNotExist); {
		case missing && row.ID != "" && c.r.o.Elsewhere != nil && c.r.o.Elsewhere(c.ctx, id):
			return nil, row, failf("The recording of %s is kept by the gateway %s.", id, display.Line(row.Gateway, 64))
		case missing && row.ID != "" && row.State != session.Open:
			return nil, row, failf("The recording of %s is missing. See: %saudit verify", id, c.prefix())
		case missing:
			return nil, row, none
		}
		return nil, row, fmt.Errorf("open the recording of %s: %w", id, err)
	}
	if row.ID == "" {
		h := rd.Header()
		row = session.Row{ID: h.Session, GrantID: h.Grant, RequestID: h.Request, UserID: h.UserID, User: h.User, Target: h.Target}
	}
	return rd, row, nil
}

func (c *call) mayReplay(grantID string) bool {
	return c.inv.LocalAdmin || c.r.o.Approvals.CanReplay(c.ctx, c.inv.User.ID, grantID) == nil
}

type recordingListCmd struct {
	User   string `help:"Of this user."`
	Target string `help:"On this target."`
	Held   bool   `help:"Those under a legal hold."`
	Gone   bool   `name:"deleted" help:"Those that were deleted, and why."`
	Limit  int    `help:"At most so many, newest first." default:"100"`
}

// recordingJSON is what --json prints of a recording.
type recordingJSON struct {
	recording.Header
	Size   int64     `json:"size"`
	Sealed bool      `json:"sealed"`
	Live   bool      `json:"live,omitempty"`
	Seal   *sealJSON `json:"seal,omitempty"`
	Error  string    `json:"error,omitempty"`
	Kept   *keptJSON `json:"kept,omitempty"`
}

// keptJSON is how long a recording is kept, and where.
type keptJSON struct {
	Until    *time.Time      `json:"until,omitempty"` // by the rule when it was sealed; for ever without
	Hold     *store.Hold     `json:"hold,omitempty"`
	Object   *store.Object   `json:"object,omitempty"`
	Deletion *store.Deletion `json:"deletion,omitempty"`
}

func keptOf(r *store.Recording) *keptJSON {
	if r == nil {
		return nil
	}
	k := &keptJSON{Hold: r.Hold, Object: r.Object, Deletion: r.Deletion}
	if !r.RetainUntil.IsZero() {
		k.Until = &r.RetainUntil
	}
	return k
}

func (l *recordingListCmd) Run(c *call) error {
	if l.Gone {
		return l.deleted(c)
	}
	infos, err := c.r.o.Recordings.List()
	if err != nil {
		return err
	}
	slices.SortStableFunc(infos, func(a, b recording.Info) int { return a.Header.Start.Compare(b.Header.Start) })
	var out []recordingJSON
	var kept []string
	for i := len(infos) - 1; i >= 0 && len(out) < max(l.Limit, 1); i-- {
		in := infos[i]
		h := in.Header
		switch {
		case l.User != "" && h.User != l.User, l.Target != "" && h.Target != l.Target:
			continue
		case in.Err != nil && !c.seesAll(), in.Err == nil && !c.mayReplay(h.Grant):
			continue
		}
		v := recordingJSON{Header: h, Size: in.Size, Sealed: in.Sealed, Live: in.Live}
		v.Session = in.Session
		if in.Sealed {
			v.Seal = sealView(in.Seal)
		}
		if in.Err != nil {
			v.Error = in.Err.Error()
		}
		text, row := c.keptState(in.Session)
		if l.Held && (row == nil || row.Hold == nil) {
			continue
		}
		v.Kept = keptOf(row)
		out, kept = append(out, v), append(kept, text)
	}
	if c.root.JSON {
		return c.json(append([]recordingJSON{}, out...))
	}
	if len(out) == 0 {
		c.say("No recordings that you may see.")
		return nil
	}
	t := newTable("SESSION", "STATE", "USER", "LOGIN", "TARGET", "STARTED", "LENGTH", "SIZE", "OUTCOME", "KEPT")
	for i, v := range out {
		state, length, outcome := cell{"not sealed", red}, "", ""
		switch {
		case v.Error != "":
			state, outcome = cell{"unreadable", red}, v.Error
		case v.Live:
			state = cell{"live", green}
		case v.Sealed && v.Kept != nil && v.Kept.Object != nil:
			state, length, outcome = cell{"archived", plain}, clockText(v.Seal.Seal.Duration), v.Seal.Outcome
		case v.Sealed:
			state, length, outcome = cell{"sealed", plain}, clockText(v.Seal.Seal.Duration), v.Seal.Outcome
		}
		t.row(v.Session, state, v.User, v.Login, v.Target, c.stamp(v.Start), length, byteSize(v.Size), outcome, kept[i])
	}
	return c.table(t)
}

// deleted lists what is gone, newest first.
func (l *recordingListCmd) deleted(c *call) error {
	if c.r.o.Keeper == nil || !c.seesAll() {
		return failf("What was deleted is for auditors and administrators.")
	}
	var list []store.Recording
	for f := (store.RecordingFilter{Deleted: true, Limit: 500}); ; f.After = list[len(list)-1].Session {
		page, err := c.r.o.Keeper.Recordings(c.ctx, f)
		if err != nil {
			return err
		}
		list = append(list, page...)
		if len(page) < f.Limit {
			break
		}
	}
	slices.Reverse(list)
	list = list[:min(len(list), max(l.Limit, 1))]
	if c.root.JSON {
		return c.json(append([]store.Recording{}, list...))
	}
	if len(list) == 0 {
		c.say("No recording was deleted.")
		return nil
	}
	t := newTable("SESSION", "TARGET", "STARTED", "SIZE", "RULE", "DELETED", "BY", "WHY")
	for _, r := range list {
		why := r.Deletion.Reason
		if r.Deletion.LastError != "" {
			why += " (its bytes are still there: " + r.Deletion.LastError + ")"
		}
		t.row(r.Session, r.Target, c.stamp(r.StartedAt), byteSize(r.Size), r.Rule, c.stamp(r.Deletion.OrderedAt), r.Deletion.ByName, why)
	}
	return c.table(t)
}

func byteSize(n int64) string {
	switch {
	case n >= 10<<20:
		return fmt.Sprintf("%d MiB", n>>20)
	case n >= 10<<10:
		return fmt.Sprintf("%d KiB", n>>10)
	}
	return fmt.Sprintf("%d B", n)
}

type recordingReplayCmd struct {
	Session string  `arg:"" help:"Session."`
	Speed   float64 `help:"Times as fast." default:"1" short:"s"`
	Idle    span    `help:"Longest pause shown, such as 2s." default:"2s" placeholder:"DURATION"`
	From    span    `help:"Begin at this time into it." placeholder:"DURATION"`
	Raw     bool    `help:"Do not neutralise hostile escape sequences."`
}

func (r *recordingReplayCmd) Run(c *call) error {
	if !(r.Speed > 0 && r.Speed <= 1000) { // NaN is neither
		return usagef("--speed is between 0 and 1000.")
	}
	rd, row, err := c.openRecording(r.Session)
	if err != nil {
		return err
	}
	defer rd.Close()
	if err := c.auditSession(audit.RecordingViewed, row, map[string]string{"how": "replay"}); err != nil {
		return err
	}
	return readFailure(r.play(c, rd))
}

// readFailure says to whoever reads a recording why it cannot be read, or not
// to its end: that is theirs to know.
func readFailure(err error) error {
	var d *recording.Damage
	switch {
	case errors.As(err, &d):
		return failf("%s", dialogue.Sentence(d.Error()))
	case errors.Is(err, recording.ErrLocked):
		return failf("It is encrypted, and the gateway has no key to it. Write it to a file with `recording export SESSION --format file`, and play it where your identity is: jit-gateway replay-file FILE --identity KEY")
	}
	return err
}

func (r *recordingReplayCmd) play(c *call, rd *recording.Reader) error {
	o := recording.ReplayOptions{ExportOptions: recording.ExportOptions{Raw: r.Raw}, Speed: r.Speed, Idle: time.Duration(r.Idle), Start: time.Duration(r.From), Plain: !c.inv.TTY}
	if c.con == nil {
		return recording.Replay(c.ctx, rd, c.out, nil, o)
	}
	keys, release, err := c.con.keys(c.ctx)
	if err != nil {
		return err
	}
	defer release()
	o.Cols, o.Rows = c.con.size()
	return recording.Replay(c.ctx, rd, c.inv.Out, keys, o)
}

type recordingExportCmd struct {
	Session string `arg:"" help:"Session."`
	Format  string `help:"cast (asciicast v2), cast3 (asciicast v3), text, sql, files, json, or file: the recording itself as it is." enum:"cast,cast3,text,sql,files,json,file" default:"cast" short:"f"`
	Raw     bool   `help:"Do not neutralise hostile escape sequences."`
	Input   bool   `help:"Include what was typed, where it was recorded."`
}

// Help is shown below the usage.
func (*recordingExportCmd) Help() string {
	return "Example: ssh jit-gateway recording export S7K2 > s.cast; asciinema play s.cast"
}

func (x *recordingExportCmd) Run(c *call) error {
	rd, row, err := c.openRecording(x.Session)
	if err != nil {
		return err
	}
	defer rd.Close()
	if err := c.auditSession(audit.RecordingExported, row, map[string]string{"format": x.Format}); err != nil {
		return err
	}
	return readFailure(x.write(c, rd))
}

func (x *recordingExportCmd) write(c *call, rd *recording.Reader) error {
	o := recording.ExportOptions{Raw: x.Raw, Input: x.Input}
	var w io.Writer = c.out
	switch x.Format {
	case "cast3":
		return recording.ExportCast(rd, w, 3, o)
	case "text":
		return recording.ExportText(rd, w, o)
	case "sql":
		return recording.ExportSQL(rd, w, o)
	case "files":
		return recording.ExportFiles(rd, w, o)
	case "json":
		return recording.ExportJSON(rd, w, o)
	case "file":
		if c.inv.TTY {
			return usagef("A recording is no text: write it to a file.")
		}
		_, err := c.r.o.Recordings.Copy(rd.Header().Session, w)
		return err
	}
	return recording.ExportCast(rd, w, 2, o)
}
