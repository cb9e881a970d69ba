package sshproxy

import (
	"errors"
	"fmt"
	"strings"
)

// extended reads the extensions that OpenSSH has.
func (t *sftpTracker) extended(f *fields, p *sftpPending, r *sftpRequest) error {
	name := f.str()
	switch name {
	case "posix-rename@openssh.com":
		p.op = sftpOp{Op: "rename", Path: f.str(), To: f.str()}
		p.tell, r.writes, r.paths = true, true, []string{p.op.Path, p.op.To}
	case "hardlink@openssh.com":
		p.op.Op, p.op.To, p.op.Path = "hardlink", f.str(), f.str()
		p.tell, r.writes, r.links, r.paths = true, true, true, []string{p.op.Path, p.op.To}
	case "lsetstat@openssh.com":
		p.op = sftpOp{Op: "setstat", Path: f.str()}
		p.tell, r.writes, r.paths = true, true, []string{p.op.Path}
	case "statvfs@openssh.com":
		r.paths = []string{f.str()}
	case "copy-data":
		from, err := t.file(f.str(), true)
		f.u64()
		f.u64()
		to, err2 := t.file(f.str(), true)
		if err := errors.Join(err, err2); err != nil {
			return err
		}
		p.op = sftpOp{Op: "copy", Path: from.path, To: to.path}
		p.tell, r.reads, r.writes = true, true, true
	case "fsync@openssh.com":
		_, err := t.file(f.str(), false)
		r.writes = true
		return err
	case "fstatvfs@openssh.com", "limits@openssh.com", "expand-path@openssh.com", "users-groups-by-id@openssh.com", "home-directory":
	default:
		r.unknown = true
		p.op, p.tell = sftpOp{Op: "extension " + name}, true
	}
	return nil
}

func openFlags(flags uint32) string {
	var words []string
	for i, w := range []string{"read", "write", "append", "create", "truncate", "exclusive"} {
		if flags&(1<<i) != 0 {
			words = append(words, w)
		}
	}
	return strings.Join(words, ",")
}

func sftpName(typ byte) string {
	names := map[byte]string{fxOpen: "open", fxRead: "read", fxWrite: "write", fxLstat: "stat", fxStat: "stat", fxOpendir: "list", fxReadlink: "readlink"}
	if n := names[typ]; n != "" {
		return n
	}
	return fmt.Sprintf("type %d", typ)
}

func sftpStatus(code uint32) string {
	texts := []string{"ok", "end of file", "no such file", "permission denied", "failure", "bad message", "no connection", "connection lost", "not supported"}
	if int(code) < len(texts) {
		return texts[code]
	}
	return fmt.Sprintf("status %d", code)
}
