package recording

import (
	"errors"
	"fmt"
	"hash"
	"sync"
	"sync/atomic"
	"time"

	"filippo.io/age"
)

// Options of one recording.
type Options struct {
	Strict     bool                    // methods return when their event is on the disk
	Interval   time.Duration           // how far the disk may be behind unless Strict; 200 ms if zero
	Stall      time.Duration           // a disk that does not finish a write for so long ends the session; 10 s if zero
	Recipients []string                // age1… or ssh-… public keys: encrypt to them
	Index      string                  // IndexOff, IndexMetadata or IndexFull; goes into the header
	OnSegment  func(SegmentInfo) error // after each closed segment is durable; an error ends the recording
	OnSealed   func(Seal) error        // after the footer is durable
	OnFailed   func(error)             // once, when the session must end; MUST NOT wait, nor call the Writer
	Now        func() time.Time
}

func (o *Options) defaults(d *Dir) {
	if o.Interval <= 0 {
		o.Interval = 200 * time.Millisecond
	}
	if o.Stall <= 0 {
		o.Stall = 10 * time.Second
	}
	if o.Now == nil {
		o.Now = d.o.Now
	}
}

const (
	// maxQueued is how much may wait for the worker before callers do (bytes).
	maxQueued = 1 << 20
	// A segment is closed when it is old, or large and not brand-new, or huge:
	// each costs an audit leaf, and seeking decodes one.
	segmentAge  = time.Minute
	segmentSize = 1 << 20
	segmentMax  = 4 << 20
	segmentMin  = time.Second
	// idleAfter is when a quiet session's memory is given back.
	idleAfter = 5 * time.Second
)

// ErrSealed: an event came after Seal.
var ErrSealed = errors.New("the recording is sealed")

// A Writer records one session. All methods may be called at once from many
// goroutines. After a failure each returns that failure, and nothing that is
// not recorded may be relayed.
//
// A call copies its event into the current buffer. A worker goroutine, which
// exists only while there is work, compresses, writes and shows it to live
// viewers; so the caller waits only if it is 1 MiB ahead, if the disk is
// further behind than Interval, or, in strict mode, for the disk.
type Writer struct {
	dir  *Dir
	h    Header
	o    Options
	seed uint32
	to   age.Recipient // nil unless encrypted

	main, tail file // the tail is made when something goes there: see openTail

	mu     sync.Mutex
	wake   sync.Cond // broadcast on every change of durable, queued, err, running, committing
	err    error
	sealed bool // no more events
	final  bool // Seal writes the rest itself: no worker begins any more
	broken bool // what is on the disk is in doubt: Seal must look at it afresh
	spent  bool // the reserve was given up for this recording: finish it

	cur                *chunk   // gathers events; nil when there are none
	full               []*chunk // wait for the worker
	queued             int      // bytes in full, and in the worker's hands
	last               time.Duration
	seq                uint64        // events handed over
	durable            uint64        // events on the disk
	dirty              time.Duration // time of the oldest event that no commit has begun for; -1: none
	syncFrom           time.Duration // the same for the commit that is under way
	syncTook           time.Duration // the longest sync of late
	running            bool          // a worker exists
	commit, committing bool          // a commit is due, is under way
	close              bool          // the segment is to be closed
	trim               bool          // the session is idle
	terminal           bool          // a channel has a terminal
	stalled            bool          // the disk does not answer
	segOpen            time.Duration // when the open segment began; -1: none is open

	commitTimer, ageTimer *time.Timer
	sealing               sync.Mutex
	done                  *Seal // once sealed
	doneErr               error

	pending []*Watch // to be admitted by the worker
	resyncs []*Watch // wait for a snapshot
	watches []*Watch
	awake   bool   // a terminal is held in memory; set by the worker
	doing   string // the last statement or command, see Doing
	jobs    sync.WaitGroup

	disk // owned by the worker, or by Seal once there is none
}

// disk is what the worker knows about the files.
type disk struct {
	end       int64        // of main
	synced    int64        // how far the sync under way goes
	safe      atomic.Int64 // how far the last finished one went
	root      [32]byte
	hash      hash.Hash // of the open segment; nil: none is open
	seg       segment
	segStart  time.Duration
	nextChunk uint32
	segChunks uint32
	key       *segmentKey
	segments  []segment

	tailChunk uint32 // the chunk whose pieces the tail holds
	tailPiece uint32
	tailEnd   int64

	mainDirty, tailDirty bool
	tailUnnamed          bool          // no sync of the directory has followed its creation
	leaves               []SegmentInfo // closed, to be reported once durable
	scratch              []byte
	screens              screens
}

// chunk is events on their way to becoming a chunk block.
type chunk struct {
	b      []byte // room for head and prelude, then the events
	base   time.Duration
	last   time.Duration
	events uint32

	tailed       int // bytes of b that are in the tail already
	tailedEvents uint32
	tailedLast   time.Duration
	shown        int // bytes of b that terminals and viewers have seen
	shownLast    time.Duration
}

func newWriter(d *Dir, h Header, o Options, nonce []byte, to age.Recipient) *Writer {
	w := &Writer{dir: d, h: h, o: o, seed: seedOf(nonce), to: to, dirty: -1, segOpen: -1}
	w.wake.L = &w.mu
	return w
}

// Header returns the header as it was written.
func (w *Writer) Header() Header { return w.h }

// Err returns why the recording has failed, as a sentence; nil while all is well.
func (w *Writer) Err() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.err
}

// Output records what a channel printed: stream 1 is stdout or the terminal, 2 stderr.
func (w *Writer) Output(ch uint32, stream byte, p []byte) error {
	return w.data(KindOutput, ch, stream, p)
}

// Input records what the client typed or piped.
func (w *Writer) Input(ch uint32, p []byte) error { return w.data(KindInput, ch, 0, p) }

func (w *Writer) data(k Kind, ch uint32, stream byte, p []byte) error {
	if len(p) == 0 {
		return nil
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for len(p) > 0 {
		part := p[:min(len(p), maxData)]
		p = p[len(part):]
		c, d, err := w.room(len(part) + 96)
		if err != nil {
			return err
		}
		c.b = appendData(c.b, d, k, ch, stream, part)
		w.added(c)
	}
	return w.settle()
}

// Resize records a terminal's size. A channel's first one, before its output,
// says that it has a terminal.
func (w *Writer) Resize(ch uint32, cols, rows uint32) error {
	return w.Event(Event{Channel: ch, Payload: Resize{cols, rows}})
}

// SQL records a statement; s may be reused afterwards.
func (w *Writer) SQL(ch uint32, s *SQL) error {
	return w.Event(Event{Channel: ch, Kind: KindSQL, Payload: s})
}

// Event records anything else. Kind may be left out if there is a Payload; T is set here.
func (w *Writer) Event(ev Event) error {
	if ev.Kind == "" && ev.Payload != nil {
		ev.Kind = ev.Payload.Kind()
	}
	if ev.Kind == KindOutput || ev.Kind == KindInput {
		return w.data(ev.Kind, ev.Channel, ev.Stream, ev.Data)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	c, d, err := w.room(512 + len(ev.Data))
	if err != nil {
		return err
	}
	if c.b, err = appendEvent(c.b, d, &ev); err != nil {
		// Nothing was appended, but the caller relays nothing unrecorded.
		return err
	}
	if ev.Kind == KindResize {
		w.terminal = true
	}
	w.noteDoing(&ev)
	w.added(c)
	return w.settle()
}

// Flush returns once everything handed over before is on the disk.
func (w *Writer) Flush() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.await(w.seq)
}

// await waits until the events up to seq are durable. Called with mu held.
func (w *Writer) await(seq uint64) error {
	for w.durable < seq && w.err == nil {
		w.commit = true
		w.kick()
		w.wake.Wait()
	}
	return w.err
}

// schedule asks for a commit so early that the disk is done within the
// interval: it gets four times what it took lately, a quarter of the interval
// at least and half of it at most. Commits cost the same whatever is in them.
func (w *Writer) schedule() {
	disk := min(max(4*w.syncTook, w.o.Interval/4), w.o.Interval/2)
	in := max(w.dirty+w.o.Interval-disk-w.now(), 0)
	if w.commitTimer != nil {
		w.commitTimer.Reset(in)
		return
	}
	w.commitTimer = time.AfterFunc(in, func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		if w.dirty >= 0 && !w.sealed && w.err == nil {
			w.commit = true
			w.kick()
		}
	})
}

// tick looks after age and idleness while a segment is open or a terminal is
// held in memory.
func (w *Writer) tick() {
	if w.ageTimer == nil {
		w.ageTimer = time.AfterFunc(idleAfter, w.ticked)
		return
	}
	w.ageTimer.Reset(idleAfter)
}

func (w *Writer) ticked() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.sealed || w.err != nil {
		return
	}
	now := w.now()
	if w.segOpen >= 0 && now-w.segOpen >= segmentAge {
		w.close = true
		w.commit = true // its leaf is due too, even if nothing more comes
		w.kick()
	}
	if now-w.last >= idleAfter && (w.awake || w.cur != nil && len(w.cur.b) > 4<<10) {
		w.trim = true
		w.kick()
	}
	if w.segOpen >= 0 || w.awake {
		w.tick()
	}
}

// kick makes sure that a worker looks at the state after this. Called with mu
// held. Who waits for a sync that is under way kicks at each broadcast: there
// is nothing to do for a worker then, and it would wake the waiter again.
func (w *Writer) kick() {
	if !w.running && !w.final && w.due() {
		w.running = true
		w.jobs.Add(1)
		go w.work()
	}
}

// fail ends the recording. Called with mu held.
func (w *Writer) fail(err error) {
	if w.err == nil {
		w.err = fmt.Errorf("the recording of session %s failed, so the session cannot go on: %w", w.h.Session, plain(err))
		if w.o.OnFailed != nil {
			w.o.OnFailed(w.err)
		}
		w.dismiss()
	}
	w.wake.Broadcast()
}
