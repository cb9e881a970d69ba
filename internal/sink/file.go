package sink

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
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
// which a part was written before an error is written again whole.
func (f *File) Send(_ context.Context, batch []Message) error {
	file, err := os.OpenFile(f.path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return fmt.Errorf("open sink file: %w", err)
	}
	var b bytes.Buffer
	for _, m := range batch {
		b.Write(m.JSON)
		b.WriteByte('\n')
	}
	_, err = file.Write(b.Bytes())
	return errors.Join(err, file.Sync(), file.Close())
}

// Close implements Sink.
func (f *File) Close() error { return nil }
