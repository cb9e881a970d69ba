package pgproxy

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"strconv"
	"sync"
	"time"

	"jit-gateway/internal/inventory"
)

// An adminConn is one connection of the gateway itself to a database: a small
// client that runs one statement at a time with text values.
type adminConn struct {
	conn    net.Conn
	r       *bufio.Reader
	version int  // server_version_num
	setup   bool // the functions of sql/setup.sql are there
	used    time.Time
	known   map[string]*planned // by their text; nil: nothing is to be left in this session
}

// planned is a statement that the server has read, or is to read again.
type planned struct {
	name  string
	ready bool
}

const (
	adminMax      = 8               // connections per database
	adminIdle     = 5 * time.Minute // an idle one is closed then
	adminTime     = 5 * time.Second // for one statement
	maxAdminReply = 1 << 20
)

// query runs sql with text values and returns the rows as text; NULL is "". On
// the gateway's own connections the server reads and plans each text once: they
// are constants of this package, so they are few.
func (c *adminConn) query(ctx context.Context, sql string, args ...string) (rows [][]string, err error) {
	st := &planned{}
	if c.known != nil {
		if c.known[sql] == nil {
			c.known[sql] = &planned{name: "s" + strconv.Itoa(len(c.known))}
		}
		st = c.known[sql]
	}
	var b []byte
	if !st.ready { // closed first: it may be there from before an error
		b = message('C', []byte{'S'}, []byte(st.name), []byte{0})
		b = append(b, message('P', []byte(st.name), []byte{0}, []byte(sql), []byte{0, 0, 0})...)
	}
	bind := append([]byte{0}, st.name...)
	bind = append(bind, 0, 0, 0)
	bind = binary.BigEndian.AppendUint16(bind, uint16(len(args)))
	for _, a := range args {
		bind = binary.BigEndian.AppendUint32(bind, uint32(len(a)))
		bind = append(bind, a...)
	}
	b = append(b, message('B', bind, []byte{0, 0})...)
	b = append(b, message('E', []byte{0, 0, 0, 0, 0})...)
	rows, err = c.run(ctx, append(b, message('S')...))
	st.ready = err == nil // what was planned for a function that was replaced since fails once
	return rows, err
}

// exec runs several statements in one transaction.
func (c *adminConn) exec(ctx context.Context, sql string) error {
	_, err := c.run(ctx, message('Q', []byte(sql), []byte{0}))
	return err
}

func (c *adminConn) run(ctx context.Context, request []byte) (rows [][]string, err error) {
	stop := abortOn(ctx, c.conn)
	defer func() {
		if !stop() && err == nil {
			err = context.Cause(ctx)
		}
	}()
	if err := c.conn.SetDeadline(time.Now().Add(adminTime)); err != nil {
		return nil, err
	}
	if _, err := c.conn.Write(request); err != nil {
		return nil, err
	}
	var failed error
	for {
		typ, body, err := readMessage(c.r, maxAdminReply)
		if err != nil {
			return nil, err
		}
		switch typ {
		case 'E':
			e := errorFields(body)
			failed = &e
		case 'D':
			row, ok := textRow(body)
			if !ok {
				return nil, errors.New("malformed row")
			}
			rows = append(rows, row)
		case 'Z':
			return rows, failed
		}
	}
}

// textRow reads the values of a DataRow.
func textRow(b []byte) (row []string, ok bool) {
	if len(b) < 2 {
		return nil, false
	}
	n := int(binary.BigEndian.Uint16(b))
	b = b[2:]
	for range n {
		if len(b) < 4 {
			return nil, false
		}
		size := int(int32(binary.BigEndian.Uint32(b)))
		if b = b[4:]; size == -1 {
			row = append(row, "")
			continue
		}
		if size < 0 || size > len(b) {
			return nil, false
		}
		row = append(row, string(b[:size]))
		b = b[size:]
	}
	return row, true
}

// one runs a query of one value.
func (c *adminConn) one(ctx context.Context, sql string, args ...string) (string, error) {
	rows, err := c.query(ctx, sql, args...)
	if err != nil {
		return "", err
	}
	if len(rows) != 1 || len(rows[0]) != 1 {
		return "", fmt.Errorf("%d rows where one value was expected", len(rows))
	}
	return rows[0][0], nil
}

// admins keeps the gateway's own connections, per database and login.
type admins struct {
	secrets func(ref string) (string, error)
	mu      sync.Mutex
	pools   map[string]*adminPool
}

type adminPool struct {
	slots chan struct{}
	mu    sync.Mutex
	idle  []*adminConn
}

// database is where the gateway's own login works, unless said otherwise.
func adminDatabase(p *inventory.PostgresTarget) string {
	if p.AdminDatabase != "" {
		return p.AdminDatabase
	}
	return p.Database
}

// with runs fn on a connection to the database of the target, as its
// administrator. A kept connection that turns out to be broken is replaced
// once: fn must be safe to run again where it fails on the transport.
func (a *admins) with(ctx context.Context, t inventory.Target, database string, fn func(*adminConn) error) error {
	key := t.Postgres.Address + "\x00" + t.Postgres.AdminUser + "\x00" + t.Postgres.AdminPassword + "\x00" + t.Postgres.TLS + "\x00" + t.Postgres.CAFile + "\x00" + database
	a.mu.Lock()
	if a.pools == nil {
		a.pools = map[string]*adminPool{}
	}
	p := a.pools[key]
	if p == nil {
		p = &adminPool{slots: make(chan struct{}, adminMax)}
		a.pools[key] = p
	}
	a.mu.Unlock()

	select {
	case p.slots <- struct{}{}:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	defer func() { <-p.slots }()
	if c := p.take(); c != nil {
		err := fn(c)
		if !broken(err) {
			p.put(c)
			return err
		}
		c.conn.Close()
		p.closeIdle(time.Now()) // the server was restarted, or the network was away
		if ctx.Err() != nil {
			return err
		}
	}
	c, err := a.connect(ctx, t, database)
	if err != nil {
		return fmt.Errorf("connect to %s as %q: %w", t.Postgres.Address, t.Postgres.AdminUser, err)
	}
	if err = fn(c); broken(err) {
		c.conn.Close()
		return err
	}
	p.put(c)
	return err
}

// broken reports whether err is the transport's: the server's own answers
// leave the connection in a known state.
func broken(err error) bool {
	if err == nil {
		return false
	}
	e, ok := errors.AsType[*pgError](err)
	return !ok || e.Severity != severityError
}

func (a *admins) connect(ctx context.Context, t inventory.Target, database string) (*adminConn, error) {
	pt := t.Postgres
	if pt.AdminUser == "" {
		return nil, errors.New("the target has no admin_user")
	}
	password := ""
	if pt.AdminPassword != "" {
		if a.secrets == nil {
			return nil, errors.New("no secrets are configured")
		}
		var err error
		if password, err = a.secrets(pt.AdminPassword); err != nil {
			return nil, fmt.Errorf("read admin_password: %w", err)
		}
	}
	e, err := endpointOf(pt)
	if err != nil {
		return nil, err
	}
	conn, err := e.dial(ctx)
	if err != nil {
		return nil, err
	}
	u, err := login(ctx, conn, []param{{"user", pt.AdminUser}, {"database", database}, {"application_name", "jit-gateway"}, {"client_encoding", "UTF8"}}, password)
	if err != nil {
		conn.Close()
		return nil, err
	}
	c := &adminConn{conn: conn, r: newReader(u), known: map[string]*planned{}}
	rows, err := c.query(ctx, `SELECT current_setting('server_version_num'), EXISTS (SELECT FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
		WHERE n.nspname = $1 AND p.proname = 'create_role' AND has_schema_privilege(n.oid, 'USAGE') AND has_function_privilege(p.oid, 'EXECUTE'))`, setupSchema)
	if err != nil || len(rows) != 1 {
		conn.Close()
		return nil, fmt.Errorf("ask for the version: %w", err)
	}
	c.version, _ = strconv.Atoi(rows[0][0])
	c.setup = rows[0][1] == "t"
	return c, nil
}

func (p *adminPool) take() *adminConn {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := len(p.idle)
	if n == 0 {
		return nil
	}
	c := p.idle[n-1]
	p.idle = p.idle[:n-1]
	return c
}

func (p *adminPool) put(c *adminConn) {
	c.used = time.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.idle = append(p.idle, c)
}

// closeIdle closes connections that nobody used since before.
func (p *adminPool) closeIdle(before time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	keep := p.idle[:0]
	for _, c := range p.idle {
		if c.used.Before(before) {
			c.conn.Close()
		} else {
			keep = append(keep, c)
		}
	}
	clear(p.idle[len(keep):])
	p.idle = keep
}

// sweep closes idle connections of every pool; close closes all.
func (a *admins) sweep(before time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, p := range a.pools {
		p.closeIdle(before)
	}
}
