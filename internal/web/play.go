package web

import (
	"encoding/json"
	"errors"
	"io/fs"
	"net/http"
	"strconv"
	"sync"
	"time"

	"jit-gateway/internal/audit"
	"jit-gateway/recording"
	"jit-gateway/session"
)

// pieceJSON is a stretch of a replay, as static/replay.js takes it. Moments of
// events are in seconds; cursors are in nanoseconds, so that nothing is lost
// or shown twice between two pieces.
type pieceJSON struct {
	Duration float64  `json:"duration"`
	Cols     uint32   `json:"cols"`
	Rows     uint32   `json:"rows"`
	Init     string   `json:"init"`
	From     float64  `json:"from"`
	To       float64  `json:"to"`
	Next     *int64   `json:"next"` // null: this was the last
	Events   [][3]any `json:"events"`
}

// play serves one piece of a replay: ?after is where it begins, in
// nanoseconds, ?screen asks for the screen as it was then. Neither gateway nor
// browser ever holds more of the recording than that.
func (s *Server) play(w http.ResponseWriter, r *http.Request, v *viewer) error {
	row, rec, err := s.replayable(r, v)
	if err != nil {
		return err
	}
	defer rec.Close()
	if rec.Header().Encrypted() {
		return errNotFound // never decrypted on the page
	}
	if err := s.looked(r, v, row); err != nil {
		return err
	}
	q := r.URL.Query()
	after, err := strconv.ParseInt(q.Get("after"), 10, 64)
	if err != nil {
		after = -1
	}
	ch, err := strconv.ParseUint(q.Get("ch"), 10, 32)
	if err != nil {
		first, _, _, _, err := rec.Screen()
		if err != nil {
			return err
		}
		ch = uint64(first)
	}
	p, err := rec.Piece(uint32(ch), min(time.Duration(after), rec.Duration()), q.Has("screen"))
	if err != nil {
		return err
	}
	out := pieceJSON{Duration: rec.Duration().Seconds(), Cols: p.Cols, Rows: p.Rows, Init: p.Init, From: p.From.Seconds(), To: p.To.Seconds(),
		Events: make([][3]any, len(p.Events))}
	for i, ev := range p.Events {
		out.Events[i] = [3]any{ev.T.Seconds(), ev.Code, ev.Text}
	}
	if p.More {
		next := int64(p.To)
		out.Next = &next
	}
	w.Header().Set("Content-Type", "application/json")
	return json.NewEncoder(w).Encode(out)
}

// replayable opens the recording of the path's session, if it has ended and
// the viewer may see what is in it.
func (s *Server) replayable(r *http.Request, v *viewer) (session.Row, *recording.Reader, error) {
	row, err := s.row(r, v)
	if err != nil {
		return row, nil, err
	}
	if row.State == session.Open || !s.mayReplay(r, v, row) {
		return row, nil, errNotFound
	}
	rec, err := s.o.Recordings.Open(row.ID)
	if errors.Is(err, fs.ErrNotExist) {
		return row, nil, errNotFound
	}
	return row, rec, err
}

// lookEvery is how long a look at a recording counts as one: a replay in
// pieces, and paging, are one event in the log and not hundreds.
const lookEvery = 10 * time.Minute

// looks remembers who looked at what, by page session.
type looks struct {
	mu sync.Mutex
	m  map[string]time.Time
}

const maxLooks = 10_000

// fresh notes a look, and reports whether it is to be logged.
func (l *looks) fresh(key string, now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if at, ok := l.m[key]; ok && now.Sub(at) < lookEvery {
		return false
	}
	if l.m == nil || len(l.m) >= maxLooks { // forgetting costs an event more
		l.m = map[string]time.Time{}
	}
	l.m[key] = now
	return true
}

func (l *looks) forget(key string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.m, key)
}

// looked logs that the viewer looks at the recording: before anything is shown.
func (s *Server) looked(r *http.Request, v *viewer, row session.Row) error {
	key := v.page.ID + " " + row.ID
	if !s.looks.fresh(key, s.o.Now()) {
		return nil
	}
	if err := s.viewed(r, v, row, audit.RecordingViewed, nil); err != nil {
		s.looks.forget(key)
		return err
	}
	return nil
}
