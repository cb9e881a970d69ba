package sshproxy

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"

	"golang.org/x/crypto/ssh"
)

// serverVersion is our identification; RFC 4253, 4.2 allows no minus sign
// in the software part.
const serverVersion = "SSH-2.0-JITGateway"

const (
	maxVersionLine = 255   // RFC 4253, 4.2
	maxFirstPacket = 35000 // RFC 4253, 6.1; a KEXINIT is 1 to 2 KiB
)

// A helloConn is a connection of which our version line was sent and the
// client's first packet was seen before the handshake begins: the SSH library
// wants its cipher list at the beginning, and the best list depends on the
// client. Reads give the peeked bytes again; the library's own version line,
// which is the same, is swallowed.
type helloConn struct {
	net.Conn
	peeked []byte
	skip   int
}

// hello sends the version line and peeks at the client's KEXINIT.
func hello(c net.Conn) (*helloConn, kexInit, error) {
	h := &helloConn{Conn: c}
	line := serverVersion + "\r\n"
	if _, err := c.Write([]byte(line)); err != nil {
		return nil, kexInit{}, err
	}
	h.skip = len(line)
	buf := make([]byte, 0, 4096)
	for {
		init, done, err := parseHello(buf)
		if err != nil {
			return nil, kexInit{}, err
		}
		if done {
			h.peeked = buf
			return h, init, nil
		}
		if len(buf) == cap(buf) {
			buf = slices.Grow(buf, len(buf))
		}
		n, err := c.Read(buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		if n == 0 && err != nil {
			return nil, kexInit{}, err
		}
	}
}

func (h *helloConn) Read(p []byte) (int, error) {
	if len(h.peeked) > 0 {
		n := copy(p, h.peeked)
		if h.peeked = h.peeked[n:]; len(h.peeked) == 0 {
			h.peeked = nil
		}
		return n, nil
	}
	return h.Conn.Read(p)
}

func (h *helloConn) Write(p []byte) (int, error) {
	if h.skip > 0 {
		n := min(h.skip, len(p))
		h.skip -= n
		if n == len(p) {
			return n, nil
		}
		m, err := h.Conn.Write(p[n:])
		return n + m, err
	}
	return h.Conn.Write(p)
}

// kexInit is what we read of a client's first packet.
type kexInit struct {
	Version   string
	Kex       []string
	CiphersIn []string // client to server
	CiphersTo []string // server to client
	MACsIn    []string
	MACsTo    []string
}

// parseHello reads a version line and a KEXINIT from the beginning of b; done
// is false while bytes are missing. A first packet of another type is not our
// business: the handshake refuses it in a moment.
func parseHello(b []byte) (init kexInit, done bool, err error) {
	nl := bytes.IndexByte(b, '\n')
	if nl < 0 {
		if len(b) > maxVersionLine {
			return init, false, errors.New("the client's version line is too long")
		}
		return init, false, nil
	}
	if nl > maxVersionLine || !bytes.HasPrefix(b, []byte("SSH-")) {
		return init, false, errors.New("the client does not speak SSH")
	}
	init.Version = strings.TrimRight(string(b[:nl]), "\r")
	b = b[nl+1:]
	if len(b) < 6 {
		return init, false, nil
	}
	length := binary.BigEndian.Uint32(b)
	if length < 2 || length > maxFirstPacket {
		return init, false, fmt.Errorf("the client's first packet has an impossible length of %d", length)
	}
	if uint32(len(b)-4) < length {
		return init, false, nil
	}
	padding := uint32(b[4])
	if padding+2 > length {
		return init, false, errors.New("the client's first packet is all padding")
	}
	payload := b[5 : 4+length-padding]
	if payload[0] != 20 { // SSH_MSG_KEXINIT
		return init, true, nil
	}
	if len(payload) < 17 {
		return init, false, errors.New("the client's KEXINIT is too short")
	}
	payload = payload[17:]
	for i := range 6 {
		list, rest, ok := takeString(payload)
		if !ok {
			return init, false, errors.New("the client's KEXINIT is malformed")
		}
		payload = rest
		names := strings.Split(string(list), ",")
		switch i {
		case 0:
			init.Kex = names
		case 2:
			init.CiphersIn = names
		case 3:
			init.CiphersTo = names
		case 4:
			init.MACsIn = names
		case 5:
			init.MACsTo = names
		}
	}
	return init, true, nil
}

// ciphers is AES-GCM alone where the client has it in both directions (Go's
// is several times as fast as its chacha20, and a client's own preference
// would pick the latter); otherwise all that the library thinks safe, since
// a list of GCM alone locks out dbclient.
func (k kexInit) ciphers() []string {
	gcm := []string{ssh.CipherAES128GCM, ssh.CipherAES256GCM}
	has := func(list []string) bool {
		return slices.ContainsFunc(gcm, func(c string) bool { return slices.Contains(list, c) })
	}
	if has(k.CiphersIn) && has(k.CiphersTo) {
		return gcm
	}
	return []string{ssh.CipherChaCha20Poly1305, ssh.CipherAES128GCM, ssh.CipherAES256GCM, ssh.CipherAES256CTR, ssh.CipherAES192CTR, ssh.CipherAES128CTR}
}

// macs are those that seal what is encrypted already, where the client has
// one in both directions; libssh2 before 1.11 has none.
func (k kexInit) macs() []string {
	etm := []string{ssh.HMACSHA256ETM, ssh.HMACSHA512ETM}
	has := func(list []string) bool {
		return slices.ContainsFunc(etm, func(m string) bool { return slices.Contains(list, m) })
	}
	if has(k.MACsIn) && has(k.MACsTo) {
		return etm
	}
	return append(etm, ssh.HMACSHA256, ssh.HMACSHA512)
}

// takeString reads one SSH string (RFC 4251, 5).
func takeString(b []byte) (s, rest []byte, ok bool) {
	if len(b) < 4 {
		return nil, nil, false
	}
	n := binary.BigEndian.Uint32(b)
	if uint64(n) > uint64(len(b)-4) {
		return nil, nil, false
	}
	return b[4 : 4+n], b[4+n:], true
}

// takeUint32 reads one big-endian number.
func takeUint32(b []byte) (n uint32, rest []byte, ok bool) {
	if len(b) < 4 {
		return 0, nil, false
	}
	return binary.BigEndian.Uint32(b), b[4:], true
}
