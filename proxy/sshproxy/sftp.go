package sshproxy

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"strings"
	"sync"
)

// An sftpOp is one operation as the recording tells it. An operation that
// changes something is told twice: before its request goes on, without a
// result, and when the target has answered. Reads and writes are told when
// the file is closed, with what passed.
type sftpOp struct {
	Op, Path, To string
	Bytes        int64
	SHA256       string // of what passed, if it began at 0 and went on without a gap
	Result       string
}

// Limits of one SFTP channel; sshd's own server has 1,024 open files at most.
const (
	maxSFTPPending = 16384
	maxSFTPHandles = 4096
)

// An sftpTracker follows both directions of one SFTP channel.
type sftpTracker struct {
	emit func(sftpOp) error
	rule *sftpRule // nil: unrestricted, nothing is refused

	mu      sync.Mutex
	pending map[uint32]sftpPending
	handles map[string]*sftpFile   // as the target gave them out, until the client closes them
	untold  map[*sftpFile]struct{} // files whose totals are not in the recording yet
	opening int                    // unanswered requests of which each may make a handle
	home    string                 // what the target answered to realpath "."

	toTarget, toClient sftpFrames
	writing, reading   *sftpStream // where the body that is passing goes
	answered           *sftpFile   // what the last answer was about, until its content has passed
	refuse             func(id uint32, code uint32, text string) error
}

type sftpPending struct {
	op     sftpOp
	typ    byte
	handle string    // of close
	tell   bool      // the answer is an event
	file   *sftpFile // of read, write and close
	offset uint64
}

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

// newSFTPTracker follows a channel. With a rule, requests are inspected
// before pass gets them, and refuse answers those that the rule does not allow.
func newSFTPTracker(emit func(sftpOp) error, rule *sftpRule) *sftpTracker {
	t := &sftpTracker{emit: emit, rule: rule, pending: map[uint32]sftpPending{}, handles: map[string]*sftpFile{}, untold: map[*sftpFile]struct{}{}}
	t.toTarget = sftpFrames{packet: t.request, body: t.writeBody, keep: func(typ byte) int {
		if typ == fxWrite {
			return 4 + 4 + maxSFTPHandle + 8 + 4
		}
		return maxSFTPHead
	}}
	t.toClient = sftpFrames{packet: t.reply, body: t.readBody, keep: func(typ byte) int {
		if typ == fxData {
			return 8
		}
		return 4096
	}}
	return t
}

func (t *sftpTracker) writeBody(p []byte) error {
	if t.writing != nil {
		t.mu.Lock()
		t.writing.take(p)
		t.mu.Unlock()
	}
	return nil
}

func (t *sftpTracker) readBody(p []byte) error {
	if t.reading != nil {
		t.mu.Lock()
		t.reading.take(p)
		t.mu.Unlock()
	}
	return nil
}

// request reads one packet of the client.
func (t *sftpTracker) request(typ byte, head []byte, length int) (bool, error) {
	id, code, why, err := t.decide(typ, head, length)
	if err != nil || why == "" {
		return err == nil, err
	}
	// Without t.mu: refuse takes the lock under which reply is called.
	return false, t.refuse(id, code, "jit-gateway: "+why)
}

// decide returns why a request is refused, if it is.
func (t *sftpTracker) decide(typ byte, head []byte, length int) (id, code uint32, why string, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.writing = nil
	if typ == fxInit {
		return 0, 0, "", nil
	}
	f := &fields{b: head}
	id = f.u32()
	p := sftpPending{typ: typ}
	var r sftpRequest
	switch typ {
	case fxOpen:
		p.op = sftpOp{Op: "open", Path: f.str()}
		flags := f.u32()
		p.op.To = openFlags(flags)
		p.tell = true
		r = sftpRequest{paths: []string{p.op.Path}, reads: flags&1 != 0, writes: flags&^1 != 0}
	case fxClose:
		p.handle = f.str()
		p.file, err = t.file(p.handle, false)
	case fxRead:
		p.file, err = t.file(f.str(), true)
		p.offset = f.u64()
		f.u32()
		r.reads = true
	case fxWrite:
		h := f.str()
		p.file, err = t.file(h, true)
		p.offset = f.u64()
		n := f.u32()
		r.writes = true
		if f.bad || len(h) > maxSFTPHandle || int64(n) != int64(length-(4+4+len(h)+8+4)) {
			return 0, 0, "", errSFTPShort
		}
	case fxFstat, fxReaddir:
		_, err = t.file(f.str(), false)
	case fxFsetstat:
		p.file, err = t.file(f.str(), true)
		if p.file != nil {
			p.op.Path = p.file.path
		}
		p.op.Op, p.tell, r.writes = "setstat", true, true
	case fxLstat, fxStat, fxReadlink:
		r.paths = []string{f.str()}
	case fxRealpath:
		p.op.Path = f.str() // tells names only; clients need it to begin
	case fxOpendir:
		p.op = sftpOp{Op: "list", Path: f.str()}
		p.tell = true
		r = sftpRequest{paths: []string{p.op.Path}, reads: true}
	case fxSetstat, fxRemove, fxMkdir, fxRmdir:
		p.op = sftpOp{Op: map[byte]string{fxSetstat: "setstat", fxRemove: "remove", fxMkdir: "mkdir", fxRmdir: "rmdir"}[typ], Path: f.str()}
		p.tell = true
		r = sftpRequest{paths: []string{p.op.Path}, writes: true}
	case fxRename:
		p.op = sftpOp{Op: "rename", Path: f.str(), To: f.str()}
		p.tell = true
		r = sftpRequest{paths: []string{p.op.Path, p.op.To}, writes: true}
	case fxSymlink: // OpenSSH sends the target of the link first
		p.op.Op, p.op.To, p.op.Path = "symlink", f.str(), f.str()
		p.tell = true
		r = sftpRequest{paths: []string{p.op.Path, p.op.To}, writes: true, links: true}
	case fxExtended:
		err = t.extended(f, &p, &r)
	default:
		r.unknown = true
		p.op.Op, p.tell = fmt.Sprintf("type %d", typ), true
	}
	if f.bad {
		return 0, 0, "", errSFTPShort
	}
	if err != nil {
		return 0, 0, "", err
	}
	if _, dup := t.pending[id]; dup || len(t.pending) >= maxSFTPPending {
		return 0, 0, "", fmt.Errorf("sftp: request %d is used twice, or too many are unanswered", id)
	}
	if length > maxSFTPHead && typ != fxWrite {
		return 0, 0, "", fmt.Errorf("sftp: a request of %d bytes", length)
	}
	if t.rule != nil {
		if why := t.rule.refuses(r, t.home); why != "" {
			op := p.op
			if op.Op == "" {
				op.Op = sftpName(typ)
			}
			op.Result = "refused: " + why
			if err := t.emit(op); err != nil {
				return 0, 0, "", err
			}
			code = 3 // SSH_FX_PERMISSION_DENIED
			if r.unknown {
				code = 8 // SSH_FX_OP_UNSUPPORTED
			}
			return id, code, why, nil
		}
	}
	if p.tell && r.writes {
		if err := t.emit(p.op); err != nil {
			return 0, 0, "", err
		}
	}
	switch typ {
	case fxOpen, fxOpendir:
		t.opening++
	case fxWrite:
		t.writing = p.file.write.at(p.offset)
		t.writing.take(f.b)
	case fxClose:
		if p.file != nil {
			p.file.closing = true
			delete(t.handles, p.handle)
		}
	}
	if p.file != nil {
		p.file.unanswered++
	}
	t.pending[id] = p
	return id, 0, "", nil
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

// reply reads one packet of the target.
func (t *sftpTracker) reply(typ byte, head []byte, length int) (bool, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.reading = nil
	if err := t.settle(); err != nil {
		return false, err
	}
	if typ == fxVersion {
		if v, _, ok := takeUint32(head); !ok || v > sftpVersion {
			return false, fmt.Errorf("sftp: client and target agreed on version %d, of which no true record can be made; let the client ask for version %d", v, sftpVersion)
		}
		return true, nil
	}
	f := &fields{b: head}
	id := f.u32()
	p, ok := t.pending[id]
	if f.bad || !ok {
		return false, fmt.Errorf("sftp: the target answered request %d, which nobody made", id)
	}
	delete(t.pending, id)
	if p.typ == fxOpen || p.typ == fxOpendir {
		t.opening--
	}
	result := "ok"
	switch typ {
	case fxStatus:
		if code := f.u32(); code != 0 {
			result = sftpStatus(code)
		}
		p.failed(result)
	case fxHandle:
		h := f.str()
		if f.bad {
			return false, errSFTPShort
		}
		if err := t.opened(h, p); err != nil {
			return false, err
		}
	case fxData:
		n := f.u32()
		if f.bad || int64(n) != int64(length-8) {
			return false, errSFTPShort
		}
		if p.file != nil && p.typ == fxRead {
			t.reading = p.file.read.at(p.offset)
		}
	case fxName:
		if p.typ == fxRealpath && (p.op.Path == "." || p.op.Path == "") {
			f.u32()
			if home := f.str(); !f.bad && strings.HasPrefix(home, "/") {
				t.home = home
			}
		}
	}
	if p.tell {
		op := p.op
		op.Result = result
		if err := t.emit(op); err != nil {
			return false, err
		}
	}
	if t.answered = p.file; typ == fxData {
		return true, nil // its content follows
	}
	return true, t.settle()
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
