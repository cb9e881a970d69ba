package evidence

import (
	"fmt"
	"io"
	"os"
)

// spooled is one file of the pack on disk: recordings need random access,
// which a compressed zip entry has not.
type spooled struct {
	*os.File
	size int64
}

func (p *pack) spool(name string) (*spooled, error) {
	rc, err := p.files[name].Open()
	if err != nil {
		return nil, err
	}
	defer rc.Close()
	f, err := os.CreateTemp("", "jit-verify-")
	if err != nil {
		return nil, err
	}
	s := &spooled{File: f}
	s.size, err = io.Copy(f, io.LimitReader(rc, maxRecording+1))
	if err == nil && s.size > maxRecording {
		err = fmt.Errorf("longer than %d bytes", int64(maxRecording))
	}
	if err != nil {
		s.remove()
		return nil, err
	}
	return s, nil
}

func (s *spooled) remove() {
	s.Close()
	os.Remove(s.Name())
}
