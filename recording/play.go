package recording

import (
	"errors"
	"fmt"
	"iter"
	"strings"
	"time"

	"jit-gateway/internal/display"
	"jit-gateway/recording/vt"
)

// A Piece is a stretch of one channel's replay, small enough to be held by a
// browser: a long recording is played piece by piece, from any moment on.
type Piece struct {
	Channel    uint32
	Cols, Rows uint32
	Init       string        // what redraws the screen as it was at From, if it was asked for
	From, To   time.Duration // the events are later than From, and no later than To
	More       bool          // there is more after To
	Events     []PlayEvent
}

// PlayEvent is one event of a replay. Code is that of asciicast: o output,
// r resize, m marker.
type PlayEvent struct {
	T    time.Duration
	Code string
	Text string
}

const (
	pieceText   = 256 << 10 // of shown output: where a piece ends
	pieceEvents = 8192
	pieceRead   = 16 << 20 // of events of any channel that are read for a piece
)

// Size is the recording's length in bytes, as it lies on the disk.
func (r *Reader) Size() int64 { return r.size }

// Screen returns the channel that a replay shows and the size that it begins
// with: the first with a terminal, else the first that prints. It looks at the
// beginning of the recording only.
func (r *Reader) Screen() (ch, cols, rows uint32, ok bool, err error) {
	read := 0
	for ev, err := range r.Events() {
		if err != nil {
			if errors.Is(err, ErrLocked) {
				return 0, 0, 0, false, err
			}
			continue
		}
		if p, is := ev.Payload.(Resize); is {
			return ev.Channel, width(p.Cols), height(p.Rows), true, nil
		}
		if ev.Kind == KindOutput && !ok {
			ch, ok = ev.Channel, true
		}
		if read += len(ev.Data) + 64; read > pieceRead/4 {
			break
		}
	}
	return ch, 80, 24, ok, nil
}

func width(n uint32) uint32 { return sizeOr(n, 80, vt.MaxCols) }

func height(n uint32) uint32 { return sizeOr(n, 24, vt.MaxRows) }

// sizeOr is a terminal's size within bounds; 0, which a script's terminal has,
// is what a terminal usually has.
func sizeOr(n, usual uint32, most int) uint32 {
	if n == 0 {
		return usual
	}
	return min(n, uint32(most))
}

// Piece reads what a channel showed after the moment from; a negative one is
// the beginning. With screen it begins with a snapshot, which a reader who
// comes from the piece before does not need. It costs one segment, whatever
// the size of the recording. Text is neutralised as in every export.
func (r *Reader) Piece(ch uint32, from time.Duration, screen bool) (Piece, error) {
	p := Piece{Channel: ch, Cols: 80, Rows: 24, From: max(from, 0), To: max(from, 0)}
	events := r.After(from)
	terminal := false
	if from >= 0 {
		screens, after, err := r.Seek(from)
		if err != nil {
			return p, err
		}
		for _, s := range screens {
			if s.Channel != ch {
				continue
			}
			sz, _ := s.Payload.(Screen)
			p.Cols, p.Rows, terminal = width(sz.Cols), height(sz.Rows), true
			if screen {
				var f vt.Filter
				p.Init = string(f.Append(nil, s.Data))
			}
		}
		events = after
	}
	f := pieceFiller{p: &p, ch: ch, terminal: terminal}
	return p, f.fill(events)
}

// pieceFiller gathers events until the piece is full.
type pieceFiller struct {
	p        *Piece
	ch       uint32
	terminal bool
	filter   vt.Filter
	begun    bool // something of the channel is in the piece
	text     int
	read     int
}

func (f *pieceFiller) fill(events iter.Seq2[Event, error]) error {
	for ev, err := range events {
		var d *Damage
		switch {
		case errors.As(err, &d):
			f.add(max(d.From, f.p.To), "m", display.Line(d.Error(), 0))
			continue
		case err != nil:
			return err
		}
		// A piece never ends between events of one moment, since the next one
		// begins after it, nor within an escape sequence if that can be helped.
		if f.full() && ev.T > f.p.To && (!f.filter.Pending() || f.text > 2*pieceText) {
			f.p.More = true
			return nil
		}
		f.p.To = ev.T
		f.read += len(ev.Data) + 64
		f.event(ev)
	}
	return nil
}

func (f *pieceFiller) full() bool {
	return f.text >= pieceText || len(f.p.Events) >= pieceEvents || f.read >= pieceRead
}

func (f *pieceFiller) event(ev Event) {
	switch p := ev.Payload.(type) {
	case Marker:
		f.add(ev.T, "m", display.Line(p.Text, 0))
	case Notice:
		f.add(ev.T, "m", display.Line(p.Text, 0))
	case Termination:
		f.add(ev.T, "m", display.Line(p.Cause+": "+p.Reason, 0))
	case Resize:
		if ev.Channel != f.ch {
			return
		}
		cols, rows := width(p.Cols), height(p.Rows)
		if !f.terminal && !f.begun {
			f.p.Cols, f.p.Rows = cols, rows
		} else {
			f.add(ev.T, "r", fmt.Sprintf("%dx%d", cols, rows))
		}
		f.terminal = true
	case nil:
		if ev.Kind != KindOutput || ev.Channel != f.ch {
			return
		}
		f.begun = true
		if out := f.filter.Append(nil, ev.Data); len(out) > 0 {
			f.add(ev.T, "o", string(out))
		}
	}
}

func (f *pieceFiller) add(t time.Duration, code, text string) {
	if code == "o" && !f.terminal {
		text = lineFeeds.Replace(text)
	}
	if n := len(f.p.Events); n > 0 && code == "o" && f.p.Events[n-1].Code == "o" && t-f.p.Events[n-1].T < frame && len(f.p.Events[n-1].Text) < 4<<10 {
		f.p.Events[n-1].Text += text // nobody sees what lasts less than a frame
		f.text += len(text)
		return
	}
	f.p.Events = append(f.p.Events, PlayEvent{t, code, text})
	f.text += len(text)
}

// lineFeeds makes what was no terminal's output readable on one.
var lineFeeds = strings.NewReplacer("\r\n", "\r\n", "\n", "\r\n")

// frame is the shortest time for which a player shows anything.
const frame = 10 * time.Millisecond
