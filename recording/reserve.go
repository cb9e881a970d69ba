package recording

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"syscall"
)

// keepReserve makes sure that the reserve is there.
func (d *Dir) keepReserve() error {
	d.reserve.Lock()
	defer d.reserve.Unlock()
	if d.reserved || d.o.Reserve < 0 {
		return nil
	}
	f, err := d.fs.Open(reserveName, true)
	if errors.Is(err, fs.ErrNotExist) {
		f, err = d.fs.Create(reserveName)
	}
	if err != nil {
		return fmt.Errorf("keep disk space in reserve: %w", plain(err))
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil {
		return fmt.Errorf("keep disk space in reserve: %w", plain(err))
	}
	buf := make([]byte, max(min(1<<20, d.o.Reserve-size), 0))
	rand.Read(buf) // not zeros: a file system could leave those out
	for size < d.o.Reserve {
		n := min(int64(len(buf)), d.o.Reserve-size)
		if _, err := f.WriteAt(buf[:n], size); err != nil {
			if errors.Is(err, syscall.ENOSPC) {
				return fmt.Errorf("the disk is full: %d MiB must be free so that what is begun can be finished: %w", d.o.Reserve>>20, plain(err))
			}
			return fmt.Errorf("keep disk space in reserve: %w", plain(err))
		}
		size += n
	}
	if err := f.Sync(); err != nil {
		return fmt.Errorf("keep disk space in reserve: %w", plain(err))
	}
	d.reserved = true
	return nil
}

// spendReserve frees the reserve for the recordings that are live now. New
// ones are refused until it can be made again.
func (d *Dir) spendReserve() {
	d.reserve.Lock()
	defer d.reserve.Unlock()
	d.reserved = false
	if d.o.Reserve > 0 {
		d.fs.Remove(reserveName) //nolint:errcheck // it may be gone: another recording's full disk came first
	}
}

// create makes a file, and on a full disk spends the reserve and tries once
// more. full says so, also where the second try succeeds.
func (d *Dir) create(name string) (f file, full, err error) {
	f, err = d.fs.Create(name)
	if !errors.Is(err, syscall.ENOSPC) {
		return f, nil, err
	}
	full = fmt.Errorf("the disk is full: %w", plain(err))
	d.spendReserve()
	if f, err = d.fs.Create(name); err != nil {
		return nil, full, full
	}
	return f, full, nil
}

// writeAt writes, and on a full disk spends the reserve and writes once more.
// full says so, also where the second write succeeds.
func (d *Dir) writeAt(f file, b []byte, off int64) (full, err error) {
	_, err = f.WriteAt(b, off)
	if !errors.Is(err, syscall.ENOSPC) {
		return nil, err
	}
	full = fmt.Errorf("the disk is full: %w", plain(err))
	d.spendReserve()
	if _, err = f.WriteAt(b, off); err != nil {
		return full, full
	}
	return full, nil
}
