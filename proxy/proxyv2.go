package proxy

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"syscall"
	"time"
)

// The PROXY protocol, version 2, as haproxy's doc/proxy-protocol.txt has it,
// section 2.2: signature, version and command, family, length, addresses, TLVs.
const (
	proxySignature = "\r\n\r\n\x00\r\nQUIT\n"
	proxyHead      = len(proxySignature) + 4
	// maxProxyTail bounds addresses and TLVs; the longest known need some 500 bytes.
	maxProxyTail = 4096
)

// errNoHeader: the balancer connected and left, as a health check does.
var errNoHeader = errors.New("no PROXY header")

// readSource reads a PROXY header, and nothing after it, from a balancer's
// connection. The zero address is the balancer's own connection (LOCAL).
func readSource(conn net.Conn) (netip.AddrPort, error) {
	if err := conn.SetReadDeadline(time.Now().Add(headerTimeout)); err != nil {
		return netip.AddrPort{}, err
	}
	defer conn.SetReadDeadline(time.Time{})
	return parsePROXY(conn)
}

func parsePROXY(r io.Reader) (netip.AddrPort, error) {
	var none netip.AddrPort
	head := make([]byte, proxyHead)
	if n, err := io.ReadFull(r, head); err != nil {
		if n == 0 {
			return none, errNoHeader
		}
		return none, fmt.Errorf("read PROXY header: %w", err)
	}
	if string(head[:len(proxySignature)]) != proxySignature {
		return none, errors.New("no PROXY v2 signature")
	}
	command, family := head[12], head[13]
	if command>>4 != 2 {
		return none, fmt.Errorf("PROXY version %d, want 2", command>>4)
	}
	length := int(binary.BigEndian.Uint16(head[14:]))
	if length > maxProxyTail {
		return none, fmt.Errorf("PROXY header of %d bytes is too long", length)
	}
	tail := make([]byte, length)
	if _, err := io.ReadFull(r, tail); err != nil {
		return none, fmt.Errorf("read PROXY addresses: %w", err)
	}
	switch command & 0xf {
	case 0: // LOCAL: the balancer itself
		return none, nil
	case 1:
	default:
		return none, fmt.Errorf("unknown PROXY command %d", command&0xf)
	}
	size := 4
	switch family {
	case 0x11: // TCP over IPv4
	case 0x21: // TCP over IPv6
		size = 16
	default:
		return none, fmt.Errorf("PROXY family 0x%02x is not TCP", family)
	}
	if length < 2*size+4 {
		return none, fmt.Errorf("PROXY addresses of %d bytes are too short", length)
	}
	addr, _ := netip.AddrFromSlice(tail[:size]) // 4 or 16 bytes always are one
	source := netip.AddrPortFrom(addr.Unmap(), binary.BigEndian.Uint16(tail[2*size:]))
	if !source.Addr().IsValid() || source.Addr().IsUnspecified() {
		return none, fmt.Errorf("PROXY source %s is nobody", source)
	}
	return source, nil
}

// sourceConn is a connection behind a balancer: its peer is the real one.
type sourceConn struct {
	net.Conn
	remote net.Addr
}

func (c *sourceConn) RemoteAddr() net.Addr { return c.remote }

// SyscallConn lets Buffered use the descriptor: nothing was read ahead.
func (c *sourceConn) SyscallConn() (syscall.RawConn, error) {
	if s, ok := c.Conn.(syscall.Conn); ok {
		return s.SyscallConn()
	}
	return nil, errors.New("the connection has no descriptor")
}

// CloseWrite half-closes, where the connection can.
func (c *sourceConn) CloseWrite() error { return closeWrite(c.Conn) }

func closeWrite(c net.Conn) error {
	if h, ok := c.(interface{ CloseWrite() error }); ok {
		return h.CloseWrite()
	}
	return errors.New("the connection cannot be half closed")
}
