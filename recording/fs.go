package recording

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// A filesystem is the one directory that recordings live in, as small as it
// can be so that tests can fail, tear and forget writes at every step.
type filesystem interface {
	// Create makes a new file; its name is durable after SyncDir.
	Create(name string) (file, error)
	// Open opens an existing file; for writing too, if asked.
	Open(name string, write bool) (file, error)
	Remove(name string) error
	List() ([]string, error)
	// SyncDir makes creations and removals durable.
	SyncDir() error
}

// A file is written at offsets and durable after Sync.
type file interface {
	io.ReaderAt
	io.WriterAt
	Sync() error
	Truncate(size int64) error
	Size() (int64, error)
	Close() error
}

// osDir is the real thing.
type osDir struct{ path string }

func (d osDir) Create(name string) (file, error) {
	f, err := os.OpenFile(filepath.Join(d.path, name), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	return osFile{f}, nil
}

func (d osDir) Open(name string, write bool) (file, error) {
	flag := os.O_RDONLY
	if write {
		flag = os.O_RDWR
	}
	f, err := os.OpenFile(filepath.Join(d.path, name), flag|unix.O_NOFOLLOW, 0)
	if err != nil {
		return nil, err
	}
	return osFile{f}, nil
}

func (d osDir) Remove(name string) error { return os.Remove(filepath.Join(d.path, name)) }

func (d osDir) List() ([]string, error) {
	entries, err := os.ReadDir(d.path)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, e := range entries {
		if e.Type().IsRegular() {
			names = append(names, e.Name())
		}
	}
	return names, nil
}

func (d osDir) SyncDir() error {
	f, err := os.Open(d.path)
	if err != nil {
		return err
	}
	defer f.Close()
	return f.Sync()
}

type osFile struct{ *os.File }

// Sync is fdatasync: sizes are flushed with the data, access times are not.
func (f osFile) Sync() error {
	c, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var serr error
	if err := c.Control(func(fd uintptr) {
		for {
			if serr = unix.Fdatasync(int(fd)); serr != unix.EINTR {
				return
			}
		}
	}); err != nil {
		return err
	}
	if serr != nil {
		return &fs.PathError{Op: "fdatasync", Path: f.Name(), Err: serr}
	}
	return nil
}

// Forget tells the kernel that what is on the disk need not stay in memory:
// a bulk transfer would push everything else out, and fresh pages for the page
// cache cost more than writing to those just freed.
func (f osFile) Forget(off, n int64) {
	if c, err := f.SyscallConn(); err == nil {
		c.Control(func(fd uintptr) { unix.Fadvise(int(fd), off, n, unix.FADV_DONTNEED) }) //nolint:errcheck // advice
	}
}

func (f osFile) Size() (int64, error) {
	st, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return st.Size(), nil
}

// plain returns err as words without the file's path, which is no business of
// the user whose session ends by it.
func plain(err error) error {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		return fmt.Errorf("%s: %w", pe.Op, pe.Err)
	}
	return err
}
