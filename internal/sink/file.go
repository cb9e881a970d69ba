package sink

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// File appends JSON Lines to a file. It is opened anew for each batch, so that
// a rotation by rename needs no signal.
type File struct {
	name, path string
}

// NewFile returns the sink; the file is created with mode 0600.
func NewFile(name, path string) *File { return &File{name, path} }

// Name implements Sink.
func (f *File) Name() string { return f.name }

// Send implements Sink: the batch is on disk when it returns. A batch of
// which a part was written before an error is written again whole, on a line
// of its own: the torn one before it is no JSON, and costs no other event.
func (f *File) Send(_ context.Context, batch []Message) error {
	torn, err := endsTorn(f.path)
	if err != nil {
		return fmt.Errorf("read the end of the sink file: %w", err)
	}
	file, err := f.open()
	if err != nil {
		return fmt.Errorf("open sink file: %w", err)
	}
	var b bytes.Buffer
	if torn {
		b.WriteByte('\n')
	}
	for _, m := range batch {
		b.Write(m.JSON)
		b.WriteByte('\n')
	}
	_, err = file.Write(b.Bytes())
	return errors.Join(err, file.Sync(), file.Close())
}

// open opens the file, or makes it; then its name has to be durable before the
// cursor says that what is in it was delivered.
func (f *File) open() (*os.File, error) {
	file, err := os.OpenFile(f.path, os.O_WRONLY|os.O_APPEND, 0)
	if !errors.Is(err, fs.ErrNotExist) {
		return file, err
	}
	if file, err = os.OpenFile(f.path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600); err != nil {
		return nil, err
	}
	dir, err := os.Open(filepath.Dir(f.path))
	if err == nil {
		err = errors.Join(dir.Sync(), dir.Close())
	}
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return file, nil
}

// endsTorn reports whether the file ends within a line. A pipe does not.
func endsTorn(path string) (bool, error) {
	st, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return false, nil
	case err != nil:
		return false, err
	case !st.Mode().IsRegular() || st.Size() == 0:
		return false, nil
	}
	file, err := os.Open(path)
	if err != nil {
		return false, err
	}
	defer file.Close()
	var last [1]byte
	_, err = file.ReadAt(last[:], st.Size()-1)
	return last[0] != '\n', err
}

// Close implements Sink.
func (f *File) Close() error { return nil }
