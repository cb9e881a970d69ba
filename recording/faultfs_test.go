package recording

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"syscall"
)

// memFS is a directory in memory that knows what a disk would: which writes
// and names are durable. It can fail or crash at any step.
type memFS struct {
	mu      sync.Mutex
	files   map[string]*memFile // as the running system sees them
	durable map[string]*memFile // names after the last SyncDir
	step    int
	at      int // the step that something happens at; 0: never
	what    fault
	dead    bool
	room    int64 // bytes that the disk has left; -1: endless
	trace   []string
	block   chan struct{} // Sync waits for it, if not nil

	all   bool          // an I/O error is one of writes, creations and removals too
	stall chan struct{} // the step waits for it, if what is stalled
}

type fault int

const (
	crash   fault = iota + 1 // the machine stops; this write may be torn
	ioErr                    // this and every later sync fails
	denied                   // this and every later write is refused
	full                     // this and every later write finds no room, until the reserve is given up
	stalled                  // this step does not end
	once                     // this sync fails, and later ones do not
)

func (f fault) String() string {
	return [...]string{"none", "crash", "I/O error", "permission", "full disk", "stall", "failed sync"}[f]
}

var errDead = errors.New("the machine has stopped")

func newMemFS() *memFS {
	return &memFS{files: map[string]*memFile{}, durable: map[string]*memFile{}, room: -1}
}

type memFile struct {
	fs      *memFS
	name    string
	now     []byte // as the running system sees it
	durable []byte
	pending []memOp // since the last sync
	holds   string  // what was written last, in words
}

// kindOf names a file of a recording in the words of the fault matrix.
func kindOf(name string) string {
	switch {
	case name == reserveName:
		return "reserve"
	case strings.HasSuffix(name, tailSuffix):
		return "tail"
	}
	return "recording"
}

// contents names what a write is of, by its first block.
func contents(p []byte) string {
	if bytes.HasPrefix(p, []byte(magic)) {
		return "header to the"
	}
	if h, ok := parseHead(p); ok {
		switch h.typ {
		case blockChunk:
			return "events to the"
		case blockKey:
			return "key to the"
		case blockScreens, blockTrailer:
			return "trailer to the"
		case blockFooter:
			return "footer to the"
		}
	}
	return "bytes to the"
}

// refuses is the error of what a fault makes impossible. Called with mu held.
func (m *memFS) refuses(what fault, op, name string) error {
	switch {
	case what == denied:
		return &fs.PathError{Op: op, Path: name, Err: syscall.EACCES}
	case what == ioErr && m.all:
		return &fs.PathError{Op: op, Path: name, Err: syscall.EIO}
	case what == full && op == "open" && m.files[reserveName] != nil:
		return &fs.PathError{Op: op, Path: name, Err: syscall.ENOSPC}
	}
	return nil
}

type memOp struct {
	off  int64
	data []byte // nil: truncate to off
}

// do counts a step and says what happens at it. Called with mu held.
func (m *memFS) do(op string) (happens fault, err error) {
	if m.dead {
		return 0, errDead
	}
	m.step++
	m.trace = append(m.trace, op)
	if m.at > 0 && m.step == m.at && m.what == stalled {
		wait := m.stall
		m.mu.Unlock()
		<-wait
		m.mu.Lock()
		return 0, nil
	}
	if m.at > 0 && m.step >= m.at && (m.what != once || m.step == m.at) {
		if m.what == crash {
			m.dead = true
			return crash, errDead
		}
		return m.what, nil
	}
	return 0, nil
}

func (m *memFS) Create(name string) (file, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.files[name] != nil {
		return nil, fs.ErrExist
	}
	f := &memFile{fs: m, name: name}
	happens, err := m.do("create " + kindOf(name))
	if err == nil {
		err = m.refuses(happens, "open", name)
	}
	if err != nil {
		return nil, err
	}
	m.files[name] = f
	return f, nil
}

func (m *memFS) Open(name string, write bool) (file, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.files[name] == nil {
		return nil, fs.ErrNotExist
	}
	return m.files[name], nil
}

func (m *memFS) Remove(name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	happens, err := m.do("remove " + kindOf(name))
	if err == nil {
		err = m.refuses(happens, "remove", name)
	}
	if err != nil {
		return err
	}
	f := m.files[name]
	if f == nil {
		return fs.ErrNotExist
	}
	if m.room >= 0 {
		m.room += int64(len(f.now))
	}
	delete(m.files, name)
	return nil
}

func (m *memFS) List() ([]string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var names []string
	for n := range m.files {
		names = append(names, n)
	}
	return names, nil
}

func (m *memFS) SyncDir() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	happens, err := m.do("sync the directory")
	if err == nil && happens != denied {
		err = m.refuses(happens, "fsync", ".")
	}
	if err != nil {
		return err
	}
	m.durable = map[string]*memFile{}
	for n, f := range m.files {
		m.durable[n] = f
	}
	return nil
}

func (f *memFile) ReadAt(p []byte, off int64) (int, error) {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	if off >= int64(len(f.now)) {
		return 0, io.EOF
	}
	n := copy(p, f.now[off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func apply(b []byte, op memOp) []byte {
	end := op.off + int64(len(op.data))
	if op.data == nil {
		if int64(len(b)) > op.off {
			b = b[:op.off]
		}
		return b
	}
	if n := int(end) - len(b); n > 0 {
		b = append(b, make([]byte, n)...)
	}
	copy(b[op.off:], op.data)
	return b
}

func (f *memFile) WriteAt(p []byte, off int64) (int, error) {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	f.holds = contents(p)
	happens, err := f.fs.do("write " + f.holds + " " + kindOf(f.name))
	if happens == denied {
		return 0, &fs.PathError{Op: "write", Path: f.name, Err: syscall.EACCES}
	}
	if happens == full && f.fs.files[reserveName] != nil {
		return 0, &fs.PathError{Op: "write", Path: f.name, Err: syscall.ENOSPC}
	}
	if happens == ioErr && f.fs.all {
		return 0, &fs.PathError{Op: "write", Path: f.name, Err: syscall.EIO}
	}
	if err != nil && happens != crash {
		return 0, err
	}
	grow := off + int64(len(p)) - int64(len(f.now))
	if f.fs.room >= 0 && grow > f.fs.room {
		return 0, &fs.PathError{Op: "write", Path: f.name, Err: syscall.ENOSPC}
	}
	if f.fs.room >= 0 && grow > 0 {
		f.fs.room -= grow
	}
	op := memOp{off, slices.Clone(p)}
	f.pending = append(f.pending, op)
	f.now = apply(f.now, op)
	return len(p), err
}

func (f *memFile) Sync() error {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	for f.fs.block != nil {
		wait := f.fs.block
		f.fs.mu.Unlock()
		<-wait
		f.fs.mu.Lock()
	}
	happens, err := f.fs.do("sync " + f.holds + " " + kindOf(f.name))
	if happens == ioErr || happens == once {
		f.pending = nil // as Linux does: the pages count as clean from now on
		return &fs.PathError{Op: "fdatasync", Path: f.name, Err: syscall.EIO}
	}
	if err != nil {
		return err
	}
	f.durable = slices.Clone(f.durable)
	for _, op := range f.pending {
		f.durable = apply(f.durable, op)
	}
	f.pending = nil
	return nil
}

func (f *memFile) Truncate(size int64) error {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	if _, err := f.fs.do("truncate " + kindOf(f.name)); err != nil {
		return err
	}
	op := memOp{off: size}
	f.pending = append(f.pending, op)
	f.now = apply(f.now, op)
	return nil
}

func (f *memFile) Size() (int64, error) {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	return int64(len(f.now)), nil
}

func (f *memFile) Close() error { return nil }

// afterKill returns what a process that starts again finds: everything that
// was written, since the machine has not stopped.
func (m *memFS) afterKill() *memFS {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := newMemFS()
	for name, f := range m.files {
		n.files[name] = &memFile{fs: n, name: name, now: slices.Clone(f.now), durable: slices.Clone(f.now)}
		n.durable[name] = n.files[name]
	}
	return n
}

// afterCrash returns what a machine that starts again finds: names that were
// not synced may be there or not, and each write since a file's last sync may
// be there whole, in part, or not at all, whatever came later.
func (m *memFS) afterCrash(r *rand.Rand) *memFS {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := newMemFS()
	names := map[string]*memFile{}
	for _, name := range slices.Sorted(maps.Keys(m.durable)) {
		f := m.durable[name]
		if m.files[name] != nil || r.IntN(2) == 0 { // an unsynced removal may not have happened
			names[name] = f
		}
	}
	for _, name := range slices.Sorted(maps.Keys(m.files)) {
		f := m.files[name]
		if m.durable[name] != nil || r.IntN(2) == 0 {
			names[name] = f
		}
	}
	for _, name := range slices.Sorted(maps.Keys(names)) {
		f := names[name]
		b := slices.Clone(f.durable)
		for _, op := range f.pending {
			switch r.IntN(4) {
			case 0: // lost
			case 1: // torn
				if len(op.data) > 0 {
					k := r.IntN(len(op.data))
					if r.IntN(2) == 0 {
						op = memOp{op.off, op.data[:k]}
					} else {
						op = memOp{op.off + int64(k), op.data[k:]}
					}
				}
				b = apply(b, op)
			default:
				b = apply(b, op)
			}
		}
		n.files[name] = &memFile{fs: n, name: name, now: b, durable: slices.Clone(b)}
		n.durable[name] = n.files[name]
	}
	return n
}
