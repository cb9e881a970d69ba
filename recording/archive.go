package recording

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"time"
)

// An Archive has the sealed recordings that are not in the directory any
// more, and knows which were deleted.
type Archive interface {
	// OpenArchived opens the bytes of a recording. The error is a *Deleted, or
	// wraps fs.ErrNotExist if the archive knows nothing of it.
	OpenArchived(session string) (Bytes, error)
	// ListArchived returns the recordings that can be opened.
	ListArchived() ([]Info, error)
}

// Bytes is a recording at rest.
type Bytes interface {
	io.ReaderAt
	io.Closer
	Size() int64
}

// Deleted says that a recording was deleted in order. It matches
// fs.ErrNotExist.
type Deleted struct {
	Session string
	At      time.Time
	Rule    string
	By      string // a name
	Reason  string
}

// Error is the sentence for people; whoever prints it escapes it.
func (d *Deleted) Error() string {
	s := "the recording of session " + d.Session + " was deleted on " + d.At.UTC().Format("2006-01-02 15:04:05 UTC")
	if d.Rule != "" {
		s += fmt.Sprintf(" under rule %q", clip(d.Rule, 80))
	}
	if s += " by " + clip(d.By, 80); d.Reason != "" {
		s += ": " + clip(d.Reason, 300)
	}
	return s
}

// Is makes it what a recording that is not there is.
func (d *Deleted) Is(target error) bool { return target == fs.ErrNotExist }

// SetArchive names the archive, before anything is read.
func (d *Dir) SetArchive(a Archive) { d.archive = a }

// fromArchive opens what is not in the directory; missing is why.
func (d *Dir) fromArchive(session string, missing error) (Bytes, error) {
	if d.archive == nil || !errors.Is(missing, fs.ErrNotExist) {
		return nil, fmt.Errorf("open the recording of session %s: %w", session, plain(missing))
	}
	b, err := d.archive.OpenArchived(session)
	if gone := (*Deleted)(nil); errors.As(err, &gone) {
		return nil, err
	}
	if err != nil {
		return nil, fmt.Errorf("open the recording of session %s: %w", session, err)
	}
	return b, nil
}

func (d *Dir) openArchived(session string, missing error) (*Reader, error) {
	b, err := d.fromArchive(session, missing)
	if err != nil {
		return nil, err
	}
	r, err := NewReader(b, b.Size())
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open the recording of session %s: %w", session, err), b.Close())
	}
	r.closer = b
	return r, nil
}

// Bytes opens a recording's container as it lies on the disk or in the archive.
func (d *Dir) Bytes(session string) (Bytes, error) {
	if err := checkName(session); err != nil {
		return nil, err
	}
	f, err := d.fs.Open(session+suffix, false)
	if err != nil {
		return d.fromArchive(session, err)
	}
	size, err := f.Size()
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("read the recording of session %s: %w", session, plain(err))
	}
	return localBytes{f, size}, nil
}

type localBytes struct {
	file
	size int64
}

func (b localBytes) Size() int64 { return b.size }

// LocalSize is the size of the file in the directory; the error wraps
// fs.ErrNotExist if there is none.
func (d *Dir) LocalSize(session string) (int64, error) {
	if err := checkName(session); err != nil {
		return 0, err
	}
	f, err := d.fs.Open(session+suffix, false)
	if err != nil {
		return 0, plain(err)
	}
	defer f.Close()
	return f.Size()
}

// archived lists what the archive has and the directory has not.
func (d *Dir) archived(here []Info) ([]Info, error) {
	if d.archive == nil {
		return nil, nil
	}
	known := make(map[string]bool, len(here))
	for _, in := range here {
		known[in.Session] = true
	}
	list, err := d.archive.ListArchived()
	if err != nil {
		return nil, fmt.Errorf("list the archived recordings: %w", err)
	}
	var out []Info
	for _, in := range list {
		if !known[in.Session] {
			out = append(out, in)
		}
	}
	return out, nil
}

// LocalFile is one recording in the directory, sealed or not.
type LocalFile struct {
	Session string
	Size    int64
}

// LocalFiles lists the recordings in the directory that are not live, without
// opening them.
func (d *Dir) LocalFiles() ([]LocalFile, error) {
	names, err := d.fs.List()
	if err != nil {
		return nil, fmt.Errorf("list the recordings: %w", err)
	}
	var out []LocalFile
	for _, n := range names {
		session, ok := strings.CutSuffix(n, suffix)
		if !ok || checkName(session) != nil {
			continue
		}
		if _, live := d.Live(session); live {
			continue
		}
		size, err := d.LocalSize(session)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		} else if err != nil {
			return nil, err
		}
		out = append(out, LocalFile{session, size})
	}
	return out, nil
}
