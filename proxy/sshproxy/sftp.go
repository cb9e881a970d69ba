package sshproxy

import (
	"fmt"
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
