package recording

import (
	"bytes"
	"iter"
	"strings"
	"time"

	"jit-gateway/recording/vt"
)

// Line is one searchable line and its moment.
type Line struct {
	T       time.Duration `json:"t"`
	Channel uint32        `json:"channel"`
	Kind    Kind          `json:"kind"` // KindOutput for a terminal line, else the event's
	Text    string        `json:"text"`
}

// maxLineText bounds one line of the index.
const maxLineText = 8 << 10

// Lines yields what search may find: terminal lines as they were rendered,
// SQL, command lines, paths. Each line comes once it is complete, with the
// moment at which it began to be printed. Text is still hostile: whoever shows
// it passes it through display. Damage is yielded as by Events.
func (r *Reader) Lines() iter.Seq2[Line, error] {
	return func(yield func(Line, error) bool) {
		l := liner{r: r, channels: map[uint32]*lineChannel{}}
		for ev, err := range r.Events() {
			if err != nil {
				if !yield(Line{}, err) {
					return
				}
				continue
			}
			l.event(&ev)
			if !l.drain(yield) {
				return
			}
		}
		for _, c := range l.channels {
			l.end(c)
		}
		l.drain(yield)
	}
}

type liner struct {
	r        *Reader
	channels map[uint32]*lineChannel
	out      []Line
}

// lineChannel follows one channel: through a terminal if it has one, else by
// line feeds.
type lineChannel struct {
	id   uint32
	term *vt.Terminal
	part [3][]byte // by stream: a line that has no end yet
	from [3]time.Duration
}

func (l *liner) drain(yield func(Line, error) bool) bool {
	for _, line := range l.out {
		if !yield(line, nil) {
			return false
		}
	}
	l.out = l.out[:0]
	return true
}

func (l *liner) add(t time.Duration, ch uint32, k Kind, text string) {
	if text = strings.TrimSpace(clip(text, maxLineText)); text != "" {
		l.out = append(l.out, Line{t, ch, k, text})
	}
}

func (l *liner) channel(id uint32) *lineChannel {
	c := l.channels[id]
	if c == nil {
		c = &lineChannel{id: id}
		if len(l.channels) < 4096 {
			l.channels[id] = c
		}
	}
	return c
}

func (l *liner) event(ev *Event) {
	switch p := ev.Payload.(type) {
	case nil:
		if ev.Kind == KindOutput {
			l.output(l.channel(ev.Channel), ev)
		}
	case Resize:
		c := l.channel(ev.Channel)
		if c.term == nil {
			c.term = vt.New(int(min(p.Cols, vt.MaxCols)), int(min(p.Rows, vt.MaxRows)))
			c.term.OnLine = func(s string, since int64) { l.add(time.Duration(since), ev.Channel, KindOutput, s) }
		} else {
			c.term.Resize(int(min(p.Cols, vt.MaxCols)), int(min(p.Rows, vt.MaxRows)))
		}
	case Close:
		if c := l.channels[ev.Channel]; c != nil {
			l.end(c)
			delete(l.channels, ev.Channel)
		}
	case SQL:
		l.add(ev.T, ev.Channel, KindSQL, p.Statement)
		if p.Error != "" {
			l.add(ev.T, ev.Channel, KindSQL, p.Error)
		}
	case Exec:
		l.add(ev.T, ev.Channel, KindExec, p.Command)
	case SFTP:
		l.add(ev.T, ev.Channel, KindSFTP, strings.Join(nonEmpty(p.Op, p.Path, p.To), " "))
	case File:
		l.add(ev.T, ev.Channel, KindFile, strings.Join(nonEmpty(p.Direction, p.Path), " "))
	case Forward:
		if !p.Ended {
			l.add(ev.T, ev.Channel, KindForward, p.Type+" "+p.Dest)
		}
	case Marker:
		l.add(ev.T, ev.Channel, KindMarker, p.Text)
	case Notice:
		l.add(ev.T, ev.Channel, KindNotice, p.Text)
	case Termination:
		l.add(ev.T, ev.Channel, KindTermination, p.Cause+": "+p.Reason)
	}
}

func nonEmpty(list ...string) []string {
	var out []string
	for _, s := range list {
		if s != "" {
			out = append(out, s)
		}
	}
	return out
}

func (l *liner) output(c *lineChannel, ev *Event) {
	if c.term != nil {
		c.term.Moment = int64(ev.T)
		c.term.Write(ev.Data)
		return
	}
	s := ev.Stream % 3
	data := ev.Data
	for len(data) > 0 {
		if len(c.part[s]) == 0 {
			c.from[s] = ev.T
		}
		i := bytes.IndexByte(data, '\n')
		if i < 0 {
			c.part[s] = append(c.part[s], data[:min(len(data), maxLineText)]...)
			if len(c.part[s]) < maxLineText {
				return
			}
			i = len(data) - 1
		} else {
			c.part[s] = append(c.part[s], data[:min(i, maxLineText)]...)
		}
		l.add(c.from[s], c.id, KindOutput, strings.ToValidUTF8(string(c.part[s]), "\ufffd"))
		c.part[s] = c.part[s][:0]
		data = data[i+1:]
	}
}

// end yields what is left of a channel.
func (l *liner) end(c *lineChannel) {
	if c.term != nil {
		c.term.Flush()
	}
	for s, part := range c.part {
		l.add(c.from[s], c.id, KindOutput, strings.ToValidUTF8(string(part), "\ufffd"))
		c.part[s] = nil
	}
}
