package web

import (
	"errors"
	"io/fs"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"jit-gateway/internal/audit"
	"jit-gateway/internal/display"
	"jit-gateway/recording"
	"jit-gateway/session"
)

// session shows one: live, or with its recording if the viewer may see what
// is in it. Looking is itself an event.
func (s *Server) session(w http.ResponseWriter, r *http.Request, v *viewer) error {
	row, err := s.row(r, v)
	if err != nil {
		return err
	}
	d := map[string]any{"S": row, "Error": "", "Start": r.URL.Query().Get("t")}
	s.liveData(r, v, row, d)
	if row.State != session.Open && s.mayReplay(r, v, row) {
		if err := s.looked(r, v, row); err != nil {
			return err
		}
		d["Evidence"] = s.o.Evidence != nil && v.Auditor
		if err := s.recordingData(r, row, d); err != nil {
			d["RecordingError"] = sentence(err)
		}
	}
	s.render(w, r, v, http.StatusOK, "session", d)
	return nil
}

// liveData is what a running session's page says.
func (s *Server) liveData(r *http.Request, v *viewer, row session.Row, d map[string]any) {
	if row.State != session.Open {
		return
	}
	d["MayTerminate"] = s.o.Approvals.CanTerminate(r.Context(), v.ID, row.GrantID) == nil
	live, ok := s.o.Sessions.Get(row.ID)
	if !ok {
		d["Elsewhere"] = true
		return
	}
	d["S"] = live.Row() // with its bytes as they are now
	d["End"] = live.End()
	d["MayWatch"] = s.o.Approvals.CanWatch(r.Context(), v.ID, row.GrantID) == nil
	d["Told"] = live.Admission().Rule().Session.TellWatched
}

// recordingData reads what the page shows of a recording, within bounds: a
// long one is shown a stretch at a time.
func (s *Server) recordingData(r *http.Request, row session.Row, d map[string]any) error {
	rec, err := s.o.Recordings.Open(row.ID)
	if errors.Is(err, fs.ErrNotExist) {
		return s.missing(r, row)
	} else if err != nil {
		return err
	}
	defer rec.Close()
	h := rec.Header()
	d["Duration"], d["Size"], d["Exports"] = rec.Duration(), rec.Size(), offered(h.Protocol, h.Encrypted())
	d["Check"] = s.verdict(r, row, rec)
	if h.Encrypted() {
		d["Encrypted"], d["Recipients"] = true, h.Encryption.Recipients
		return nil
	}
	ch, _, _, screen, err := rec.Screen()
	if err != nil {
		return err
	}
	if only, err := strconv.ParseUint(r.URL.Query().Get("ch"), 10, 32); err == nil {
		ch = uint32(only)
	}
	d["HasScreen"], d["Channel"] = screen && h.Protocol != "postgres", ch
	q := r.URL.Query()
	from, err := strconv.ParseInt(q.Get("after"), 10, 64)
	if err != nil {
		from = -1
	}
	tl := readTimeline(rec, time.Duration(from), q.Get("show"))
	d["Timeline"], d["Show"], d["Kinds"], d["Counted"] = tl.list, q.Get("show"), shows(h.Protocol), tl.whole && from < 0
	if from >= 0 {
		d["First"] = "/sessions/" + row.ID + "?" + url.Values{"show": {q.Get("show")}}.Encode() + "#timeline"
	}
	if !tl.whole {
		d["More"] = "/sessions/" + row.ID + "?" + url.Values{"show": {q.Get("show")}, "after": {strconv.FormatInt(int64(tl.last), 10)}}.Encode() + "#timeline"
	}
	d["Upto"], d["From"] = tl.last, time.Duration(max(from, 0))
	return nil
}

// missing says why there is no recording.
func (s *Server) missing(r *http.Request, row session.Row) error {
	if s.o.Audit != nil {
		gone, err := s.o.Audit.FindEvents(r.Context(), audit.Filter{Session: row.ID, Types: []audit.Type{audit.RecordingDeleted, audit.RecordingDeleteOrdered}, Limit: 1})
		if err == nil && len(gone) > 0 {
			return errors.New("the recording was deleted " + s.when(gone[0].Time) + "; the audit log keeps its hashes, and says by whom")
		}
	}
	return errors.New("the recording is not here, and nothing says that it was deleted: tell whoever runs the gateway")
}

// verdict is the state of a recording in words.
type verdict struct {
	Word    string // good, bad, warn, none: how it is shown
	Text    string
	Detail  []string
	Offer   string // an address that does the check
	Offered string // what it would read
}

// checkAtOnce is up to which size a recording is verified whenever it is
// looked at.
const checkAtOnce = 8 << 20

func (s *Server) verdict(r *http.Request, row session.Row, rec *recording.Reader) verdict {
	if rec.Size() > checkAtOnce && !r.URL.Query().Has("check") {
		return verdict{Word: "none", Text: "Sealed. Not read through for this page.", Offer: "/sessions/" + row.ID + "?check", Offered: byteCount(rec.Size())}
	}
	rep := rec.Verify()
	out := verdict{Word: "good", Text: "Intact: every event is as it was sealed.", Detail: lines(rep.String())}
	var bad []recording.Damage
	logged := false
	if s.o.Audit != nil {
		leaves, seal, err := session.Logged(r.Context(), s.o.Audit, row.ID)
		if err != nil {
			return verdict{"bad", "The audit log could not be asked whether this is the recording that was sealed: " + sentence(err), out.Detail, "", ""}
		}
		logged = seal != ""
		bad = rep.Compare(leaves, seal)
	}
	switch {
	case len(bad) > 0:
		out.Word, out.Text = "bad", "This is not what was sealed: "+display.Line(bad[0].What, 500)+"."
	case !rep.OK:
		p := rep.Problems[0]
		out.Word, out.Text = "bad", "Damaged after "+clock(p.From)+": "+display.Line(p.What, 500)+". All that is intact is shown."
	case rep.Seal.Recovered || row.State == session.Crashed:
		out.Word, out.Text = "warn", "Recovered after a crash: what had reached the disk is intact, up to "+clock(rep.Duration)+"."
	case rep.Locked:
		out.Text = "Intact as far as can be seen without a key: hashes and structure are as they were sealed."
	}
	if logged && len(bad) == 0 && rep.OK {
		out.Text += " The audit log has the same seal."
	}
	return out
}
