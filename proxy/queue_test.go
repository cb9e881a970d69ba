package proxy

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"
)

// served is an HTTP server behind Serve that answers with who asks.
func served(t *testing.T, o ServeOptions) string {
	t.Helper()
	q := NewQueue(&net.TCPAddr{})
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, r.RemoteAddr) })}
	done := make(chan error, 1)
	go func() { done <- srv.Serve(q) }()
	o.Handle = q.Handle
	addr, stop := serve(t, o)
	t.Cleanup(func() {
		stop()
		srv.Close()
		if err := <-done; err != http.ErrServerClosed {
			t.Errorf("serve HTTP: %v", err)
		}
	})
	return addr
}

const hello = "GET / HTTP/1.1\r\nHost: x\r\n\r\n"

// An HTTP server behind a balancer sees who asks, and not the balancer.
func TestQueuePassesTheSource(t *testing.T) {
	addr := served(t, ServeOptions{Name: "web", PROXYFrom: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}})
	c := dial(t, addr)
	io.WriteString(c, v2(1, 0x11, []byte{198, 51, 100, 7, 127, 0, 0, 1, 0xC0, 0, 0, 22})+hello)
	if got := answered(t, c); got != "198.51.100.7:49152" {
		t.Errorf("the server saw %q", got)
	}
	c = dial(t, addr)
	io.WriteString(c, hello)
	if got := said(t, c); got != "" {
		t.Errorf("a balancer without its header was answered: %q", got)
	}
}

// A connection counts against its source as long as it is open, and no longer.
func TestQueueCountsWhatIsOpen(t *testing.T) {
	addr := served(t, ServeOptions{Name: "web", MaxPerSource: 2})
	a, b := dial(t, addr), dial(t, addr)
	for _, c := range []net.Conn{a, b, a} { // kept alive, so one of two
		io.WriteString(c, hello)
		if got := answered(t, c); !strings.HasPrefix(got, "127.0.0.1:") {
			t.Fatalf("answered %q", got)
		}
	}
	c := dial(t, addr)
	io.WriteString(c, hello)
	if got := said(t, c); got != "" {
		t.Errorf("a third connection from one address was answered: %q", got)
	}
	a.Close()
	for deadline := time.Now().Add(10 * time.Second); ; {
		c := dial(t, addr)
		io.WriteString(c, hello)
		buf := make([]byte, 12)
		if _, err := io.ReadFull(c, buf); err == nil && string(buf) == "HTTP/1.1 200" {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("a connection that was closed still counts")
		}
	}
}

// Nothing waits for a server that is gone, nor for one that never came.
func TestQueueEnds(t *testing.T) {
	q := NewQueue(&net.TCPAddr{})
	q.Close()
	q.Close()
	if _, err := q.Accept(); err != net.ErrClosed {
		t.Errorf("accept: %v", err)
	}
	near, far := net.Pipe()
	defer far.Close()
	q.Handle(t.Context(), near)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	near, far = net.Pipe()
	defer far.Close()
	NewQueue(&net.TCPAddr{}).Handle(ctx, near)
	if _, err := far.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("the connection that nobody took: %v", err)
	}
}

func answered(t *testing.T, c net.Conn) string {
	t.Helper()
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}
