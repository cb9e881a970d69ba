package recording

import (
	"errors"
	"io"
	"io/fs"
	"math/rand/v2"
	"slices"
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
}

type fault int

const (
	crash  fault = iota + 1 // the machine stops; this write may be torn
	ioErr                   // this and every later sync fails
	denied                  // this and every later write is refused
)

func (f fault) String() string { return [...]string{"none", "crash", "I/O error", "permission"}[f] }

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
	if m.at > 0 && m.step >= m.at {
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
	if happens, err := m.do("create " + name); happens == denied {
		return nil, &fs.PathError{Op: "open", Path: name, Err: syscall.EACCES}
	} else if err != nil {
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
	if _, err := m.do("remove " + name); err != nil {
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
	if _, err := m.do("sync directory"); err != nil {
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
	for int64(len(b)) < end {
		b = append(b, 0)
	}
	copy(b[op.off:], op.data)
	return b
}

func (f *memFile) WriteAt(p []byte, off int64) (int, error) {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	happens, err := f.fs.do("write " + f.name)
	if happens == denied {
		return 0, &fs.PathError{Op: "write", Path: f.name, Err: syscall.EACCES}
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
	happens, err := f.fs.do("sync " + f.name)
	if happens == ioErr {
		return &fs.PathError{Op: "fdatasync", Path: f.name, Err: syscall.EIO}
	}
	if err != nil {
		return err
	}
	f.durable, f.pending = slices.Clone(f.now), nil
	return nil
}

func (f *memFile) Truncate(size int64) error {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	if _, err := f.fs.do("truncate " + f.name); err != nil {
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

// afterCrash returns what a machine that starts again finds: names that were
// not synced may be there or not, and each write since a file's last sync may
// be there whole, in part, or not at all, whatever came later.
func (m *memFS) afterCrash(r *rand.Rand) *memFS {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := newMemFS()
	names := map[string]*memFile{}
	for name, f := range m.durable {
		if m.files[name] != nil || r.IntN(2) == 0 { // an unsynced removal may not have happened
			names[name] = f
		}
	}
	for name, f := range m.files {
		if m.durable[name] != nil || r.IntN(2) == 0 {
			names[name] = f
		}
	}
	for name, f := range names {
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
