package sshproxy

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
)

// An sftpFile is what was opened. Its totals are told once the client has
// closed it and the target has answered everything about it: a client may
// close a file that it is still reading.
type sftpFile struct {
	path        string
	read, write sftpStream
	unanswered  int
	closing     bool
	result      string // of what went wrong last; empty: ok
}

// An sftpStream is what passed of a file in one direction.
type sftpStream struct {
	bytes int64
	next  uint64
	sum   hash.Hash
	gap   bool
}

func (s *sftpStream) at(offset uint64) *sftpStream {
	if s.sum == nil {
		s.sum = sha256.New()
	}
	s.gap = s.gap || offset != s.next
	return s
}

func (s *sftpStream) take(p []byte) {
	s.bytes += int64(len(p))
	s.next += uint64(len(p))
	if !s.gap {
		s.sum.Write(p)
	}
}

func (s *sftpStream) digest() string {
	if s.sum == nil || s.gap {
		return ""
	}
	return hex.EncodeToString(s.sum.Sum(nil))
}

// file returns what the target opened under a handle. A client learns handles
// from answers, which we see first; one that guesses a handle while an open
// is unanswered would write past the recording, or into it under another
// file's name. Where nothing is being opened the target itself refuses what
// it does not know: acts is for requests that never get so far.
func (t *sftpTracker) file(handle string, acts bool) (*sftpFile, error) {
	file := t.handles[handle]
	if file == nil && (acts || t.opening > 0) {
		return nil, errors.New("sftp: a request about a file that is not open")
	}
	return file, nil
}

// failed notes for the file's totals that the target did not do as asked.
func (p *sftpPending) failed(result string) {
	switch {
	case p.file == nil || result == "ok":
	case p.typ == fxWrite:
		p.file.result, p.file.write.gap = result, true // what passed is not what is there
	case p.typ == fxClose, p.typ == fxRead && result != sftpStatus(fxEOF):
		p.file.result = result
	}
}

// opened takes the handle that answers p.
func (t *sftpTracker) opened(handle string, p sftpPending) error {
	switch {
	case len(handle) > maxSFTPHandle || p.typ != fxOpen && p.typ != fxOpendir:
		return errSFTPShort
	case len(t.untold) >= maxSFTPHandles:
		return fmt.Errorf("sftp: more than %d open files", maxSFTPHandles)
	}
	if old := t.handles[handle]; old != nil { // the target says that it is closed
		if err := t.tell(old, "cut off"); err != nil {
			return err
		}
	}
	file := &sftpFile{path: p.op.Path}
	t.handles[handle], t.untold[file] = file, struct{}{}
	return nil
}

// settle tells of the file that the last answer was about, once it is closed
// and nothing more can pass of it.
func (t *sftpTracker) settle() error {
	file := t.answered
	t.answered = nil
	if file == nil {
		return nil
	}
	if file.unanswered--; file.unanswered > 0 || !file.closing {
		return nil
	}
	return t.tell(file, "ok")
}

// tell writes a file's totals, once.
func (t *sftpTracker) tell(file *sftpFile, result string) error {
	if _, ok := t.untold[file]; !ok {
		return nil
	}
	delete(t.untold, file)
	if file.result != "" {
		result = file.result
	}
	return t.closed(file, result)
}

func (t *sftpTracker) closed(file *sftpFile, result string) error {
	for _, s := range []struct {
		op string
		st *sftpStream
	}{{"read", &file.read}, {"write", &file.write}} {
		if s.st.sum == nil {
			continue
		}
		if err := t.emit(sftpOp{Op: s.op, Path: file.path, Bytes: s.st.bytes, SHA256: s.st.digest(), Result: result}); err != nil {
			return err
		}
	}
	return nil
}

// end tells of files that were open when the channel ended.
func (t *sftpTracker) end() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if err := t.settle(); err != nil {
		return err
	}
	for file := range t.untold {
		if err := t.tell(file, "cut off"); err != nil {
			return err
		}
	}
	return nil
}
