package pgproxy

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"net"
	"strings"
)

const (
	mechSCRAM     = "SCRAM-SHA-256"
	mechSCRAMPlus = "SCRAM-SHA-256-PLUS"
)

// A scramServer is the server's half of one SCRAM-SHA-256(-PLUS) exchange
// (RFC 5802, 7677) as PostgreSQL speaks it. It holds no secret: what the
// proof is matched against comes in between.
type scramServer struct {
	endPoint []byte // tls-server-end-point of our certificate; nil: PLUS is not offered

	gs2    []byte // gs2-header as the client sent it
	plus   bool
	bare   string // client-first-message-bare
	nonce  string
	first  string // server-first-message
	random []byte // for tests; crypto/rand if nil
}

// mechanisms is AuthenticationSASL with what is offered.
func (s *scramServer) mechanisms() []byte {
	var b []byte
	if s.endPoint != nil {
		b = append(append(b, mechSCRAMPlus...), 0)
	}
	b = append(append(b, mechSCRAM...), 0)
	return authMessage(10, b, []byte{0})
}

// clientFirst reads the SASLInitialResponse.
func (s *scramServer) clientFirst(body []byte) error {
	mech, rest, ok := cstring(body)
	if !ok || len(rest) < 4 {
		return fatal(stateProtocol, "malformed SASLInitialResponse")
	}
	n := int32(binary.BigEndian.Uint32(rest))
	data := rest[4:]
	if n < 0 || int(n) != len(data) { // -1, no initial response, is not possible in SCRAM
		return fatal(stateProtocol, "malformed SASLInitialResponse")
	}
	switch {
	case mech == mechSCRAM:
	case mech == mechSCRAMPlus && s.endPoint != nil:
		s.plus = true
	default:
		return fatal(stateProtocol, "the SASL mechanism %q was not offered", mech)
	}
	return s.firstMessage(data)
}

// firstMessage reads gs2-header and client-first-message-bare.
func (s *scramServer) firstMessage(data []byte) error {
	malformed := fatal(stateProtocol, "malformed SCRAM message")
	if bytes.IndexByte(data, 0) >= 0 {
		return malformed
	}
	flag, rest, ok := strings.Cut(string(data), ",")
	if !ok {
		return malformed
	}
	switch {
	case flag == "n" && !s.plus:
	case flag == "y" && !s.plus:
		// The client can bind and believes that we cannot: where we offered
		// it, somebody between us took the offer away (RFC 5802, 6).
		if s.endPoint != nil {
			return fatal(stateNotAllowed, "SCRAM channel binding was taken out of the gateway's offer on its way to the client")
		}
	case strings.HasPrefix(flag, "p=") && s.plus:
		if flag != "p=tls-server-end-point" {
			return fatal(stateProtocol, "unsupported SCRAM channel-binding type %q", flag[2:])
		}
	default:
		return fatal(stateProtocol, "the SCRAM channel-binding flag does not fit the mechanism")
	}
	authzid, bare, ok := strings.Cut(rest, ",")
	if !ok {
		return malformed
	}
	if authzid != "" {
		return fatal(stateUnsupported, "SCRAM authorization identities are not supported")
	}
	s.gs2 = data[:len(data)-len(bare)]
	s.bare = bare
	// username, which PostgreSQL ignores: the startup packet named the user.
	user, attrs, ok := strings.Cut(bare, ",")
	if !ok || !strings.HasPrefix(user, "n=") { // also refuses the reserved m=
		return malformed
	}
	nonce, _, _ := strings.Cut(attrs, ",")
	if nonce, ok = strings.CutPrefix(nonce, "r="); !ok || len(nonce) < 8 || !printable(nonce) {
		return malformed
	}
	s.nonce = nonce
	return nil
}

// serverFirst is AuthenticationSASLContinue.
func (s *scramServer) serverFirst(salt []byte, iterations int) []byte {
	random := s.random
	if random == nil {
		random = make([]byte, 18)
		rand.Read(random)
	}
	s.nonce += base64.StdEncoding.EncodeToString(random)
	s.first = fmt.Sprintf("r=%s,s=%s,i=%d", s.nonce, base64.StdEncoding.EncodeToString(salt), iterations)
	return authMessage(11, []byte(s.first))
}

// clientFinal reads the SASLResponse: what the proof signs, and the proof.
func (s *scramServer) clientFinal(body []byte) (signed, proof []byte, err error) {
	malformed := fatal(stateProtocol, "malformed SCRAM message")
	msg := string(body)
	i := strings.LastIndex(msg, ",p=")
	if i < 0 {
		return nil, nil, malformed
	}
	without := msg[:i]
	if proof, err = base64.StdEncoding.Strict().DecodeString(msg[i+3:]); err != nil || len(proof) != 32 {
		return nil, nil, malformed
	}
	binding, rest, ok := strings.Cut(without, ",")
	if binding, ok2 := strings.CutPrefix(binding, "c="); !ok || !ok2 {
		return nil, nil, malformed
	} else {
		want := s.gs2
		if s.plus {
			want = append(bytes.Clone(want), s.endPoint...)
		}
		if binding != base64.StdEncoding.EncodeToString(want) {
			return nil, nil, fatal(stateNotAllowed, "the SCRAM channel binding does not fit this connection: somebody is between the client and the gateway")
		}
	}
	nonce, _, _ := strings.Cut(rest, ",")
	if nonce != "r="+s.nonce {
		return nil, nil, malformed
	}
	return []byte(s.bare + "," + s.first + "," + without), proof, nil
}

// serverFinal is AuthenticationSASLFinal.
func serverFinal(signature []byte) []byte {
	return authMessage(12, []byte("v="+base64.StdEncoding.EncodeToString(signature)))
}

func printable(s string) bool {
	for i := range len(s) {
		if s[i] < 0x21 || s[i] > 0x7e || s[i] == ',' {
			return false
		}
	}
	return true
}

// readSASL reads one 'p' message; anything else is an error, a second
// StartupMessage included (CVE-2026-107350).
func readSASL(c net.Conn) ([]byte, error) {
	typ, body, err := readMessage(c, maxAuthMessage)
	if err != nil {
		return nil, err
	}
	if typ != 'p' {
		return nil, fatal(stateProtocol, "expected a SASL response, got a message of type %q", typ)
	}
	return body, nil
}
