package proxy

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestAddressesAreTriedInTurn(t *testing.T) {
	var ips []netip.Addr
	for _, s := range strings.Fields("fd00::1 fd00::2 fd00::3 ::ffff:10.0.0.1 10.0.0.2") {
		ips = append(ips, netip.MustParseAddr(s))
	}
	if got := fmt.Sprint(inTurn(ips)); got != "[fd00::1 10.0.0.1 fd00::2 10.0.0.2 fd00::3]" {
		t.Error(got)
	}
}

// The nearest address that answers wins, soon, and nothing is left behind.
func TestRaceOfAddresses(t *testing.T) {
	type answer struct {
		after time.Duration // negative: never
		err   error
	}
	refused := errors.New("refused")
	dead, good, slow := answer{-1, nil}, answer{time.Millisecond, nil}, answer{400 * time.Millisecond, nil}
	for name, c := range map[string]struct {
		answers []answer
		took    time.Duration
		winner  int // negative: none
	}{
		"one":                     {[]answer{good}, time.Millisecond, 0},
		"the first is dead":       {[]answer{dead, good}, 251 * time.Millisecond, 1},
		"three are dead":          {[]answer{dead, dead, dead, good}, 751 * time.Millisecond, 3},
		"refused at once":         {[]answer{{time.Millisecond, refused}, good}, 2 * time.Millisecond, 1},
		"the first is slow":       {[]answer{slow, dead, dead}, 400 * time.Millisecond, 0},
		"both answer":             {[]answer{{251 * time.Millisecond, nil}, good}, 251 * time.Millisecond, 0},
		"all refuse":              {[]answer{{time.Millisecond, refused}, {time.Millisecond, errors.New("other")}}, 2 * time.Millisecond, -1},
		"all dead, until it ends": {[]answer{dead, dead}, 5 * time.Second, -1},
		"none":                    {nil, 0, -1},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				results := make(chan net.Conn, len(c.answers))
				ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
				defer cancel()
				var ips []netip.Addr
				for i := range c.answers {
					ips = append(ips, netip.AddrFrom4([4]byte{10, 0, 0, byte(i)}))
				}
				start := time.Now()
				conn, err := race(ctx, ips, func(ctx context.Context, ip netip.Addr) (net.Conn, error) {
					a := c.answers[ip.As4()[3]]
					if a.after < 0 {
						<-ctx.Done()
						return nil, ctx.Err()
					}
					select {
					case <-time.After(a.after):
					case <-ctx.Done():
						return nil, ctx.Err()
					}
					if a.err != nil {
						return nil, a.err
					}
					conn := &racer{nth: int(ip.As4()[3])}
					results <- conn
					return conn, nil
				})
				took := time.Since(start)
				synctest.Wait()
				close(results)
				for r := range results {
					if r := r.(*racer); !r.closed && net.Conn(r) != conn {
						t.Error("a late connection was left open")
					}
				}
				switch {
				case c.winner < 0 && (conn != nil || err == nil):
					t.Errorf("somebody answered: %v", conn)
				case c.winner >= 0 && (err != nil || conn.(*racer).closed):
					t.Errorf("%v", err)
				case name == "all refuse" && !errors.Is(err, refused):
					t.Errorf("the error is not the first address's: %v", err)
				}
				if name != "both answer" && c.winner >= 0 && conn.(*racer).nth != c.winner {
					t.Errorf("address %d", conn.(*racer).nth)
				}
				if took != c.took {
					t.Errorf("after %s, want %s", took, c.took)
				}
			})
		})
	}
}

type racer struct {
	net.Conn
	nth    int
	closed bool
}

func (r *racer) Close() error { r.closed = true; return nil }
