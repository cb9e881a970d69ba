package sshproxy

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// SFTP packet types (draft-ietf-secsh-filexfer-02, which OpenSSH speaks).
const (
	fxInit     = 1
	fxVersion  = 2
	fxOpen     = 3
	fxClose    = 4
	fxRead     = 5
	fxWrite    = 6
	fxLstat    = 7
	fxFstat    = 8
	fxSetstat  = 9
	fxFsetstat = 10
	fxOpendir  = 11
	fxReaddir  = 12
	fxRemove   = 13
	fxMkdir    = 14
	fxRmdir    = 15
	fxRealpath = 16
	fxStat     = 17
	fxRename   = 18
	fxReadlink = 19
	fxSymlink  = 20
	fxStatus   = 101
	fxHandle   = 102
	fxData     = 103
	fxName     = 104
	fxAttrs    = 105
	fxExtended = 200
	fxExtReply = 201
)

const (
	fxEOF       = 1 // SSH_FX_EOF, a status
	sftpVersion = 3 // later ones have other fields; OpenSSH has no later one
)

const (
	maxSFTPPacket = 1 << 20 // OpenSSH's server takes and sends 256 KiB at most
	maxSFTPHead   = 1 << 16 // what is read of a packet: two paths and attributes
	maxSFTPHandle = 256     // the draft's limit
)

// sftpFrames cuts one direction of an SFTP stream into packets. It keeps the
// part of each packet that says what it is about, and hands on file content
// as it comes, so that memory does not depend on what the peer sends.
type sftpFrames struct {
	keep func(typ byte) int // how much of a packet's body to keep, before packet is called
	// packet is called with the kept part of the body, and its whole length.
	// Where it says false the packet is not passed on.
	packet func(typ byte, head []byte, length int) (bool, error)
	body   func(p []byte) error // the rest of the body, in pieces
	pass   func(p []byte) error // nil: the stream flows beside us

	head   []byte // type, length and the kept part
	want   int    // length of head when it is complete; 0: before the length is known
	rest   int    // of the body, after head
	inBody bool
	drop   bool
}

// boundary reports whether the stream stands between two packets.
func (f *sftpFrames) boundary() bool { return !f.inBody && len(f.head) == 0 }

// feed takes the next bytes. After an error the stream is not SFTP.
func (f *sftpFrames) feed(b []byte) error {
	for len(b) > 0 {
		if f.inBody {
			k := min(len(b), f.rest)
			if err := f.take(b[:k]); err != nil {
				return err
			}
			b, f.rest = b[k:], f.rest-k
			if f.rest == 0 {
				f.reset()
			}
			continue
		}
		target := f.want
		if target == 0 {
			target = 5
		}
		k := min(len(b), target-len(f.head))
		f.head = append(f.head, b[:k]...)
		b = b[k:]
		if len(f.head) < target {
			return nil
		}
		if f.want == 0 {
			length := binary.BigEndian.Uint32(f.head)
			if length < 1 || length > maxSFTPPacket {
				return fmt.Errorf("sftp: a packet of impossible length %d", length)
			}
			f.want = 5 + min(f.keep(f.head[4]), int(length)-1)
			if len(f.head) < f.want {
				continue
			}
		}
		if err := f.begin(); err != nil {
			return err
		}
	}
	return nil
}

func (f *sftpFrames) begin() error {
	length := int(binary.BigEndian.Uint32(f.head)) - 1
	ok, err := f.packet(f.head[4], f.head[5:], length)
	if err != nil {
		return err
	}
	f.drop = !ok
	if ok && f.pass != nil {
		if err := f.pass(f.head); err != nil {
			return err
		}
	}
	f.rest = length - (len(f.head) - 5)
	f.inBody = f.rest > 0
	if !f.inBody {
		f.reset()
	}
	return nil
}

func (f *sftpFrames) take(p []byte) error {
	if f.drop {
		return nil
	}
	if err := f.body(p); err != nil {
		return err
	}
	if f.pass != nil {
		return f.pass(p)
	}
	return nil
}

func (f *sftpFrames) reset() {
	f.head, f.want, f.rest, f.inBody, f.drop = f.head[:0], 0, 0, false, false
	if cap(f.head) > 4096 {
		f.head = nil
	}
}

var errSFTPShort = errors.New("sftp: a packet is shorter than its fields")

// A fields reads the fields of a packet; the first that is missing makes it bad.
type fields struct {
	b   []byte
	bad bool
}

func (f *fields) u32() uint32 {
	n, rest, ok := takeUint32(f.b)
	f.b, f.bad = rest, f.bad || !ok
	return n
}

func (f *fields) u64() uint64 {
	hi, lo := f.u32(), f.u32()
	return uint64(hi)<<32 | uint64(lo)
}

func (f *fields) str() string {
	s, rest, ok := takeString(f.b)
	f.b, f.bad = rest, f.bad || !ok
	return string(s)
}
