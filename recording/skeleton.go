package recording

import (
	"context"
	"io"
	"iter"
	"time"

	"filippo.io/age"
)

// DirOptions for OpenDir.
type DirOptions struct {
	Reserve   int64                               // bytes kept free for the end of live recordings; 16 MiB if zero, none if negative
	OnSegment func(h Header, s SegmentInfo) error // for recordings whose Options have none, and for Recover
	OnSealed  func(h Header, s Seal) error        // likewise
	Now       func() time.Time
}

// Options of one recording.
type Options struct {
	Strict     bool
	Interval   time.Duration // how far the disk may be behind unless Strict; 200 ms if zero
	Recipients []string      // age1… or ssh-ed25519/ssh-rsa public keys: encrypt to them
	Index      string        // off, metadata, full
	Stall      time.Duration // a disk that answers no write for so long ends the session; 10 s if zero
	OnSegment  func(SegmentInfo) error
	OnSealed   func(Seal) error
	Now        func() time.Time
}

type Dir struct{}

func OpenDir(path string, o DirOptions) (*Dir, error)                    { panic("not yet") }
func (d *Dir) Create(h Header, o Options) (*Writer, error)               { panic("not yet") }
func (d *Dir) Open(session string) (*Reader, error)                      { panic("not yet") }
func (d *Dir) Live(session string) (*Writer, bool)                       { panic("not yet") }
func (d *Dir) List() ([]Info, error)                                     { panic("not yet") }
func (d *Dir) Remove(session string) error                               { panic("not yet") }
func (d *Dir) Recover(ctx context.Context, session string) (Seal, error) { panic("not yet") }

// Info is one recording of a directory.
type Info struct {
	Session string
	Size    int64
	Header  Header
	Seal    Seal // zero unless Sealed
	Sealed  bool
	Live    bool
	Err     error // the header could not be read
}

type Writer struct{}

func (w *Writer) Header() Header                                { panic("not yet") }
func (w *Writer) Output(ch uint32, stream byte, p []byte) error { panic("not yet") }
func (w *Writer) Input(ch uint32, p []byte) error               { panic("not yet") }
func (w *Writer) Resize(ch uint32, cols, rows uint32) error     { panic("not yet") }
func (w *Writer) Event(ev Event) error                          { panic("not yet") }
func (w *Writer) SQL(ch uint32, s *SQL) error                   { panic("not yet") }
func (w *Writer) Failed() <-chan struct{}                       { panic("not yet") }
func (w *Writer) Err() error                                    { panic("not yet") }
func (w *Writer) Flush() error                                  { panic("not yet") } // returns once everything handed over is durable
func (w *Writer) Watch(viewer string) (*Watch, error)           { panic("not yet") }
func (w *Writer) Seal(outcome string) (Seal, error)             { panic("not yet") }

// Watch is a live view. Snapshot holds one KindScreen event per terminal; an
// Events receiver that falls behind finds a new KindScreen event per terminal
// instead of what it missed. Events is closed when the session ends or at Close.
type Watch struct {
	Snapshot []Event
}

func (w *Watch) Events() <-chan Event { panic("not yet") }
func (w *Watch) Close()               { panic("not yet") }

type Reader struct{}

func OpenFile(path string) (*Reader, error)                { panic("not yet") }
func NewReader(r io.ReaderAt, size int64) (*Reader, error) { panic("not yet") }
func (r *Reader) Close() error                             { panic("not yet") }
func (r *Reader) Header() Header                           { panic("not yet") }
func (r *Reader) Sealed() (Seal, bool)                     { panic("not yet") }
func (r *Reader) Duration() time.Duration                  { panic("not yet") }
func (r *Reader) Segments() []SegmentInfo                  { panic("not yet") }
func (r *Reader) Unlock(ids ...age.Identity) error         { panic("not yet") }

// Events yields every event in order; a *Damage error says what is missing
// there, and the iteration goes on with what is intact.
func (r *Reader) Events() iter.Seq2[Event, error] { panic("not yet") }

// Seek returns the screens as they were at t, and the events after it.
func (r *Reader) Seek(t time.Duration) ([]Event, iter.Seq2[Event, error], error) { panic("not yet") }

// Lines yields what search may find: rendered terminal lines, SQL, command lines, paths.
func (r *Reader) Lines() iter.Seq2[Line, error] { panic("not yet") }
func (r *Reader) Verify() Report                { panic("not yet") }

// Line is one searchable line and its moment.
type Line struct {
	T       time.Duration
	Channel uint32
	Kind    Kind // KindOutput for a terminal line, else the event's
	Text    string
}

// Report of a verification, in words.
type Report struct {
	OK       bool
	Sealed   bool
	Checked  string // "everything", or "hashes only: …" without an identity
	Segments []SegmentInfo
	Events   int64
	Seal     Seal
	Problems []Damage
}

func (r Report) String() string { panic("not yet") }

// Damage says where a recording is broken.
type Damage struct {
	Offset  int64
	Segment int
	From    time.Duration
	What    string
}

func (d *Damage) Error() string { panic("not yet") }

// CastVersion selects an asciicast format.
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

// ReplayOptions of Replay.
type ReplayOptions struct {
	ExportOptions
	Speed      float64       // 1 if zero
	Idle       time.Duration // longest pause shown; 0 shows all
	Start      time.Duration
	Plain      bool // no status line, no keys: just the output
	Cols, Rows int
}

// Replay plays r on a terminal; keys (may be nil) are read from in.
func Replay(ctx context.Context, r *Reader, out io.Writer, in io.Reader, o ReplayOptions) error {
	panic("not yet")
}
