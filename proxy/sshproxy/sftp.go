package sshproxy

import (
	"crypto/sha256"
	"encoding/hex"
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
	handles map[string]*sftpFile
	home    string // what the target answered to realpath "."

	toTarget, toClient sftpFrames
	writing, reading   *sftpStream // where the body that is passing goes
	refuse             func(id uint32, code uint32, text string) error
}

type sftpPending struct {
	op     sftpOp
	typ    byte
	tell   bool // the answer is an event
	handle string
	offset uint64
}

// An sftpFile is an open handle.
type sftpFile struct {
	path        string
	dir         bool
	read, write sftpStream
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
	t := &sftpTracker{emit: emit, rule: rule, pending: map[uint32]sftpPending{}, handles: map[string]*sftpFile{}}
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
	case fxRead:
		p.handle, p.offset = f.str(), f.u64()
		f.u32()
		r.reads = true
	case fxWrite:
		h, offset := f.str(), f.u64()
		n := f.u32()
		r.writes = true
		if f.bad || len(h) > maxSFTPHandle || int64(n) != int64(length-(4+4+len(h)+8+4)) {
			return 0, 0, "", errSFTPShort
		}
		if file := t.handles[h]; file != nil {
			t.writing = file.write.at(offset)
			t.writing.take(f.b)
		}
	case fxFstat, fxReaddir:
		p.handle = f.str()
	case fxFsetstat:
		p.handle = f.str()
		if file := t.handles[p.handle]; file != nil {
			p.op.Path = file.path
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
		t.extended(f, &p, &r)
	default:
		r.unknown = true
		p.op.Op = fmt.Sprintf("type %d", typ)
	}
	if f.bad {
		return 0, 0, "", errSFTPShort
	}
	if _, dup := t.pending[id]; dup || len(t.pending) >= maxSFTPPending {
		return 0, 0, "", fmt.Errorf("sftp: request %d is used twice, or too many are unanswered", id)
	}
	if length > maxSFTPHead && typ != fxWrite {
		return 0, 0, "", fmt.Errorf("sftp: a request of %d bytes", length)
	}
	if t.rule != nil {
		if why := t.rule.refuses(r, t.home); why != "" {
			t.writing = nil
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
	if typ == fxClose {
		if file := t.handles[p.handle]; file != nil {
			delete(t.handles, p.handle)
			if err := t.closed(file, "ok"); err != nil {
				return 0, 0, "", err
			}
		}
	}
	t.pending[id] = p
	return id, 0, "", nil
}

// reply reads one packet of the target.
func (t *sftpTracker) reply(typ byte, head []byte, length int) (bool, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.reading = nil
	if typ == fxVersion {
		return true, nil
	}
	f := &fields{b: head}
	id := f.u32()
	p, ok := t.pending[id]
	if f.bad || !ok {
		return false, fmt.Errorf("sftp: the target answered request %d, which nobody made", id)
	}
	delete(t.pending, id)
	result := "ok"
	switch typ {
	case fxStatus:
		if code := f.u32(); code != 0 {
			result = sftpStatus(code)
		}
	case fxHandle:
		h := f.str()
		if f.bad || len(h) > maxSFTPHandle {
			return false, errSFTPShort
		}
		if len(t.handles) >= maxSFTPHandles {
			return false, fmt.Errorf("sftp: more than %d open files", maxSFTPHandles)
		}
		t.handles[h] = &sftpFile{path: p.op.Path, dir: p.typ == fxOpendir}
	case fxData:
		n := f.u32()
		if f.bad || int64(n) != int64(length-8) {
			return false, errSFTPShort
		}
		if file := t.handles[p.handle]; file != nil && p.typ == fxRead {
			t.reading = file.read.at(p.offset)
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
		return true, t.emit(op)
	}
	return true, nil
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
	for h, file := range t.handles {
		delete(t.handles, h)
		if err := t.closed(file, "cut off"); err != nil {
			return err
		}
	}
	return nil
}
