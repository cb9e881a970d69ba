package sink

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"time"
)

// Syslog sends RFC 5424 messages over TLS with octet counting (RFC 5425). The
// receiver acknowledges nothing: what was written shortly before a connection
// broke may be lost there. So a broken batch is sent again whole, and before it
// what was sent in the last minute of the connection that broke.
type Syslog struct {
	name, addr string
	config     *tls.Config
	host       string
	conn       net.Conn
	unsure     []sentFrame // in order
	sure       bool        // they were written to this connection
	now        func() time.Time
}

// sentFrame is a message that was written, and that the receiver may not have read.
type sentFrame struct {
	at    time.Time
	frame []byte
}

const (
	facility      = 13 // log audit, RFC 5424 section 6.2.1
	syslogTimeout = 10 * time.Second

	// What a receiver that reads at all has read: after a minute, and beyond
	// what may lie in the buffers between.
	unsureTime  = time.Minute
	unsureBytes = 8 << 20
)

// NewSyslog returns the sink. addr is host:port (6514 by custom); config must
// verify the receiver.
func NewSyslog(name, addr string, config *tls.Config) *Syslog {
	host, err := os.Hostname()
	if err != nil {
		host = "-"
	}
	return &Syslog{name: name, addr: addr, config: config, host: printable(host, 255), now: time.Now}
}

// Name implements Sink.
func (s *Syslog) Name() string { return s.name }

// Send implements Sink.
func (s *Syslog) Send(ctx context.Context, batch []Message) error {
	if s.conn != nil && s.gone() {
		s.Close()
	}
	if s.conn == nil {
		d := tls.Dialer{NetDialer: &net.Dialer{Timeout: syslogTimeout}, Config: s.config}
		conn, err := d.DialContext(ctx, "tcp", s.addr)
		if err != nil {
			return fmt.Errorf("connect to syslog %s: %w", s.addr, err)
		}
		s.conn = conn
	}
	var b bytes.Buffer
	if !s.sure {
		for _, f := range s.unsure {
			b.Write(f.frame)
		}
	}
	from := s.now()
	var sent []sentFrame
	for _, m := range batch {
		frame := s.format(m)
		frame = append(strconv.AppendInt(nil, int64(len(frame)), 10), append([]byte{' '}, frame...)...)
		sent = append(sent, sentFrame{from, frame})
		b.Write(frame)
	}
	err := s.conn.SetWriteDeadline(time.Now().Add(syslogTimeout))
	if err == nil {
		_, err = s.conn.Write(b.Bytes())
	}
	if err != nil {
		return errors.Join(fmt.Errorf("write to syslog %s: %w", s.addr, err), s.Close())
	}
	s.keep(sent)
	return nil
}

// keep notes what was written now, and forgets what has been read for sure.
func (s *Syslog) keep(sent []sentFrame) {
	if !s.sure { // written again just now
		for i := range s.unsure {
			s.unsure[i].at = s.now()
		}
	}
	s.sure = true
	s.unsure = append(s.unsure, sent...)
	size := 0
	for _, f := range s.unsure {
		size += len(f.frame)
	}
	for len(s.unsure) > 0 && (size > unsureBytes || s.now().Sub(s.unsure[0].at) > unsureTime) {
		size -= len(s.unsure[0].frame)
		s.unsure = s.unsure[1:]
	}
}

// gone looks whether the receiver has closed: it never sends anything.
func (s *Syslog) gone() bool {
	if s.conn.SetReadDeadline(time.Now().Add(time.Millisecond)) != nil {
		return true
	}
	_, err := s.conn.Read(make([]byte, 1))
	var ne net.Error
	return !errors.As(err, &ne) || !ne.Timeout()
}

// format is one message: PRI VERSION TIMESTAMP HOSTNAME APP PROCID MSGID
// STRUCTURED-DATA MSG. The message is JSON, so it holds no control characters.
func (s *Syslog) format(m Message) []byte {
	return fmt.Appendf(nil, "<%d>1 %s %s jit-gateway %d %s [jit@32473 seq=\"%d\" id=\"%s\"] %s",
		facility*8+m.Severity, m.Time.UTC().Format("2006-01-02T15:04:05.000000Z"), s.host, os.Getpid(),
		printable(string(m.Type), 32), m.Seq, printable(m.ID, 64), m.JSON)
}

// printable keeps PRINTUSASCII (RFC 5424 section 6), at most n of it.
func printable(s string, n int) string {
	s = strings.Map(func(r rune) rune {
		if r < 33 || r > 126 || r == '"' || r == ']' || r == '\\' {
			return -1
		}
		return r
	}, s)
	if s == "" {
		return "-"
	}
	return s[:min(n, len(s))]
}

// Close implements Sink.
func (s *Syslog) Close() error {
	if s.conn == nil {
		return nil
	}
	err := s.conn.Close()
	s.conn, s.sure = nil, false
	return err
}
