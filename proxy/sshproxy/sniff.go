package sshproxy

import (
	"bytes"
	"encoding/binary"
)

// sniffBytes is how far into a forward a hidden SSH or PostgreSQL connection
// is looked for, in each direction.
const sniffBytes = 4096

// A sniffer looks at the beginning of one direction of a forward. It is a
// net for the honest and the careless: who wants to hide a protocol in
// another can, which is why forwards need a rule in the first place.
type sniffer struct {
	seen []byte
	done bool
}

// sees returns what is hidden in the stream, once.
func (s *sniffer) sees(p []byte) string {
	if s.done {
		return ""
	}
	s.seen = append(s.seen, p[:min(len(p), sniffBytes-len(s.seen))]...)
	b := s.seen
	if len(b) >= sniffBytes {
		s.done, s.seen = true, nil
	}
	switch {
	case bytes.Contains(b, []byte("SSH-2.0-")), bytes.Contains(b, []byte("SSH-1.")):
		return "SSH"
	case isPostgres(b):
		return "PostgreSQL"
	case len(b) > 2 && b[0] == 0x16 && b[1] == 3 && bytes.Contains(b, []byte("\x0apostgresql")): // ALPN of direct TLS
		return "PostgreSQL"
	}
	return ""
}

// isPostgres recognises the first message of a PostgreSQL client.
func isPostgres(b []byte) bool {
	if len(b) < 8 {
		return false
	}
	length, code := binary.BigEndian.Uint32(b), binary.BigEndian.Uint32(b[4:])
	if length < 8 || length > 10000 {
		return false
	}
	if code>>16 == 3 { // a startup's first parameter has a name; Kafka's metadata requests look the same up to here
		return len(b) > 8 && (b[8] == '_' || b[8]|0x20 >= 'a' && b[8]|0x20 <= 'z')
	}
	return code>>16 == 1234 && code&0xffff >= 5678 && code&0xffff <= 5680
}
