package recording

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// A recording without a footer belongs to a session that lives, or to one
// whose gateway died: part of it lies in the tail. A reader of it sees both as
// one file: the whole blocks of the recording, then the pieces that continue
// them. It writes nothing; recovery does the same for good.

// maxRereads bounds how often a live recording is looked at again because it
// has grown in between.
const maxRereads = 20

// open returns a reader of what the disk has of a session's recording.
func (d *Dir) open(f file, session string) (*Reader, error) {
	for try := 0; ; try++ {
		size, err := f.Size()
		if err != nil {
			return nil, err
		}
		c, err := openContainer(f, size)
		if err != nil {
			return nil, err
		}
		r := &Reader{container: c, closer: f}
		if r.fromFooter() == nil {
			return r, nil
		}
		l, err := c.scan(checkNone)
		if err != nil {
			return nil, err
		}
		if !l.sealed {
			if l, err = d.join(r, l, session); err != nil {
				return nil, err
			}
		}
		// Pieces are overwritten when their chunk is in the recording, so a
		// tail that was read while the recording grew may be that of later ones.
		if now, err := f.Size(); err != nil {
			return nil, err
		} else if now == size || l.sealed || try == maxRereads {
			r.take(l)
			return r, nil
		}
	}
}

// join puts the pieces of the tail behind the recording's whole blocks, as
// recovery would, and returns the layout of both.
func (d *Dir) join(r *Reader, l *layout, session string) (*layout, error) {
	synced, tail := l.synced, false
	err := d.tail(r.container, session, func(p prelude, _ []byte) bool {
		tail, synced = true, max(synced, p.synced)
		return true
	})
	if err != nil || !tail {
		return l, err
	}
	// What was durable when the newest block was written is whole, or damaged
	// since; of what is behind it the first torn write is the end.
	if l, err = r.scan(synced); err != nil {
		return l, err
	}
	if l, err = d.untorn(r.container, l, session); err != nil {
		return l, err
	}
	pieces, err := d.pieces(r.container, l, session)
	if err != nil {
		return l, err
	}
	r.r = joined{main: r.r, end: l.end, tail: bytes.Join(pieces, nil)}
	for _, p := range pieces {
		l.end += int64(len(p))
	}
	r.size = l.end
	return l, nil
}

// joined is one file: the first end bytes of main, then tail.
type joined struct {
	main io.ReaderAt
	end  int64
	tail []byte
}

func (j joined) ReadAt(p []byte, off int64) (n int, err error) {
	if off < j.end {
		part := p[:min(int64(len(p)), j.end-off)]
		if n, err = j.main.ReadAt(part, off); n < len(part) || n == len(p) {
			return n, err
		}
	}
	rest := off + int64(n) - j.end
	if rest < int64(len(j.tail)) {
		n += copy(p[n:], j.tail[rest:])
	}
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// OpenFile opens a recording by its path. If it is not sealed, the tail that
// lies beside it is read too.
func OpenFile(path string) (*Reader, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("open the recording: %w", err)
	}
	beside := &Dir{fs: osDir{filepath.Dir(path)}}
	r, err := beside.open(osFile{f}, strings.TrimSuffix(filepath.Base(path), suffix))
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("open the recording %q: %w", path, err)
	}
	return r, nil
}
