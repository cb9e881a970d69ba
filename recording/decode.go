package recording

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"time"
)

// decoder walks the events of one chunk.
type decoder struct {
	b []byte
	t time.Duration
}

var errEvent = errors.New("an event in the chunk is malformed")

// next decodes one event; Data points into the chunk. ok is false at the end.
func (d *decoder) next() (ev Event, ok bool, err error) {
	if len(d.b) == 0 {
		return Event{}, false, nil
	}
	end := bytes.IndexByte(d.b, '\n')
	if end < 0 {
		return Event{}, false, fmt.Errorf("%w: a line has no end", errEvent)
	}
	line := d.b[:end]
	d.b = d.b[end+1:]
	var l rawLine
	if !l.fast(line) {
		l = rawLine{N: -1}
		if err := json.Unmarshal(line, &l); err != nil {
			return Event{}, false, fmt.Errorf("%w: %v", errEvent, err)
		}
	}
	if l.D < 0 || l.D > int64(maxTime/time.Microsecond) || d.t > maxTime {
		return Event{}, false, fmt.Errorf("%w: its time is impossible", errEvent)
	}
	d.t += time.Duration(l.D) * time.Microsecond
	ev = Event{T: d.t, Kind: l.K, Channel: l.C, Stream: l.S}
	if ev.Kind == KindOutput && ev.Stream == 0 {
		ev.Stream = 1
	}
	if l.N >= 0 {
		if l.N >= len(d.b) || d.b[l.N] != '\n' {
			return Event{}, false, fmt.Errorf("%w: its data is cut short", errEvent)
		}
		ev.Data = d.b[:l.N:l.N]
		d.b = d.b[l.N+1:]
	}
	if len(l.P) > 0 {
		if ev.Payload, err = decodePayload(ev.Kind, l.P); err != nil {
			return Event{}, false, err
		}
	}
	return ev, true, nil
}

// rawLine is an event's line before its payload is decoded.
type rawLine struct {
	D int64           `json:"d"`
	K Kind            `json:"k"`
	C uint32          `json:"c"`
	S byte            `json:"s"`
	N int             `json:"n"`
	P json.RawMessage `json:"p"`
}

// fast reads the line as this package writes it, which is nearly always; the
// JSON decoder reads any other.
func (l *rawLine) fast(b []byte) bool {
	l.N = -1
	rest, ok := bytes.CutPrefix(b, []byte(`{"d":`))
	if !ok {
		return false
	}
	if l.D, rest, ok = number(rest); !ok {
		return false
	}
	if rest, ok = bytes.CutPrefix(rest, []byte(`,"k":"`)); !ok {
		return false
	}
	end := bytes.IndexByte(rest, '"')
	if end < 0 || bytes.IndexByte(rest[:end], '\\') >= 0 {
		return false
	}
	l.K, rest = internKind(rest[:end]), rest[end+1:]
	for len(rest) > 5 && rest[0] == ',' && rest[1] == '"' && rest[3] == '"' && rest[4] == ':' {
		key := rest[2]
		if key == 'p' {
			if rest[len(rest)-1] != '}' {
				return false
			}
			l.P = json.RawMessage(rest[5 : len(rest)-1])
			return true
		}
		var n int64
		if n, rest, ok = number(rest[5:]); !ok {
			return false
		}
		switch {
		case key == 'c' && n <= 1<<32-1:
			l.C = uint32(n)
		case key == 's' && n <= 255:
			l.S = byte(n)
		case key == 'n' && n <= maxRaw:
			l.N = int(n)
		default:
			return false
		}
	}
	return len(rest) == 1 && rest[0] == '}'
}

func number(b []byte) (int64, []byte, bool) {
	var n int64
	i := 0
	for ; i < len(b) && i < 18 && b[i] >= '0' && b[i] <= '9'; i++ {
		n = n*10 + int64(b[i]-'0')
	}
	return n, b[i:], i > 0
}

func internKind(b []byte) Kind {
	switch string(b) {
	case string(KindOutput):
		return KindOutput
	case string(KindInput):
		return KindInput
	case string(KindSQL):
		return KindSQL
	}
	return Kind(b)
}

func decodePayload(k Kind, raw []byte) (Payload, error) {
	switch k {
	case KindResize:
		return decodeAs[Resize](raw)
	case KindOpen:
		return decodeAs[Open](raw)
	case KindClose:
		return decodeAs[Close](raw)
	case KindShell:
		return decodeAs[Shell](raw)
	case KindExec:
		return decodeAs[Exec](raw)
	case KindEnv:
		return decodeAs[Env](raw)
	case KindSignal:
		return decodeAs[Signal](raw)
	case KindExit:
		return decodeAs[Exit](raw)
	case KindSFTP:
		return decodeAs[SFTP](raw)
	case KindFile:
		return decodeAs[File](raw)
	case KindForward:
		return decodeAs[Forward](raw)
	case KindSQL:
		return decodeAs[SQL](raw)
	case KindMarker:
		return decodeAs[Marker](raw)
	case KindNotice:
		return decodeAs[Notice](raw)
	case KindTermination:
		return decodeAs[Termination](raw)
	case KindViewer:
		return decodeAs[Viewer](raw)
	case KindBulk:
		return decodeAs[Bulk](raw)
	case KindScreen:
		return decodeAs[Screen](raw)
	}
	return Unknown{Name: k, JSON: json.RawMessage(bytes.Clone(raw))}, nil // written by a newer version
}

// Unknown is the payload of a kind that this version does not know.
type Unknown struct {
	Name Kind            `json:"-"`
	JSON json.RawMessage `json:"json"`
}

// Kind returns the name that the file has.
func (u Unknown) Kind() Kind { return u.Name }

func decodeAs[T Payload](raw []byte) (Payload, error) {
	var v T
	escaped := bytes.Contains(raw, []byte(`\u`)) || bytes.Contains(raw, []byte(string(mark)))
	if escaped {
		raw = markBytes(raw)
	}
	if err := json.Unmarshal(raw, &v); err != nil {
		return nil, fmt.Errorf("%w: %v", errEvent, err)
	}
	if escaped {
		unmark(reflect.ValueOf(&v).Elem())
	}
	return v, nil
}

// mark stands for "a byte that was not UTF-8 follows" while encoding/json has
// the string, since it would replace the lone surrogates that are in the
// file: mark, then the byte plus 0x100 as a character. A mark in the text
// itself becomes mark, 0x100.
const mark = '\uFDD0'

func markBytes(raw []byte) []byte {
	out := make([]byte, 0, len(raw)+16)
	for i := 0; i < len(raw); {
		switch {
		case raw[i] == '\\' && i+5 < len(raw) && raw[i+1] == 'u':
			v, err := strconv.ParseUint(string(raw[i+2:i+6]), 16, 16)
			switch {
			case err == nil && v >= 0xdc80 && v <= 0xdcff:
				out = append(out, string(mark)+string(rune(0x100+v-0xdc00))...)
			case err == nil && v == mark:
				out = append(out, string(mark)+string(rune(0x100))...)
			case err == nil && v >= 0xd800 && v <= 0xdbff && i+11 < len(raw): // a pair: both together
				out = append(out, raw[i:i+12]...)
				i += 6
			default:
				out = append(out, raw[i:i+6]...)
			}
			i += 6
		case raw[i] == '\\' && i+1 < len(raw):
			out = append(out, raw[i], raw[i+1])
			i += 2
		case bytes.HasPrefix(raw[i:], []byte(string(mark))):
			out = append(out, string(mark)+string(rune(0x100))...)
			i += len(string(mark))
		default:
			out = append(out, raw[i])
			i++
		}
	}
	return out
}

func unmark(v reflect.Value) {
	switch v.Kind() {
	case reflect.String:
		if s := v.String(); strings.ContainsRune(s, mark) {
			v.SetString(unmarkString(s))
		}
	case reflect.Struct:
		for i := range v.NumField() {
			unmark(v.Field(i))
		}
	case reflect.Slice:
		if v.Type().Elem().Kind() != reflect.Uint8 {
			for i := range v.Len() {
				unmark(v.Index(i))
			}
		}
	}
}

func unmarkString(s string) string {
	var b strings.Builder
	marked := false
	for _, r := range s {
		switch {
		case marked && r == 0x100:
			b.WriteRune(mark)
			marked = false
		case marked:
			b.WriteByte(byte(r))
			marked = false
		case r == mark:
			marked = true
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}
