package notify

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/mail"
	"net/smtp"
	"net/textproto"
	"strings"
	"sync"
	"time"

	"jit-gateway/internal/display"
	"jit-gateway/internal/identity"
)

// Security of the way to the mail server.
const (
	StartTLS = "starttls" // refused without (the default)
	Implicit = "tls"      // TLS from the first byte, port 465
	Plain    = "none"     // in clear: loopback, or where an administrator says so
)

// MailOptions builds a Mail channel.
type MailOptions struct {
	Name     string
	Server   string // host:port
	Security string // StartTLS if empty
	TLS      *tls.Config
	User     string                 // empty: no AUTH
	Password func() (string, error) // read at each try
	From     *mail.Address
	Gateway  string // its name, in subjects
	Hello    string // name in EHLO; localhost if empty
	Now      func() time.Time
}

const (
	smtpTime = time.Minute // bounds one delivery to all recipients of a message
	// patience is how long a message waits for a mailbox that takes nothing now: the
	// others, an emergency's too, wait behind it. Grey-listing takes less, a full
	// mailbox takes for ever.
	patience = 10 * time.Minute
)

// Mail sends one mail to each recipient who has an address.
type Mail struct {
	o    MailOptions
	mu   sync.Mutex
	id   string          // message that was tried last
	from time.Time       // since when
	done map[string]bool // users who have it, or never will
	bad  []error         // why they never will
}

// NewMail returns a Mail channel.
func NewMail(o MailOptions) (*Mail, error) {
	if _, err := address(o.From.Address); err != nil {
		return nil, fmt.Errorf("notify %s: from: %w", o.Name, err)
	}
	if o.Security == "" {
		o.Security = StartTLS
	}
	if o.Hello == "" {
		o.Hello = "localhost"
	}
	return &Mail{o: o}, nil
}

// Name implements Channel.
func (m *Mail) Name() string { return m.o.Name }

// Reaches reports whether the user has an address to write to.
func (m *Mail) Reaches(u identity.User) bool {
	_, err := address(u.Email)
	return err == nil
}

// Send implements Channel. Of a message that reached only some, a new try
// writes to the others; after a restart in between it writes to all, with the
// same Message-ID.
func (m *Mail) Send(ctx context.Context, msg Message) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.id != msg.ID {
		m.id, m.from, m.done, m.bad = msg.ID, m.o.Now(), map[string]bool{}, nil
	}
	var to []identity.User
	for _, u := range msg.To {
		if m.Reaches(u) && !m.done[u.ID] {
			to = append(to, u)
		}
	}
	if len(to) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, smtpTime)
	defer cancel()
	c, err := m.dial(ctx)
	if err != nil {
		return fmt.Errorf("mail through %s: %w", m.o.Server, err)
	}
	defer c.Close()
	stop := context.AfterFunc(ctx, func() { c.Close() })
	defer stop()
	var later []error
	for _, u := range to {
		addr, raw, err := letter(msg, m.o.From, u, m.o.Gateway, m.o.Now())
		if err == nil {
			err = m.deliver(c, addr, raw)
		}
		switch {
		case err == nil:
			m.done[u.ID] = true
		case permanent(err) || busy(err) && m.o.Now().Sub(m.from) >= patience:
			m.done[u.ID] = true // the others must not wait for this one
			m.bad = append(m.bad, fmt.Errorf("mail to %s was refused: %s", u.Name, display.Line(err.Error(), 200)))
		default:
			later = append(later, fmt.Errorf("mail to %s: %s", u.Name, display.Line(err.Error(), 200)))
		}
	}
	_ = c.Quit()
	if len(later) > 0 {
		return errors.Join(later...)
	}
	if len(m.bad) > 0 {
		return &Lost{errors.Join(m.bad...)}
	}
	return nil
}

// permanent reports whether the server said no for good (RFC 5321, 4.2.1).
func permanent(err error) bool {
	var reply *textproto.Error
	return errors.As(err, &reply) && reply.Code >= 500
}

// busyError is a recipient, not a server, that takes nothing now.
type busyError struct{ error }

func (e busyError) Unwrap() error { return e.error }

func busy(err error) bool {
	var e busyError
	return errors.As(err, &e)
}

// deliver is one transaction. After a refusal the next one begins anew.
func (m *Mail) deliver(c *smtp.Client, to string, raw []byte) error {
	err := c.Mail(m.o.From.Address)
	if err == nil {
		var reply *textproto.Error
		if err = c.Rcpt(to); errors.As(err, &reply) && reply.Code/100 == 4 && reply.Code != 421 {
			err = busyError{err}
		}
	}
	if err != nil {
		_ = c.Reset()
		return err
	}
	w, err := c.Data()
	if err != nil {
		_ = c.Reset()
		return err
	}
	if _, err := w.Write(raw); err != nil {
		return err
	}
	return w.Close() // the server's answer: it has the mail
}

// dial connects, encrypts and signs in. Without encryption where it is wanted
// nothing is sent, not even the password.
func (m *Mail) dial(ctx context.Context) (*smtp.Client, error) {
	host, _, err := net.SplitHostPort(m.o.Server)
	if err != nil {
		return nil, err
	}
	conn, err := (&net.Dialer{Timeout: 10 * time.Second}).DialContext(ctx, "tcp", m.o.Server)
	if err != nil {
		return nil, err
	}
	if deadline, ok := ctx.Deadline(); ok {
		_ = conn.SetDeadline(deadline)
	}
	conf := m.o.TLS.Clone()
	if conf == nil {
		conf = &tls.Config{}
	}
	conf.ServerName, conf.MinVersion = host, tls.VersionTLS12
	if m.o.Security == Implicit {
		conn = tls.Client(conn, conf)
	}
	c, err := smtp.NewClient(conn, host)
	if err != nil {
		conn.Close()
		return nil, err
	}
	if err := m.greet(c, conf); err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

func (m *Mail) greet(c *smtp.Client, conf *tls.Config) error {
	if err := c.Hello(m.o.Hello); err != nil {
		return err
	}
	if m.o.Security == StartTLS {
		if ok, _ := c.Extension("STARTTLS"); !ok {
			return errors.New("it offers no STARTTLS, and mail is not sent in clear")
		}
		if err := c.StartTLS(conf); err != nil {
			return fmt.Errorf("STARTTLS: %w", err)
		}
	}
	if m.o.User == "" {
		return nil
	}
	if ok, how := c.Extension("AUTH"); !ok || !strings.Contains(" "+how+" ", " PLAIN ") {
		return errors.New("it offers no AUTH PLAIN, and the configuration names a user")
	}
	password, err := m.o.Password()
	if err != nil {
		return err
	}
	// smtp.PlainAuth itself refuses to show a password on a connection in clear
	// but to localhost.
	if err := c.Auth(smtp.PlainAuth("", m.o.User, password, conf.ServerName)); err != nil {
		return errors.New("it refused user or password")
	}
	return nil
}
