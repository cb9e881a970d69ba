package recording

import (
	"fmt"
	"io"
)

// Copy writes the container of a recording to w as it lies on the disk or in
// the archive. The error wraps fs.ErrNotExist if there is none.
func (d *Dir) Copy(session string, w io.Writer) (int64, error) {
	b, err := d.Bytes(session)
	if err != nil {
		return 0, err
	}
	defer b.Close()
	n, err := io.Copy(w, io.NewSectionReader(b, 0, b.Size()))
	if err != nil {
		return n, fmt.Errorf("read the recording of session %s: %w", session, err)
	}
	return n, nil
}
