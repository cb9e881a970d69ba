package proxy

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

// serve runs Serve on a loopback port until the test ends or stop is called.
func serve(t *testing.T, o ServeOptions) (addr string, stop func()) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- Serve(ctx, ln, o) }()
	var once sync.Once
	stop = func() {
		once.Do(func() {
			cancel()
			if err := <-done; err != nil {
				t.Errorf("serve: %v", err)
			}
		})
	}
	t.Cleanup(stop)
	return ln.Addr().String(), stop
}

func dial(t *testing.T, addr string) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(10 * time.Second))
	return c
}

// said is everything that the server says until it closes.
func said(t *testing.T, c net.Conn) string {
	t.Helper()
	b, err := io.ReadAll(c)
	if err != nil && !strings.Contains(err.Error(), "reset by peer") {
		t.Fatalf("read: %v", err)
	}
	return string(b)
}

func echoSource(ctx context.Context, c net.Conn) {
	defer context.AfterFunc(ctx, func() { c.Close() })()
	fmt.Fprint(c, c.RemoteAddr().(*net.TCPAddr).IP)
	io.Copy(io.Discard, c)
	c.Close()
}

func TestServeLimits(t *testing.T) {
	m := NewMetrics(prometheus.NewRegistry())
	addr, stop := serve(t, ServeOptions{Name: "x", MaxConns: 2, Metrics: m, Handle: echoSource})
	a, b := dial(t, addr), dial(t, addr)
	buf := make([]byte, 9)
	for _, c := range []net.Conn{a, b} {
		if _, err := io.ReadFull(c, buf); err != nil || string(buf) != "127.0.0.1" {
			t.Fatalf("got %q, %v", buf, err)
		}
	}
	if got := said(t, dial(t, addr)); got != "" {
		t.Errorf("the third connection was served: %q", got)
	}
	if n := testutil.ToFloat64(m.refused.WithLabelValues("x", "total")); n != 1 {
		t.Errorf("%v refusals were counted", n)
	}
	a.Close()
	for deadline := time.Now().Add(5 * time.Second); ; {
		c := dial(t, addr)
		if _, err := io.ReadFull(c, buf); err == nil {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("a place that became free was not given")
		}
	}
	for _, c := range []net.Conn{a, b} {
		c.Close()
	}
	stop()
	if n := testutil.ToFloat64(m.live.WithLabelValues("x")); n != 0 {
		t.Errorf("%v connections are live after the drain", n)
	}
}

func TestServeLimitsOneSource(t *testing.T) {
	m := NewMetrics(prometheus.NewRegistry())
	addr, _ := serve(t, ServeOptions{Name: "x", MaxPerSource: 1, Metrics: m, Handle: echoSource})
	first := dial(t, addr)
	if _, err := io.ReadFull(first, make([]byte, 9)); err != nil {
		t.Fatal(err)
	}
	if got := said(t, dial(t, addr)); got != "" {
		t.Errorf("the second connection was served: %q", got)
	}
	if n := testutil.ToFloat64(m.refused.WithLabelValues("x", "source")); n != 1 {
		t.Errorf("%v refusals were counted", n)
	}
	addr, _ = serve(t, ServeOptions{Name: "y", RatePerSec: 0.001, Burst: 2, Metrics: m, Handle: func(_ context.Context, c net.Conn) { c.Write([]byte("hi")) }})
	for i, want := range []string{"hi", "hi", ""} {
		if got := said(t, dial(t, addr)); got != want {
			t.Errorf("connection %d heard %q, want %q", i, got, want)
		}
	}
}

func TestServeContainsPanics(t *testing.T) {
	m := NewMetrics(prometheus.NewRegistry())
	var logged bytes.Buffer
	log := slog.New(slog.NewTextHandler(&logged, nil))
	var n atomic.Int32
	addr, stop := serve(t, ServeOptions{Name: "x", Metrics: m, Log: log, Handle: func(_ context.Context, c net.Conn) {
		if n.Add(1) == 1 {
			panic("out of cheese")
		}
		c.Write([]byte("well"))
	}})
	if got := said(t, dial(t, addr)); got != "" {
		t.Errorf("heard %q", got)
	}
	if got := said(t, dial(t, addr)); got != "well" {
		t.Errorf("the next connection heard %q", got)
	}
	stop()
	if testutil.ToFloat64(m.panics.WithLabelValues("x")) != 1 || !strings.Contains(logged.String(), "out of cheese") {
		t.Errorf("the panic was not told: %s", logged.String())
	}
}

func TestServeDrains(t *testing.T) {
	cause := make(chan error, 1)
	addr, stop := serve(t, ServeOptions{Name: "x", DrainTimeout: 50 * time.Millisecond, Handle: func(ctx context.Context, c net.Conn) {
		c.Write([]byte("x"))
		<-ctx.Done()
		cause <- context.Cause(ctx)
	}})
	c := dial(t, addr)
	if _, err := io.ReadFull(c, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	stop()
	if d := time.Since(start); d < 50*time.Millisecond {
		t.Errorf("the connection had %s of its 50 ms", d)
	}
	if err := <-cause; err != errDrained {
		t.Errorf("it ended with %v", err)
	}
	if _, err := net.Dial("tcp", addr); err == nil {
		t.Error("the listener is still open")
	}

	// Once the sessions are drained, nobody waits for idle connections.
	drained := make(chan struct{})
	close(drained)
	addr, stop = serve(t, ServeOptions{Name: "x", DrainTimeout: time.Hour, Drained: drained, Handle: func(ctx context.Context, c net.Conn) {
		c.Write([]byte("x"))
		<-ctx.Done()
	}})
	if _, err := io.ReadFull(dial(t, addr), make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	stop()
}

func TestServeTakesTheSourceFromBalancersOnly(t *testing.T) {
	header := v2(1, 0x11, []byte{198, 51, 100, 7, 127, 0, 0, 1, 0xC0, 0, 0, 22})
	balancers := []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	addr, _ := serve(t, ServeOptions{Name: "x", PROXYFrom: balancers, Handle: echoSource})
	for name, c := range map[string]struct{ send, want string }{
		"header":    {header, "198.51.100.7"},
		"none":      {"SSH-2.0-client pretends to be direct", ""},
		"truncated": {header[:20], ""},
	} {
		conn := dial(t, addr)
		io.WriteString(conn, c.send)
		conn.(*net.TCPConn).CloseWrite()
		if got := said(t, conn); got != c.want {
			t.Errorf("%s: heard %q, want %q", name, got, c.want)
		}
	}
	addr, _ = serve(t, ServeOptions{Name: "y", Handle: func(_ context.Context, c net.Conn) {
		b := make([]byte, len(header))
		io.ReadFull(c, b)
		fmt.Fprint(c, c.RemoteAddr().(*net.TCPAddr).IP, string(b) == header)
	}})
	conn := dial(t, addr)
	io.WriteString(conn, header)
	if got := said(t, conn); got != "127.0.0.1 true" { // the handler sees bytes that are no protocol of its own
		t.Errorf("an unlisted peer's header: heard %q", got)
	}
}
