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
)

// ExportOptions of the exports and of Replay.
type ExportOptions struct {
	Channel uint32 // with One: this channel only
	One     bool   // else: casts and replay take the first channel that prints, the others take all
	Raw     bool   // do not neutralise hostile escape sequences
	Input   bool   // include input
}

// An export writes all that is intact. Where a recording is damaged it says so
// in the output, and returns the first damage at the end.

// ExportJSON writes every event as one line of JSON: data as a string where it
// is UTF-8, else in base64.
func ExportJSON(r *Reader, w io.Writer, o ExportOptions) error {
	b := bufio.NewWriter(w)
	err := each(r, o, func(ev Event) error {
		return json.NewEncoder(b).Encode(EventJSON(ev))
	}, func(d *Damage) error {
		return json.NewEncoder(b).Encode(struct {
			Damage any `json:"damage"`
		}{DamageJSON(*d)})
	})
	return finish(b, err)
}

// EventJSON is how events are written for programs, one to a line: times and
// durations in seconds, data as text where it is UTF-8.
func EventJSON(ev Event) any {
	line := struct {
		T       float64 `json:"t"`
		Kind    Kind    `json:"kind"`
		Channel uint32  `json:"channel,omitempty"`
		Stream  byte    `json:"stream,omitempty"`
		Text    *string `json:"text,omitempty"`
		Data    []byte  `json:"data,omitempty"`
		Payload any     `json:"payload,omitempty"`
	}{T: ev.T.Seconds(), Kind: ev.Kind, Channel: ev.Channel, Stream: ev.Stream}
	if ev.Payload != nil {
		line.Payload = ev.Payload
	}
	if p, ok := ev.Payload.(SQL); ok {
		line.Payload = struct {
			SQL
			Duration float64 `json:"duration,omitempty"`
			Started  float64 `json:"started,omitempty"`
		}{p, p.Duration.Seconds(), p.Started.Seconds()}
	}
	if utf8.Valid(ev.Data) && ev.Data != nil {
		s := string(ev.Data)
		line.Text = &s
	} else {
		line.Data = ev.Data
	}
	return line
}

// DamageJSON is a Damage for programs, its moment in seconds.
func DamageJSON(d Damage) any {
	return struct {
		Damage
		From float64 `json:"from"`
	}{d, d.From.Seconds()}
}

// each visits the events that o selects, and damage; it returns the first
// damage if nothing worse happened.
func each(r *Reader, o ExportOptions, event func(Event) error, damage func(*Damage) error) error {
	var first error
	for ev, err := range r.Events() {
		if err != nil {
			var d *Damage
			if !errors.As(err, &d) {
				return err
			}
			if first == nil {
				first = d
			}
			if err := damage(d); err != nil {
				return err
			}
			continue
		}
		if o.One && ev.Channel != o.Channel || ev.Kind == KindInput && !o.Input {
			continue
		}
		if err := event(ev); err != nil {
			return err
		}
	}
	return first
}

func finish(b *bufio.Writer, err error) error {
	if ferr := b.Flush(); ferr != nil {
		return fmt.Errorf("write the export: %w", ferr)
	}
	return err
}

// ExportText writes what was shown, as plain text: rendered terminal lines,
// statements, commands, file operations, each with its moment.
func ExportText(r *Reader, w io.Writer, o ExportOptions) error {
	b := bufio.NewWriter(w)
	title(b, r, "")
	var first error
	for l, err := range r.Lines() {
		if err != nil {
			var d *Damage
			if !errors.As(err, &d) {
				return err
			}
			if first == nil {
				first = d
			}
			fmt.Fprintf(b, "*** %s\n", d)
			continue
		}
		if o.One && l.Channel != o.Channel {
			continue
		}
		text := display.Line(l.Text, maxLineText)
		if l.Kind != KindOutput {
			text = string(l.Kind) + ": " + text
		}
		fmt.Fprintf(b, "%10s  %s\n", clock(l.T), text)
	}
	if s, ok := r.Sealed(); ok {
		fmt.Fprintf(b, "%10s  ended: %s\n", clock(s.Duration), display.Line(s.Outcome, 0))
	}
	return finish(b, first)
}

// title says whose session it was.
func title(w io.Writer, r *Reader, prefix string) {
	h := r.Header()
	fmt.Fprintf(w, "%ssession %s: %s as %s on %s, from %s, began %s\n", prefix, word(h.Session), word(h.User), word(h.Login), word(h.Target), word(h.Source),
		h.Start.UTC().Format(time.DateTime+" UTC"))
}

func word(s string) string {
	if s == "" {
		return "-"
	}
	return display.Line(s, 200)
}

// ExportSQL writes the statements with their moments, values and outcomes as
// comments. It is for reading: a statement with a backslash, which psql could
// take for a command of its own, is commented out.
func ExportSQL(r *Reader, w io.Writer, o ExportOptions) error {
	b := bufio.NewWriter(w)
	title(b, r, "-- ")
	err := each(r, o, func(ev Event) error {
		switch p := ev.Payload.(type) {
		case SQL:
			writeSQL(b, ev, p)
		case Marker:
			fmt.Fprintf(b, "\n-- %s  marker: %s\n", clock(ev.T), word(p.Text))
		case Termination:
			fmt.Fprintf(b, "\n-- %s  terminated: %s: %s\n", clock(ev.T), word(p.Cause), word(p.Reason))
		}
		return nil
	}, func(d *Damage) error {
		_, err := fmt.Fprintf(b, "\n-- *** %s\n", display.Line(d.Error(), 0))
		return err
	})
	return finish(b, err)
}

func writeSQL(b *bufio.Writer, ev Event, p SQL) {
	fmt.Fprintf(b, "\n-- %s  %s", clock(ev.T), word(p.Op))
	if p.Name != "" {
		fmt.Fprintf(b, " %q", display.Line(p.Name, 80))
	}
	for _, s := range nonEmpty(p.Tag) {
		fmt.Fprintf(b, "  %s", word(s))
	}
	if p.Rows > 0 {
		fmt.Fprintf(b, "  %d rows", p.Rows)
	}
	if p.Bytes > 0 {
		fmt.Fprintf(b, "  %d bytes", p.Bytes)
	}
	if p.Duration > 0 {
		fmt.Fprintf(b, "  %s", p.Duration.Round(time.Microsecond))
	}
	if p.Error != "" || p.SQLSTATE != "" {
		fmt.Fprintf(b, "\n-- ERROR %s: %s", word(p.SQLSTATE), word(p.Error))
	}
	for i, v := range p.Params {
		fmt.Fprintf(b, "\n-- $%d = %s", i+1, v.String())
	}
	b.WriteByte('\n')
	if p.Full > int64(len(p.Statement)) {
		fmt.Fprintf(b, "-- cut: the statement has %d bytes\n", p.Full)
	}
	prefix := ""
	if strings.ContainsRune(p.Statement, '\\') || p.Full > int64(len(p.Statement)) {
		prefix = "-- "
	}
	for _, s := range strings.Split(strings.TrimRight(p.Statement, "; \r\n\t"), "\n") {
		s = strings.ReplaceAll(strings.TrimRight(s, "\r"), "\t", "    ")
		if s != "" {
			fmt.Fprintf(b, "%s%s\n", prefix, display.Line(s, maxString))
		}
	}
	if p.Statement != "" {
		fmt.Fprintf(b, "%s;\n", prefix)
	}
}

// String shows a bind value on one line.
func (p Param) String() string {
	switch {
	case p.Redacted:
		return "(redacted)"
	case p.Null:
		return "NULL"
	case p.Binary != nil:
		return fmt.Sprintf("\\x%x", p.Binary)
	}
	s := "'" + display.Line(strings.ReplaceAll(p.Text, "'", "''"), 2000) + "'"
	if p.Bytes > int64(len(p.Text)) {
		s += fmt.Sprintf(" … (%d bytes)", p.Bytes)
	}
	return s
}

// ExportFiles writes file operations and transfers, tab-separated: moment,
// operation, path, second path, bytes, SHA-256, result.
func ExportFiles(r *Reader, w io.Writer, o ExportOptions) error {
	b := bufio.NewWriter(w)
	fmt.Fprintln(b, "time\toperation\tpath\tto\tbytes\tsha256\tresult")
	err := each(r, o, func(ev Event) error {
		at := r.header.Start.Add(ev.T).UTC().Format("2006-01-02T15:04:05.000Z")
		switch p := ev.Payload.(type) {
		case SFTP:
			result := p.Result
			if p.Denied {
				result = "denied: " + result
			}
			fmt.Fprintf(b, "%s\t%s\t%s\t%s\t%d\t%s\t%s\n", at, cellOf("sftp "+p.Op), cellOf(p.Path), cellOf(p.To), p.Bytes, cellOf(p.SHA256), cellOf(result))
		case File:
			result := p.Result
			if p.Partial {
				result = strings.TrimSpace("in part " + result)
			}
			fmt.Fprintf(b, "%s\t%s\t%s\t\t%d\t%s\t%s\n", at, cellOf(p.Via+" "+p.Direction), cellOf(p.Path), p.Bytes, cellOf(p.SHA256), cellOf(result))
		}
		return nil
	}, func(d *Damage) error {
		_, err := fmt.Fprintf(b, "\t*** %s\t\t\t\t\t\n", display.Line(d.Error(), 0))
		return err
	})
	return finish(b, err)
}

func cellOf(s string) string { return display.Cell(s) }
