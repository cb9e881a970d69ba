package recording

import (
	"context"
	"io"
	"iter"
	"time"

	"filippo.io/age"
)

// Lines yields what search may find: rendered terminal lines, SQL, command lines, paths.
func (r *Reader) Lines() iter.Seq2[Line, error] { panic("not yet") }

// Line is one searchable line and its moment.
type Line struct {
	T       time.Duration
	Channel uint32
	Kind    Kind // KindOutput for a terminal line, else the event's
	Text    string
}

// CastVersion selects an asciicast format: 2 or 3.
type CastVersion int

// ExportOptions of the exports and of Replay.
type ExportOptions struct {
	Channel uint32 // with One: this channel only
	One     bool
	Raw     bool // do not neutralise hostile escape sequences
	Input   bool // include input
}

func ExportCast(r *Reader, w io.Writer, v CastVersion, o ExportOptions) error { panic("not yet") }
func ExportText(r *Reader, w io.Writer, o ExportOptions) error                { panic("not yet") }
func ExportSQL(r *Reader, w io.Writer, o ExportOptions) error                 { panic("not yet") }
func ExportFiles(r *Reader, w io.Writer, o ExportOptions) error               { panic("not yet") }
func ExportJSON(r *Reader, w io.Writer, o ExportOptions) error                { panic("not yet") }

// AddRecipients lets more people read an encrypted recording; it takes an
// identity of someone who can.
func AddRecipients(path string, ids []age.Identity, recipients []string) error { panic("not yet") }

// ParseIdentities reads an age identity file or an unencrypted ssh private key.
func ParseIdentities(pem []byte) ([]age.Identity, error) { panic("not yet") }

// ReplayOptions of Replay.
type ReplayOptions struct {
	ExportOptions
	Speed      float64       // 1 if zero
	Idle       time.Duration // longest pause shown; 0 shows all
	Start      time.Duration
	Plain      bool // no status line, no keys: just the output
	Cols, Rows int  // of the terminal that it plays on
}

// Replay plays r on a terminal; keys (may be nil) are read from in.
func Replay(ctx context.Context, r *Reader, out io.Writer, in io.Reader, o ReplayOptions) error {
	panic("not yet")
}
