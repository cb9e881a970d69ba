package pgproxy

import (
	"bytes"
	"encoding/binary"
	"slices"
	"strings"
)

// A startup is what the StartupMessage said.
type startup struct {
	version  uint32
	user     string
	database string
	params   []param  // all others, in order, without user, database and replication
	unknown  []string // _pq_. options, which we have none of
}

type param struct{ name, value string }

// get returns the last value of a run-time parameter, as the server would.
func (s *startup) get(name string) string {
	for _, p := range slices.Backward(s.params) {
		if strings.EqualFold(p.name, name) {
			return p.value
		}
	}
	return ""
}

// A cancelRequest names the session whose statement is to be cancelled.
type cancelRequest struct {
	pid    uint32
	secret []byte
}

// parseStartup reads a StartupMessage from behind its length and version. It
// has been limited to maxStartup bytes.
func parseStartup(version uint32, b []byte) (*startup, error) {
	s := &startup{version: version}
	if version&protocolMajorMask != protocol30 {
		return nil, fatal(stateUnsupported, "protocol %d.%d is not supported: the gateway speaks 3.0 to 3.2", version>>16, version&0xffff)
	}
	for {
		if len(b) == 0 {
			return nil, fatal(stateProtocol, "the startup packet has no terminator")
		}
		if b[0] == 0 {
			b = b[1:]
			break
		}
		name, rest, ok := cstring(b)
		if !ok {
			return nil, fatal(stateProtocol, "the startup packet is cut off in a parameter's name")
		}
		value, rest, ok := cstring(rest)
		if !ok {
			return nil, fatal(stateProtocol, "the startup packet is cut off in a parameter's value")
		}
		b = rest
		switch {
		case name == "user":
			s.user = value
		case name == "database":
			s.database = value
		case name == "replication":
			if !isFalse(value) {
				return nil, fatal(stateNotAllowed, "replication connections are refused: the gateway could not record what they carry").
					hint("Use pg_dump for a copy of the data.")
			}
		case strings.HasPrefix(name, "_pq_."):
			s.unknown = append(s.unknown, name)
		default:
			s.params = append(s.params, param{name, value})
		}
	}
	if len(b) != 0 {
		return nil, fatal(stateProtocol, "the startup packet goes on behind its terminator")
	}
	if s.user == "" {
		return nil, fatal(stateNotAllowed, "the startup packet names no user")
	}
	if s.database == "" {
		s.database = s.user // as the server does
	}
	return s, nil
}

// isFalse is the server's parse_bool for the values that mean false.
func isFalse(v string) bool {
	v = strings.ToLower(v)
	return v != "" && v != "o" && (strings.HasPrefix("false", v) || strings.HasPrefix("no", v) || strings.HasPrefix("off", v) || v == "0")
}

// parseCancel reads a CancelRequest from behind its length and code.
func parseCancel(b []byte) (*cancelRequest, error) {
	if len(b) < 8 || len(b) > 4+maxCancelSecret {
		return nil, fatal(stateProtocol, "a cancel request has the impossible length %d", len(b)+8)
	}
	return &cancelRequest{pid: binary.BigEndian.Uint32(b), secret: bytes.Clone(b[4:])}, nil
}

// negotiate answers a client that asked for a newer minor version, or for
// protocol options: nil if there is nothing to negotiate.
func (s *startup) negotiate() []byte {
	if s.version <= protocol32 && len(s.unknown) == 0 {
		return nil
	}
	newest := min(s.version, protocol32)
	s.version = newest
	// The field is the whole version in servers since 18; libpq before 18
	// reads it as such too.
	b := binary.BigEndian.AppendUint32(nil, newest)
	b = binary.BigEndian.AppendUint32(b, uint32(len(s.unknown)))
	for _, o := range s.unknown {
		b = append(append(b, o...), 0)
	}
	return message('v', b)
}

// keyLength is how long a cancel secret the client can hold.
func (s *startup) keyLength() int {
	if s.version >= protocol32 {
		return 32
	}
	return 4
}

// encodeStartup makes the StartupMessage that goes to the database. 3.0 is
// enough there: the longer cancel keys of 3.2 are ours to give to clients.
func encodeStartup(params []param) []byte {
	b := binary.BigEndian.AppendUint32(make([]byte, 4, 256), protocol30)
	for _, p := range params {
		b = append(append(b, p.name...), 0)
		b = append(append(b, p.value...), 0)
	}
	b = append(b, 0)
	binary.BigEndian.PutUint32(b, uint32(len(b)))
	return b
}
