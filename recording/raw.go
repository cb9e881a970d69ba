package recording

import (
	"fmt"
	"io"
)

// Copy writes the container of a recording to w as it lies on the disk. The
// error wraps fs.ErrNotExist if there is none.
func (d *Dir) Copy(session string, w io.Writer) (int64, error) {
	if err := checkName(session); err != nil {
		return 0, err
	}
	f, err := d.fs.Open(session+suffix, false)
	if err != nil {
		return 0, fmt.Errorf("open the recording of session %s: %w", session, plain(err))
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil {
		return 0, fmt.Errorf("read the recording of session %s: %w", session, plain(err))
	}
	n, err := io.Copy(w, io.NewSectionReader(f, 0, size))
	if err != nil {
		return n, fmt.Errorf("read the recording of session %s: %w", session, err)
	}
	return n, nil
}
