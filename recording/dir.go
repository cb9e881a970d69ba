package recording

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"filippo.io/age"

	"jit-gateway/internal/display"
)

const (
	suffix      = ".jitrec" // the recording
	tailSuffix  = ".tail"   // what is not in it yet; only of a session that has needed it and lives, or after a crash
	reserveName = ".reserve"
)

// DirOptions for OpenDir.
type DirOptions struct {
	// Reserve is what is held back on the disk (a file of that size) and given
	// up when the disk is full, so that live recordings can be finished. Zero
	// means 16 MiB, a negative value none.
	Reserve   int64
	OnSegment func(h Header, s SegmentInfo) error // for recordings whose Options have none, and for Recover
	OnSealed  func(h Header, s Seal) error        // likewise
	Now       func() time.Time

	fs filesystem // tests only
}

// A Dir is a directory of recordings, one file per session.
type Dir struct {
	fs      filesystem
	o       DirOptions
	archive Archive // nil: there is none

	mu   sync.Mutex
	live map[string]*Writer

	reserve  sync.Mutex // held while the reserve is written, which may take long
	reserved bool       // it has its full size
}

// OpenDir opens the directory, which it makes with mode 0700 if there is none.
func OpenDir(path string, o DirOptions) (*Dir, error) {
	if o.fs == nil {
		if err := os.MkdirAll(path, 0o700); err != nil {
			return nil, fmt.Errorf("make the directory of recordings: %w", err)
		}
		o.fs = osDir{path}
	}
	if o.Reserve == 0 {
		o.Reserve = 16 << 20
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	d := &Dir{fs: o.fs, o: o, live: map[string]*Writer{}}
	if _, err := d.fs.List(); err != nil {
		return nil, fmt.Errorf("open the directory of recordings: %w", err)
	}
	// A disk that is full now is Create's to report: what is there stays readable.
	d.keepReserve() //nolint:errcheck // repeated by Create
	return d, nil
}

// checkName keeps names from leaving the directory.
func checkName(session string) error {
	ok := len(session) > 0 && len(session) <= 64
	for _, c := range []byte(session) {
		ok = ok && (c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '_')
	}
	if !ok {
		return fmt.Errorf("%q is not the name of a session", clip(session, 80))
	}
	return nil
}

// Create begins a recording. When it returns, header and file name are on the
// disk, whatever the mode.
func (d *Dir) Create(h Header, o Options) (*Writer, error) {
	if err := checkName(h.Session); err != nil {
		return nil, err
	}
	o.defaults(d)
	if err := within(o.Stall, d.keepReserve, nil); err != nil {
		return nil, fmt.Errorf("no recording can begin: %w", err)
	}
	if h.Start.IsZero() {
		h.Start = o.Now()
	}
	h.Version, h.Strict, h.Index = Version, o.Strict, o.Index
	nonce := make([]byte, 16)
	rand.Read(nonce) // never fails since Go 1.24
	h.Nonce = hex.EncodeToString(nonce)
	h.Encryption = nil
	var wraps []byte
	var to age.Recipient
	if len(o.Recipients) > 0 {
		var err error
		if h.Encryption, wraps, err = newKey(o.Recipients); err != nil {
			return nil, err
		}
		if to, err = ParseRecipient(h.Encryption.Key); err != nil {
			return nil, err
		}
	}
	w := newWriter(d, h, o, nonce, to)
	d.mu.Lock()
	if d.live[h.Session] != nil {
		d.mu.Unlock()
		return nil, fmt.Errorf("session %s is being recorded already", h.Session)
	}
	d.live[h.Session] = w
	d.mu.Unlock()
	if err := within(o.Stall, func() error { return w.begin(wraps) }, w.abandon); err != nil {
		d.forget(w)
		return nil, fmt.Errorf("begin the recording of session %s: %w", h.Session, plain(err))
	}
	return w, nil
}

// begin writes magic, header and wraps. Order: the file's contents, then its
// name; docs/decisions/0015-recording-durability.md says why.
func (w *Writer) begin(wraps []byte) (err error) {
	fsys, name := w.dir.fs, w.h.Session
	if w.main, err = fsys.Create(name + suffix); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			w.main.Close()
			fsys.Remove(name + suffix)
		}
	}()
	text, err := json.Marshal(w.h)
	if err != nil {
		return fmt.Errorf("encode the header: %w", err)
	}
	b := append([]byte(magic), newBlock(blockHeader, text, 0)...)
	w.root = sha256.Sum256(b)
	if wraps != nil {
		b = append(b, newBlock(blockWraps, wraps, w.seed)...)
	}
	if _, err = w.main.WriteAt(b, 0); err != nil {
		return err
	}
	w.end = int64(len(b))
	if err = w.main.Sync(); err != nil {
		return err
	}
	w.synced = w.end
	w.safe.Store(w.end)
	return fsys.SyncDir()
}

// abandon removes what begin has made after nobody waited for it any more.
func (w *Writer) abandon() {
	w.closeFiles()
	w.dir.fs.Remove(w.h.Session + suffix) //nolint:errcheck // a recording that nobody knows of is no harm
	w.dir.fs.SyncDir()                    //nolint:errcheck // likewise
}

// Live returns the writer of a session that is being recorded here.
func (d *Dir) Live(session string) (*Writer, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	w, ok := d.live[session]
	return w, ok
}

func (d *Dir) forget(w *Writer) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.live[w.h.Session] == w {
		delete(d.live, w.h.Session)
	}
}

// Open opens a recording for reading: a sealed one, one that crashed, or a
// live one as far as its commits go, the tail included.
func (d *Dir) Open(session string) (*Reader, error) {
	if err := checkName(session); err != nil {
		return nil, err
	}
	f, err := d.fs.Open(session+suffix, false)
	if err != nil {
		return d.openArchived(session, err)
	}
	r, err := d.open(f, session)
	if err == nil && r.header.Session != session {
		err = fmt.Errorf("it is the recording of session %s", display.Line(r.header.Session, 80))
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("open the recording of session %s: %w", session, plain(err))
	}
	return r, nil
}

// Info is one recording of a directory.
type Info struct {
	Session string
	Size    int64
	Header  Header
	Seal    Seal // zero unless Sealed
	Sealed  bool
	Live    bool
	Err     error // why the file could not be opened; other recordings are not affected
}

// List returns every recording, by name.
func (d *Dir) List() ([]Info, error) {
	names, err := d.fs.List()
	if err != nil {
		return nil, fmt.Errorf("list the recordings: %w", err)
	}
	slices.Sort(names)
	var out []Info
	for _, n := range names {
		session, ok := strings.CutSuffix(n, suffix)
		if !ok || checkName(session) != nil {
			continue
		}
		in := Info{Session: session}
		_, in.Live = d.Live(session)
		if r, err := d.Open(session); err != nil {
			in.Err = err
		} else {
			in.Size, in.Header = r.size, r.Header()
			in.Seal, in.Sealed = r.Sealed()
			r.Close()
		}
		out = append(out, in)
	}
	more, err := d.archived(out)
	if err != nil || len(more) == 0 {
		return out, err
	}
	out = append(out, more...)
	slices.SortFunc(out, func(a, b Info) int { return strings.Compare(a.Session, b.Session) })
	return out, nil
}

// Remove deletes a recording that is not live.
func (d *Dir) Remove(session string) error {
	if err := checkName(session); err != nil {
		return err
	}
	if _, live := d.Live(session); live {
		return fmt.Errorf("session %s is being recorded; its recording cannot be removed", session)
	}
	if err := d.fs.Remove(session + suffix); err != nil {
		return fmt.Errorf("remove the recording of session %s: %w", session, plain(err))
	}
	if err := d.fs.Remove(session + tailSuffix); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove the tail of session %s: %w", session, plain(err))
	}
	return d.fs.SyncDir()
}

// Recover seals what a crash left of a session's recording, to its last
// durable event. It can be repeated, and be interrupted at any step.
func (d *Dir) Recover(ctx context.Context, session string) (Seal, error) {
	if err := checkName(session); err != nil {
		return Seal{}, err
	}
	if err := ctx.Err(); err != nil {
		return Seal{}, err
	}
	if _, live := d.Live(session); live {
		return Seal{}, fmt.Errorf("session %s is being recorded; there is nothing to recover", session)
	}
	return d.recover(session, "crashed", d.o.OnSegment, d.o.OnSealed)
}
