package proxy

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"time"
)

// attemptDelay is how long an address is alone before the next is tried
// beside it: RFC 8305, section 5.
const attemptDelay = 250 * time.Millisecond

// Dial connects to host:port. The addresses of a host are tried in the
// resolver's order, families in turn, each a moment after the last or when it
// failed, and the first that answers is taken: a dead address costs a quarter
// of a second. (net.Dialer gives each its share of the time-out, and runs two
// at once only if they are of two families.)
func Dial(ctx context.Context, addr string) (net.Conn, error) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	ips, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return nil, err
	}
	d := net.Dialer{KeepAlive: 30 * time.Second}
	return race(ctx, inTurn(ips), func(ctx context.Context, ip netip.Addr) (net.Conn, error) {
		return d.DialContext(ctx, "tcp", net.JoinHostPort(ip.String(), port))
	})
}

// inTurn alternates the families, beginning with that of the first address.
func inTurn(ips []netip.Addr) []netip.Addr {
	var queues [2][]netip.Addr
	for _, ip := range ips {
		ip, q := ip.Unmap(), 0
		if ip.Is4() != ips[0].Unmap().Is4() {
			q = 1
		}
		queues[q] = append(queues[q], ip)
	}
	out := make([]netip.Addr, 0, len(ips))
	for i := range ips {
		for _, q := range queues {
			if i < len(q) {
				out = append(out, q[i])
			}
		}
	}
	return out
}

// race returns the first connection, or the error of the first address. All
// its attempts have ended when it returns.
func race(ctx context.Context, ips []netip.Addr, dial func(context.Context, netip.Addr) (net.Conn, error)) (net.Conn, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	type result struct {
		conn net.Conn
		err  error
		nth  int
	}
	results := make(chan result)
	next := time.NewTimer(0)
	defer next.Stop()
	begun, running, worst := 0, 0, result{nth: len(ips), err: fmt.Errorf("it has no address")}
	for begun < len(ips) && ctx.Err() == nil || running > 0 {
		start := next.C
		if begun == len(ips) {
			start = nil
		}
		select {
		case <-start:
			nth := begun
			begun, running = begun+1, running+1
			go func() {
				conn, err := dial(ctx, ips[nth])
				results <- result{conn, err, nth}
			}()
			next.Reset(attemptDelay)
		case r := <-results:
			running--
			if r.err == nil {
				cancel()
				for ; running > 0; running-- {
					if late := <-results; late.err == nil {
						late.conn.Close()
					}
				}
				return r.conn, nil
			}
			if r.nth < worst.nth {
				worst = r
			}
			next.Reset(0)
		}
	}
	return nil, worst.err
}
