package sink

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"time"
)

// Syslog sends RFC 5424 messages over TLS with octet counting (RFC 5425). The
// receiver acknowledges nothing: what was written before a connection broke
// may be lost there, so a broken batch is sent again whole.
type Syslog struct {
	name, addr string
	config     *tls.Config
	host       string
	conn       net.Conn
}

const (
	facility      = 13 // log audit, RFC 5424 section 6.2.1
	syslogTimeout = 10 * time.Second
)

// NewSyslog returns the sink. addr is host:port (6514 by custom); config must
// verify the receiver.
func NewSyslog(name, addr string, config *tls.Config) *Syslog {
	host, err := os.Hostname()
	if err != nil {
		host = "-"
	}
	return &Syslog{name: name, addr: addr, config: config, host: printable(host, 255)}
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
	for _, m := range batch {
		frame := s.format(m)
		fmt.Fprintf(&b, "%d ", len(frame))
		b.Write(frame)
	}
	err := s.conn.SetWriteDeadline(time.Now().Add(syslogTimeout))
	if err == nil {
		_, err = s.conn.Write(b.Bytes())
	}
	if err != nil {
		return errors.Join(fmt.Errorf("write to syslog %s: %w", s.addr, err), s.Close())
	}
	return nil
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
	s.conn = nil
	return err
}
