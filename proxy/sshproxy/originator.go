package sshproxy

import (
	"errors"
	"net"
	"strconv"
	"strings"
)

// maxHostName bounds the names that a client may ask for: DNS allows 253,
// socket paths 107.
const maxHostName = 255

// A direct is the payload of a direct-tcpip or forwarded-tcpip channel open
// (RFC 4254, 7.2).
type direct struct {
	Host       string
	Port       uint32
	OriginHost string
	OriginPort uint32
}

func parseDirect(b []byte) (direct, error) {
	var d direct
	host, b, ok := takeString(b)
	if !ok || len(host) == 0 || len(host) > maxHostName {
		return d, errors.New("the forward names no usable host")
	}
	port, b, ok := takeUint32(b)
	if !ok || port > 65535 {
		return d, errors.New("the forward names no usable port")
	}
	origin, b, ok := takeString(b)
	if !ok || len(origin) > maxHostName {
		return d, errors.New("the forward names no usable originator")
	}
	originPort, b, ok := takeUint32(b)
	if !ok || len(b) != 0 {
		return d, errors.New("the forward is malformed")
	}
	return direct{Host: string(host), Port: port, OriginHost: string(origin), OriginPort: originPort}, nil
}

// stdio reports whether the channel is a client's own standard input and
// output, as `-J` and `-W` open it: OpenSSH gives 127.0.0.1:65535 then. A
// `-L` listener gives the address of whoever connected to it, and anyone on
// the user's machine may: such a peer has to sign with the user's key.
func (d direct) stdio() bool { return d.OriginHost == "127.0.0.1" && d.OriginPort == 65535 }

// dest is the destination as rules and records write it.
func (d direct) dest() string {
	return net.JoinHostPort(strings.Trim(d.Host, "[]"), strconv.FormatUint(uint64(d.Port), 10))
}
