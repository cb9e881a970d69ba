package recording

import (
	"encoding/base64"
	"fmt"
	"strconv"
	"time"
	"unicode/utf8"
)

// An event is one line of JSON,
//
//	{"d":1250,"k":"o","c":1,"s":2,"n":6,"p":{…}}
//
// where d is microseconds since the event before it (the first counts from its
// chunk's base), k the kind, c the channel, s the stream, p the payload. If n
// is there, n raw bytes and a line feed follow the line. Output is the hot
// path: a short line and one copy of the bytes, without escaping.
//
// Strings may hold any bytes: one that is not part of valid UTF-8 is written
// as the lone surrogate \udc80 to \udcff, as Python's surrogateescape does.

const (
	maxData   = 64 << 10 // of one output or input event; longer ones are split
	maxString = 1 << 20  // of one string in a payload
	maxLine   = 4 << 20  // of one event
)

// appendHead appends the line's beginning; the caller closes it.
func appendHead(b []byte, d time.Duration, k Kind, ch uint32, stream byte) []byte {
	b = append(b, `{"d":`...)
	b = strconv.AppendInt(b, int64(d/time.Microsecond), 10)
	b = append(b, `,"k":"`...)
	b = append(b, k...)
	b = append(b, '"')
	if ch != 0 {
		b = append(b, `,"c":`...)
		b = strconv.AppendUint(b, uint64(ch), 10)
	}
	if stream != 0 && (k != KindOutput || stream != 1) {
		b = append(b, `,"s":`...)
		b = strconv.AppendUint(b, uint64(stream), 10)
	}
	return b
}

// appendData appends a whole event without payload.
func appendData(b []byte, d time.Duration, k Kind, ch uint32, stream byte, p []byte) []byte {
	b = appendHead(b, d, k, ch, stream)
	b = append(b, `,"n":`...)
	b = strconv.AppendInt(b, int64(len(p)), 10)
	b = append(b, "}\n"...)
	b = append(b, p...)
	return append(b, '\n')
}

// appendEvent appends any event.
func appendEvent(b []byte, d time.Duration, ev *Event) ([]byte, error) {
	start := len(b)
	b = appendHead(b, d, ev.Kind, ev.Channel, ev.Stream)
	if ev.Data != nil {
		b = append(b, `,"n":`...)
		b = strconv.AppendInt(b, int64(len(ev.Data)), 10)
	}
	if ev.Payload != nil {
		b = append(b, `,"p":`...)
		o := object{b: append(b, '{')}
		if err := o.payload(ev.Payload); err != nil {
			return b[:start], err
		}
		b = append(o.b, '}')
	}
	b = append(b, "}\n"...)
	if ev.Data != nil {
		b = append(b, ev.Data...)
		b = append(b, '\n')
	}
	if len(b)-start > maxLine {
		return b[:start], fmt.Errorf("a recorded event of kind %q has %d bytes; at most %d are possible", ev.Kind, len(b)-start, maxLine)
	}
	return b, nil
}

// object appends the members of a JSON object, leaving out zero values.
type object struct {
	b    []byte
	some bool
}

func (o *object) key(k string) {
	if o.some {
		o.b = append(o.b, ',')
	}
	o.some = true
	o.b = append(o.b, '"')
	o.b = append(o.b, k...)
	o.b = append(o.b, '"', ':')
}

func (o *object) str(k, s string) {
	if s != "" {
		o.key(k)
		o.b = appendString(o.b, s)
	}
}

func (o *object) num(k string, n int64) {
	if n != 0 {
		o.key(k)
		o.b = strconv.AppendInt(o.b, n, 10)
	}
}

func (o *object) yes(k string, v bool) {
	if v {
		o.key(k)
		o.b = append(o.b, "true"...)
	}
}

func (o *object) bytes(k string, p []byte) {
	if len(p) > 0 {
		o.key(k)
		o.b = append(o.b, '"')
		o.b = base64.StdEncoding.AppendEncode(o.b, p)
		o.b = append(o.b, '"')
	}
}

// clip cuts s to at most max bytes, on a character where it can.
func clip(s string, max int) string {
	if len(s) <= max {
		return s
	}
	for i := max; i > max-utf8.UTFMax && i > 0; i-- {
		if utf8.RuneStart(s[i]) {
			return s[:i]
		}
	}
	return s[:max]
}

const hexDigits = "0123456789abcdef"

// appendString appends s as a JSON string of at most maxString bytes.
func appendString(b []byte, s string) []byte {
	s = clip(s, maxString)
	b = append(b, '"')
	start := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c < utf8.RuneSelf {
			if c >= ' ' && c != '"' && c != '\\' && c != 0x7f {
				i++
				continue
			}
			b = append(b, s[start:i]...)
			switch c {
			case '"', '\\':
				b = append(b, '\\', c)
			case '\n':
				b = append(b, '\\', 'n')
			case '\r':
				b = append(b, '\\', 'r')
			case '\t':
				b = append(b, '\\', 't')
			default:
				b = append(b, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
			}
			i++
			start = i
			continue
		}
		r, n := utf8.DecodeRuneInString(s[i:])
		if r == utf8.RuneError && n == 1 {
			b = append(b, s[start:i]...)
			b = append(b, '\\', 'u', 'd', 'c', hexDigits[c>>4], hexDigits[c&15])
			start = i + 1
		}
		i += n
	}
	b = append(b, s[start:]...)
	return append(b, '"')
}
