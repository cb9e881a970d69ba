package recording

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode/utf8"

	"jit-gateway/internal/display"
	"jit-gateway/recording/vt"
)

// firstPrinting returns the channel that a replay shows: the first with a
// terminal, else the first that prints.
func firstPrinting(r *Reader, o ExportOptions) (ch, cols, rows uint32, err error) {
	found := false
	n := 0
	for ev, err := range r.Events() {
		if err != nil {
			if errors.Is(err, ErrLocked) {
				return 0, 0, 0, err
			}
			continue
		}
		if o.One && ev.Channel != o.Channel {
			continue
		}
		if p, ok := ev.Payload.(Resize); ok {
			return ev.Channel, p.Cols, p.Rows, nil
		}
		if ev.Kind == KindOutput && !found {
			ch, found = ev.Channel, true
		}
		if n++; n > 10000 {
			break
		}
	}
	return ch, 80, 24, nil
}

// CastVersion selects an asciicast format: 2 or 3.
type CastVersion int

// ExportCast writes one channel as an asciicast. Output that is not UTF-8
// becomes U+FFFD, as the format has no bytes.
func ExportCast(r *Reader, w io.Writer, v CastVersion, o ExportOptions) error {
	if v != 2 && v != 3 {
		return fmt.Errorf("asciicast version %d is not known; 2 and 3 are", v)
	}
	ch, cols, rows, err := firstPrinting(r, o)
	if err != nil {
		return err
	}
	o.Channel, o.One = ch, true
	b := bufio.NewWriter(w)
	c := cast{b: b, v: v, raw: o.Raw, terminal: false}
	c.header(r, cols, rows)
	sized := Resize{cols, rows}
	err = each(r, o, func(ev Event) error {
		switch p := ev.Payload.(type) {
		case Resize:
			c.terminal = true
			if p != sized {
				sized = p
				return c.event(ev.T, "r", fmt.Sprintf("%dx%d", p.Cols, p.Rows))
			}
		case Marker:
			return c.event(ev.T, "m", display.Line(p.Text, 0))
		case Notice:
			return c.event(ev.T, "m", display.Line(p.Text, 0))
		case Termination:
			return c.event(ev.T, "m", display.Line(p.Cause+": "+p.Reason, 0))
		case Exit:
			if v == 3 {
				return c.event(ev.T, "x", fmt.Sprint(p.Status))
			}
		case nil:
			return c.data(ev)
		}
		return nil
	}, func(d *Damage) error {
		return c.event(max(d.From, c.last), "m", display.Line(d.Error(), 0))
	})
	return finish(b, err)
}

type cast struct {
	b        *bufio.Writer
	v        CastVersion
	raw      bool
	terminal bool
	last     time.Duration
	filter   [2]vt.Filter // output, input
	rest     [2][]byte    // of raw bytes: the beginning of a character
	buf      []byte
}

func (c *cast) header(r *Reader, cols, rows uint32) {
	h := r.Header()
	cols, rows = width(cols), height(rows)
	name := fmt.Sprintf("%s: %s as %s on %s", word(h.Session), word(h.User), word(h.Login), word(h.Target))
	if c.v == 2 {
		json.NewEncoder(c.b).Encode(map[string]any{ //nolint:errcheck // Flush reports it
			"version": 2, "width": cols, "height": rows, "timestamp": h.Start.Unix(), "title": name})
		return
	}
	json.NewEncoder(c.b).Encode(map[string]any{ //nolint:errcheck // Flush reports it
		"version": 3, "term": map[string]any{"cols": cols, "rows": rows}, "timestamp": h.Start.Unix(), "title": name})
}

func (c *cast) event(t time.Duration, code, data string) error {
	at := t
	if c.v == 3 { // intervals
		at = max(t-c.last, 0)
	}
	c.last = max(c.last, t)
	text, err := json.Marshal(data)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(c.b, "[%.6f, %q, %s]\n", at.Seconds(), code, text)
	return err
}

func (c *cast) data(ev Event) error {
	code, i := "o", 0
	if ev.Kind == KindInput {
		code, i = "i", 1
	} else if ev.Kind != KindOutput {
		return nil
	}
	if c.raw {
		c.rest[i] = append(c.rest[i], ev.Data...)
		n := whole(c.rest[i])
		c.buf = append(c.buf[:0], strings.ToValidUTF8(string(c.rest[i][:n]), "\ufffd")...)
		c.rest[i] = append(c.rest[i][:0], c.rest[i][n:]...)
	} else {
		c.buf = c.filter[i].Append(c.buf[:0], ev.Data)
	}
	if len(c.buf) == 0 {
		return nil
	}
	if !c.terminal && i == 0 {
		return c.event(ev.T, code, strings.ReplaceAll(strings.ReplaceAll(string(c.buf), "\r\n", "\n"), "\n", "\r\n"))
	}
	return c.event(ev.T, code, string(c.buf))
}

// whole returns the length of p without a character that has no end yet.
func whole(p []byte) int {
	for i := len(p) - 1; i >= 0 && i >= len(p)-utf8.UTFMax; i-- {
		if utf8.RuneStart(p[i]) {
			if !utf8.FullRune(p[i:]) {
				return i
			}
			break
		}
	}
	return len(p)
}
