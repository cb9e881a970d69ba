package command

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"
)

// The administrators' socket carries frames: one byte of type, four bytes of
// length, big endian, then that many bytes.
const (
	frameHello  = 'h' // client: JSON of hello, once, first
	frameInput  = 'i' // client: bytes of stdin; empty: end of stdin. Answers one frameWant
	frameSize   = 'w' // client: JSON of a size
	frameSignal = 's' // client: it was interrupted
	frameOut    = 'o' // server: bytes for stdout
	frameErr    = 'e' // server: bytes for stderr
	frameWant   = 'r' // server: it wants input; so stdin that no command reads stays unread
	frameEcho   = 't' // server: one byte, 0 or 1: echo off or on
	frameExit   = 'x' // server: one byte, the exit status; last
)

// maxFrame bounds one frame; a hello is a command line.
const maxFrame = 128 << 10

// chunk is how much output one frame carries.
const chunk = 32 << 10

// hello begins a call.
type hello struct {
	Version int      `json:"version"`
	Args    []string `json:"args"`
	TTY     bool     `json:"tty,omitempty"`  // stdin and stdout are one terminal, in raw mode from now on
	Echo    bool     `json:"echo,omitempty"` // stdin is a terminal whose echo can be switched
	Term    string   `json:"term,omitempty"`
	Cols    int      `json:"cols,omitempty"`
	Rows    int      `json:"rows,omitempty"`
}

const protocolVersion = 1

type winsize struct {
	Cols int `json:"cols"`
	Rows int `json:"rows"`
}

// frames writes whole frames, from any goroutine.
type frames struct {
	mu sync.Mutex
	w  io.Writer
}

func (f *frames) send(kind byte, p []byte) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	buf := make([]byte, 5, 5+len(p))
	buf[0] = kind
	binary.BigEndian.PutUint32(buf[1:], uint32(len(p)))
	_, err := f.w.Write(append(buf, p...))
	return err
}

func (f *frames) sendJSON(kind byte, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encode a frame: %w", err)
	}
	return f.send(kind, b)
}

// stream is an io.Writer whose bytes are frames of one kind.
type stream struct {
	f    *frames
	kind byte
}

func (s stream) Write(p []byte) (int, error) {
	for n := 0; n < len(p); {
		part := p[n:min(n+chunk, len(p))]
		if err := s.f.send(s.kind, part); err != nil {
			return n, err
		}
		n += len(part)
	}
	return len(p), nil
}

var errFrame = errors.New("a malformed frame on the administrators' socket")

// readFrame reads one frame; io.EOF only between frames.
func readFrame(r io.Reader) (kind byte, p []byte, err error) {
	var head [5]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		if errors.Is(err, io.ErrUnexpectedEOF) {
			err = errFrame
		}
		return 0, nil, err
	}
	n := binary.BigEndian.Uint32(head[1:])
	if n > maxFrame {
		return 0, nil, fmt.Errorf("%w: %d bytes, at most %d", errFrame, n, maxFrame)
	}
	p = make([]byte, n)
	if _, err := io.ReadFull(r, p); err != nil {
		return 0, nil, errFrame
	}
	return head[0], p, nil
}
