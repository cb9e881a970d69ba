package pgproxy

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"

	"jit-gateway/internal/display"
)

// Request codes in the place of a protocol version (protocol-message-formats).
const (
	codeCancel = 80877102
	codeSSL    = 80877103
	codeGSS    = 80877104
)

// SQLSTATEs that the gateway itself answers with.
const (
	stateProtocol     = "08P01"
	stateUnsupported  = "0A000"
	stateAuth         = "28P01" // wrong, expired, revoked or foreign token, unknown user: all the same
	stateNotAllowed   = "28000"
	stateTooMany      = "53300"
	stateBudget       = "53400"
	stateAdmin        = "57P01"
	stateUpstream     = "08006"
	stateInternal     = "XX000"
	stateCanceled     = "57014"
	stateCannotNow    = "57P03"
	severityFatal     = "FATAL"
	severityError     = "ERROR"
	severityNotice    = "NOTICE"
	severityWarning   = "WARNING"
	maxErrorField     = 2000
	maxStartup        = 10000 // MAX_STARTUP_PACKET_LENGTH of the server
	maxAuthMessage    = 4096
	maxCancelSecret   = 256 // protocol 3.2
	maxMessage        = 1<<30 + 1<<20
	protocol30        = 3 << 16
	protocol32        = 3<<16 | 2
	protocolMajorMask = 0xffff0000
)

// A pgError is an answer to the client: what happened and the next step.
type pgError struct {
	Severity string // FATAL if empty
	Code     string
	Message  string
	Detail   string
	Hint     string
	// cause is for the log and the session row, never for the client.
	cause error
}

func (e *pgError) Error() string {
	if e.cause != nil {
		return e.Message + ": " + e.cause.Error()
	}
	return e.Message
}

func (e *pgError) Unwrap() error { return e.cause }

// fatal makes an error that ends the connection.
func fatal(code, format string, args ...any) *pgError {
	return &pgError{Code: code, Message: fmt.Sprintf(format, args...)}
}

func (e *pgError) hint(format string, args ...any) *pgError {
	e.Hint = fmt.Sprintf(format, args...)
	return e
}

func (e *pgError) because(err error) *pgError {
	if !errors.Is(err, e) { // else it would be its own cause
		e.cause = err
	}
	return e
}

// asPGError makes an answer of any error. What is not one already shows the
// client nothing of its text.
func asPGError(err error) *pgError {
	var p *pgError
	if errors.As(err, &p) {
		return p
	}
	return fatal(stateInternal, "the gateway could not serve the connection").because(err)
}

// encode returns e as an ErrorResponse, or a NoticeResponse where its severity
// is one of notices. Every field passes display: messages can quote peers.
func (e *pgError) encode() []byte {
	typ, sev := byte('E'), e.Severity
	if sev == "" {
		sev = severityFatal
	}
	if sev == severityNotice || sev == severityWarning {
		typ = 'N'
	}
	b := []byte{typ, 0, 0, 0, 0}
	field := func(k byte, v string) {
		if v == "" {
			return
		}
		b = append(b, k)
		b = append(b, strings.ReplaceAll(display.Line(v, maxErrorField), "\x00", "")...)
		b = append(b, 0)
	}
	field('S', sev)
	field('V', sev)
	field('C', e.Code)
	field('M', e.Message)
	field('D', e.Detail)
	field('H', e.Hint)
	b = append(b, 0)
	return finish(b)
}

// finish writes the length of the message that b is.
func finish(b []byte) []byte {
	binary.BigEndian.PutUint32(b[1:], uint32(len(b)-1))
	return b
}

// message frames body.
func message(typ byte, body ...[]byte) []byte {
	b := []byte{typ, 0, 0, 0, 0}
	for _, p := range body {
		b = append(b, p...)
	}
	return finish(b)
}

// authMessage is an AuthenticationXXX message.
func authMessage(code uint32, body ...[]byte) []byte {
	return message('R', append([][]byte{binary.BigEndian.AppendUint32(nil, code)}, body...)...)
}

// readMessage reads exactly one message of at most max body bytes, and
// nothing behind it: no byte is buffered, so none can be smuggled into the
// next phase.
func readMessage(r io.Reader, max int) (byte, []byte, error) {
	var h [5]byte
	if _, err := io.ReadFull(r, h[:]); err != nil {
		return 0, nil, err
	}
	n := int(int32(binary.BigEndian.Uint32(h[1:]))) - 4
	if n < 0 || n > max {
		return 0, nil, fatal(stateProtocol, "a message of type %q has the impossible or too large length %d", h[0], n+4)
	}
	body := make([]byte, n)
	if _, err := io.ReadFull(r, body); err != nil {
		return 0, nil, err
	}
	return h[0], body, nil
}

// cstring cuts a zero-terminated string from b.
func cstring(b []byte) (s string, rest []byte, ok bool) {
	for i, c := range b {
		if c == 0 {
			return string(b[:i]), b[i+1:], true
		}
	}
	return "", b, false
}

// errorFields reads the fields of an ErrorResponse or NoticeResponse body.
func errorFields(b []byte) (e pgError) {
	for len(b) > 1 && b[0] != 0 {
		k := b[0]
		v, rest, ok := cstring(b[1:])
		if !ok {
			v, rest = string(b[1:]), nil // cut off by our own limit
		}
		b = rest
		switch k {
		case 'V':
			e.Severity = v
		case 'S':
			if e.Severity == "" {
				e.Severity = v
			}
		case 'C':
			e.Code = v
		case 'M':
			e.Message = v
		case 'D':
			e.Detail = v
		case 'H':
			e.Hint = v
		}
	}
	return e
}
