package bench

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// connect logs in over a path.
func (w *pgWorld) connect(ctx context.Context, p *path) (*pgconn.PgConn, error) {
	e := w.ends[p]
	c, err := pgconn.ParseConfig(fmt.Sprintf("host=127.0.0.1 port=%d user=%s dbname=orders sslmode=disable connect_timeout=30", e.port, e.user))
	if err != nil {
		return nil, err
	}
	c.Password = e.password
	return pgconn.ConnectConfig(ctx, c)
}

// raw logs in and hands out the bare connection: a client that only swallows
// bytes costs next to nothing, so that it is the path which is measured.
func (w *pgWorld) raw(ctx context.Context, p *path) (net.Conn, error) {
	c, err := w.connect(ctx, p)
	if err != nil {
		return nil, err
	}
	h, err := c.Hijack()
	if err != nil {
		return nil, err
	}
	return h.Conn, h.Conn.SetDeadline(time.Now().Add(longest))
}

// idleReady is ReadyForQuery outside a transaction: the last bytes of a
// statement that went well.
var idleReady = []byte("Z\x00\x00\x00\x05I")

// read runs a statement and swallows all that comes back.
func (w *pgWorld) read(ctx context.Context, p *path, sql string) (n int64, took time.Duration, err error) {
	c, err := w.raw(ctx, p)
	if err != nil {
		return 0, 0, err
	}
	defer c.Close()
	start := time.Now()
	if _, err := c.Write(message('Q', append([]byte(sql), 0))); err != nil {
		return 0, 0, err
	}
	n, err = swallow(c)
	return n, time.Since(start), err
}

// copyIn sends half of the bulk table's size into an empty table.
func (w *pgWorld) copyIn(ctx context.Context, p *path) (n int64, took time.Duration, err error) {
	if err := w.db.Exec(ctx, "orders", "TRUNCATE sink"); err != nil {
		return 0, 0, err
	}
	c, err := w.raw(ctx, p)
	if err != nil {
		return 0, 0, err
	}
	defer c.Close()
	line := []byte("1234567" + string(bytes.Repeat([]byte("\t0123456789abcdef0123456789abcdef"), 3)) + "\n")
	data := message('d', bytes.Repeat(line, 65536/len(line)))
	start := time.Now()
	if _, err := c.Write(message('Q', []byte("COPY sink FROM STDIN\x00"))); err != nil {
		return 0, 0, err
	}
	buf := make([]byte, 4096)
	if k, err := c.Read(buf); err != nil || buf[0] != 'G' {
		return 0, 0, fmt.Errorf("COPY was not taken (%v): %q", err, buf[:k])
	}
	for n < int64(w.Rows)*int64(len(line))/2 {
		k, err := c.Write(data)
		if err != nil {
			return 0, 0, err
		}
		n += int64(k)
	}
	if _, err := c.Write(message('c', nil)); err != nil {
		return 0, 0, err
	}
	_, err = swallow(c)
	return n, time.Since(start), err
}

// swallow reads up to ReadyForQuery.
func swallow(c net.Conn) (n int64, err error) {
	buf := make([]byte, 1<<20)
	var tail []byte
	for {
		k, err := c.Read(buf)
		if n == 0 && k > 0 && buf[0] == 'E' {
			return 0, fmt.Errorf("the statement failed: %q", buf[:min(k, 300)])
		}
		n += int64(k)
		tail = append(tail, buf[max(0, k-len(idleReady)):k]...)
		tail = tail[max(0, len(tail)-len(idleReady)):]
		if bytes.Equal(tail, idleReady) {
			return n, nil
		}
		if err != nil {
			return n, fmt.Errorf("after %d bytes: %w", n, err)
		}
	}
}

func message(kind byte, body []byte) []byte {
	return append(binary.BigEndian.AppendUint32([]byte{kind}, uint32(len(body)+4)), body...)
}
