package recording

import (
	"slices"
	"time"

	"jit-gateway/recording/vt"
)

const (
	// maxScreens bounds the terminals of one session that are followed at once.
	maxScreens = 16
	// maxScreen is what the redrawing of one may take (bytes), before it does
	// without colours: the screens of all of them have to fit into one block,
	// and a viewer gets each at once.
	maxScreen = 640 << 10
)

// screens follows the terminals of a session, by channel. One that is quiet
// is kept as the escape sequences that redraw it: a few hundred bytes instead
// of a grid of cells.
type screens struct {
	list []*screen
}

type screen struct {
	channel    uint32
	cols, rows uint32
	term       *vt.Terminal
	frozen     []byte
}

// see follows one event.
func (s *screens) see(ev *Event) {
	switch ev.Kind {
	case KindOutput:
		if c := s.find(ev.Channel); c != nil {
			c.thaw().Write(ev.Data)
		}
	case KindResize:
		p, _ := ev.Payload.(Resize)
		c := s.find(ev.Channel)
		if c == nil {
			if len(s.list) >= maxScreens {
				s.list = s.list[1:]
			}
			c = &screen{channel: ev.Channel}
			s.list = append(s.list, c)
		}
		c.resize(p.Cols, p.Rows)
	case KindScreen:
		p, _ := ev.Payload.(Screen)
		s.drop(ev.Channel)
		s.list = append(s.list, &screen{channel: ev.Channel, cols: p.Cols, rows: p.Rows, frozen: ev.Data})
	case KindClose:
		s.drop(ev.Channel)
	}
}

func (s *screens) find(ch uint32) *screen {
	for _, c := range s.list {
		if c.channel == ch {
			return c
		}
	}
	return nil
}

func (s *screens) drop(ch uint32) {
	s.list = slices.DeleteFunc(s.list, func(c *screen) bool { return c.channel == ch })
}

func (c *screen) resize(cols, rows uint32) {
	if c.term == nil && c.frozen == nil {
		c.cols, c.rows = cols, rows
		c.term = vt.New(int(min(cols, vt.MaxCols)), int(min(rows, vt.MaxRows)))
		return
	}
	t := c.thaw()
	c.cols, c.rows = cols, rows
	t.Resize(int(min(cols, vt.MaxCols)), int(min(rows, vt.MaxRows)))
}

func (c *screen) thaw() *vt.Terminal {
	if c.term == nil {
		c.term = vt.New(int(min(c.cols, vt.MaxCols)), int(min(c.rows, vt.MaxRows)))
		c.term.Write(c.frozen)
		c.frozen = nil
	}
	return c.term
}

// draw returns what redraws the screen, within maxScreen.
func (c *screen) draw() []byte {
	if c.term != nil {
		return c.term.SnapshotWithin(maxScreen)
	}
	if len(c.frozen) <= maxScreen {
		return slices.Clone(c.frozen)
	}
	asleep := screen{cols: c.cols, rows: c.rows, frozen: c.frozen}
	return asleep.thaw().SnapshotWithin(maxScreen)
}

func (s *screens) freeze() {
	for _, c := range s.list {
		if c.term != nil {
			c.frozen, c.term = c.term.Snapshot(), nil
		}
	}
}

func (s *screens) awake() bool {
	return slices.ContainsFunc(s.list, func(c *screen) bool { return c.term != nil })
}

func (s *screens) count() uint32 { return uint32(len(s.list)) }

// events returns one KindScreen event per terminal.
func (s *screens) events(t time.Duration) []Event {
	var out []Event
	for _, c := range s.list {
		out = append(out, Event{T: t, Kind: KindScreen, Channel: c.channel, Data: c.draw(), Payload: Screen{c.cols, c.rows}})
	}
	return out
}

// encode returns the events as a data block's body, with room in front.
func (s *screens) encode(t time.Duration) []byte {
	if len(s.list) == 0 {
		return nil
	}
	b := make([]byte, dataRoom, 4<<10)
	for _, ev := range s.events(t) {
		b, _ = appendEvent(b, 0, &ev) // a screen is smaller than maxLine: see maxScreen
	}
	return b
}
