package recording

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"strings"
	"time"

	"jit-gateway/internal/display"
	"jit-gateway/recording/vt"
)

// ReplayOptions of Replay.
type ReplayOptions struct {
	ExportOptions
	Speed      float64       // 1 if zero
	Idle       time.Duration // longest pause shown; 0 shows all
	Start      time.Duration // where it begins
	Search     string        // or: at the first line that has this
	Plain      bool          // no status line, no keys: just the output
	Cols, Rows int           // of the terminal that it plays on; 80 by 24 if zero
}

// Replay plays r on a terminal, which is in raw mode if keys are read from in:
// space pauses, + and - change the speed, the arrows seek, [ and ] go to the
// marker before and after, / searches and n searches on, i toggles the
// skipping of idle time, 0 and G go to start and end, q quits. What the
// session printed is hostile: unless o.Raw, only what draws is passed on.
//
// A damaged recording is shown as far as it is intact, with a line where it is
// broken; the first such *Damage is returned at the end.
//
// If in is not nil a goroutine reads it and may be left in that Read when
// Replay returns; give it a reader that ends with the program.
func Replay(ctx context.Context, r *Reader, out io.Writer, in io.Reader, o ReplayOptions) error {
	ch, cols, rows, err := firstPrinting(r, o.ExportOptions)
	if err != nil {
		return err
	}
	o.Channel, o.One = ch, true
	if o.Speed <= 0 {
		o.Speed = 1
	}
	if o.Cols <= 0 || o.Rows <= 0 {
		o.Cols, o.Rows = 80, 24
	}
	p := &player{r: r, o: o, out: out, speed: o.Speed, idle: o.Idle, size: Resize{cols, rows}}
	if in != nil && !o.Plain {
		p.keys = make(chan byte, 64)
		go func() {
			buf := make([]byte, 64)
			for {
				n, err := in.Read(buf)
				for _, c := range buf[:n] {
					select {
					case p.keys <- c:
					case <-ctx.Done():
						return
					}
				}
				if err != nil {
					return
				}
			}
		}()
	}
	if o.Search != "" {
		t, ok := p.find(o.Search, -1)
		if !ok {
			return fmt.Errorf("no line has %q", display.Line(o.Search, 80))
		}
		o.Start = t
	}
	defer p.stop()
	err = p.seek(max(o.Start, 0))
	for err == nil {
		err = p.step(ctx)
	}
	if !o.Plain {
		io.WriteString(out, p.farewell()) //nolint:errcheck // the end
	}
	if errors.Is(err, io.EOF) {
		err = nil
		if p.broken != nil {
			err = p.broken
		}
	}
	return err
}

// farewell leaves the terminal as one that is used on: drawing modes as they
// are on a fresh one, and the cursor below what was shown, on a free line.
func (p *player) farewell() string {
	s := "\x1b[?1049l\x1b[?6l\x1b[?7h\x1b[4l\x1b[r\x1b(B\x0f\x1b[0m\x1b[?25h"
	if p.lined { // the status line is there
		return s + fmt.Sprintf("\x1b[%d;1H\x1b[2K", p.o.Rows)
	}
	return s + fmt.Sprintf("\x1b[%d;1H\r\n", p.o.Rows)
}

// player is a replay under way.
type player struct {
	r     *Reader
	o     ReplayOptions
	out   io.Writer
	keys  chan byte
	speed float64
	idle  time.Duration

	pos      time.Duration // what the screen shows
	paused   bool
	ended    bool
	terminal bool
	size     Resize
	term     *vt.Terminal
	filter   vt.Filter
	next     func() (Event, error, bool)
	stopIter func()
	held     *Event // the next one, read already
	query    string
	missing  string // what was searched for and is nowhere
	escape   []byte // of an arrow key
	typing   *strings.Builder
	lined    bool    // the last line holds our status
	broken   *Damage // the first that was met
}

func (p *player) stop() {
	if p.stopIter != nil {
		p.stopIter()
	}
}

// seek shows the screen at t and goes on from there.
func (p *player) seek(t time.Duration) error {
	t = min(max(t, 0), p.r.Duration())
	before := t
	if t == 0 {
		before = -1 // with the events of the first moment
	}
	screens, rest, err := p.r.Seek(before)
	if err != nil {
		return err
	}
	p.term, p.terminal = vt.New(int(min(p.size.Cols, vt.MaxCols)), int(min(p.size.Rows, vt.MaxRows))), false
	for _, s := range screens {
		if s.Channel == p.o.Channel {
			sz, _ := s.Payload.(Screen)
			p.size, p.terminal = Resize(sz), true
			p.term = vt.New(int(min(sz.Cols, vt.MaxCols)), int(min(sz.Rows, vt.MaxRows)))
			p.term.Write(s.Data)
		}
	}
	p.stop()
	p.next, p.stopIter = iter.Pull2(rest)
	p.pos, p.held, p.ended = t, nil, false
	return p.redraw()
}

// redraw shows the whole screen.
func (p *player) redraw() error {
	if p.o.Plain {
		if p.terminal && p.pos > 0 {
			return p.draw(p.term.Snapshot())
		}
		return nil
	}
	p.filter, p.lined = vt.Filter{}, false
	if err := p.draw(append([]byte(vt.Clean), p.term.Snapshot()...)); err != nil {
		return err
	}
	return p.status()
}

func (p *player) draw(b []byte) error {
	if !p.o.Raw {
		b = p.filter.Append(nil, b)
	}
	_, err := p.out.Write(b)
	return err
}

// status writes the last line where it covers nothing, or while nothing moves.
func (p *player) status() error {
	if p.o.Plain || p.keys == nil || !p.paused && !p.ended && p.typing == nil && p.o.Rows <= int(p.size.Rows) {
		return nil
	}
	text := fmt.Sprintf(" %s / %s  %gx", clock(p.pos), clock(p.r.Duration()), p.speed)
	switch {
	case p.typing != nil:
		text = "/" + display.Line(p.typing.String(), 60)
	case p.missing != "":
		text += "  no line has " + display.Line(p.missing, 40)
	case p.ended:
		text += "  end: q quits, 0 begins again"
	case p.paused:
		text += "  paused: space goes on, arrows seek, [ ] markers, / search, n next, q quits"
	}
	if p.idle > 0 && p.typing == nil {
		text += fmt.Sprintf("  pauses ≤ %s", p.idle)
	}
	p.lined = true
	_, err := fmt.Fprintf(p.out, "\x1b7\x1b[?6l\x1b[%d;1H\x1b[0;7m%s\x1b[K\x1b[0m\x1b8", p.o.Rows, display.Line(text, p.o.Cols-1))
	return err
}

// step waits for the next event or key and does it.
func (p *player) step(ctx context.Context) error {
	if p.held == nil && !p.ended {
		ev, err, ok := p.next()
		switch {
		case !ok:
			p.ended = true
			if p.keys == nil {
				return io.EOF
			}
			if err := p.status(); err != nil {
				return err
			}
		case err != nil:
			var d *Damage
			if !errors.As(err, &d) {
				return err
			}
			if p.broken == nil {
				p.broken = d
			}
			if err := p.draw([]byte("\r\n*** " + display.Line(d.Error(), 0) + "\r\n")); err != nil {
				return err
			}
			return nil
		case !p.shows(&ev):
			return nil
		default:
			p.held = &ev
		}
	}
	var due <-chan time.Time
	if p.held != nil && !p.paused && p.typing == nil {
		wait := max(p.held.T-p.pos, 0)
		if p.idle > 0 {
			wait = min(wait, p.idle)
		}
		wait = time.Duration(float64(wait) / p.speed)
		if wait < time.Millisecond && len(p.keys) == 0 && ctx.Err() == nil {
			return p.play()
		}
		timer := time.NewTimer(wait)
		defer timer.Stop()
		due = timer.C
	}
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-due:
		return p.play()
	case c := <-p.keys:
		return p.key(c)
	}
}

func (p *player) shows(ev *Event) bool {
	switch ev.Kind {
	case KindOutput, KindResize:
		return ev.Channel == p.o.Channel
	case KindInput:
		return p.o.Input && ev.Channel == p.o.Channel && !p.terminal
	}
	return ev.Payload != nil && !p.terminal
}

// play shows the held event.
func (p *player) play() error {
	ev := p.held
	p.held, p.pos = nil, max(p.pos, ev.T)
	switch pl := ev.Payload.(type) {
	case nil:
		b := ev.Data
		if !p.terminal {
			b = []byte(strings.ReplaceAll(strings.ReplaceAll(string(b), "\r\n", "\n"), "\n", "\r\n"))
		}
		p.term.Write(b)
		if err := p.draw(b); err != nil {
			return err
		}
	case Resize:
		p.size, p.terminal = pl, true
		p.term.Resize(int(min(pl.Cols, vt.MaxCols)), int(min(pl.Rows, vt.MaxRows)))
	default:
		l := liner{channels: map[uint32]*lineChannel{}}
		l.event(ev)
		for _, x := range l.out {
			text := fmt.Sprintf("%10s  %s: %s\r\n", clock(ev.T), x.Kind, display.Line(x.Text, 0))
			p.term.Write([]byte(text))
			if err := p.draw([]byte(text)); err != nil {
				return err
			}
		}
	}
	return p.status()
}

// find returns the moment of the first line after t that has the text.
func (p *player) find(text string, t time.Duration) (time.Duration, bool) {
	text = strings.ToLower(text)
	for l, err := range p.r.Lines() {
		if err == nil && l.T > t && strings.Contains(strings.ToLower(l.Text), text) {
			return l.T, true
		}
	}
	return 0, false
}
