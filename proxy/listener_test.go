package proxy

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"testing"
)

// TestPageBehindABalancer: the page's server sees who is behind a listed
// balancer, waits for nobody's header, and believes nobody else's.
func TestPageBehindABalancer(t *testing.T) {
	for name, c := range map[string]struct {
		balancers string
		header    string
		want      string // what the server takes for the source; empty: no answer
	}{
		"behind it":           {"127.0.0.1/32", v2(1, 0x11, []byte{203, 0, 113, 9, 127, 0, 0, 1, 0x30, 0x39, 0, 80}), "203.0.113.9:12345"},
		"its own check":       {"127.0.0.1/32", v2(0, 0, nil), "127.0.0.1"},
		"no header":           {"127.0.0.1/32", "", ""},
		"broken header":       {"127.0.0.1/32", "PROXY TCP4 203.0.113.9 127.0.0.1 1 2\r\n", ""},
		"somebody else's":     {"192.0.2.0/24", v2(1, 0x11, []byte{203, 0, 113, 9, 127, 0, 0, 1, 0x30, 0x39, 0, 80}), ""},
		"nobody in front":     {"192.0.2.0/24", "", "127.0.0.1"},
		"no balancers at all": {"", "", "127.0.0.1"},
	} {
		t.Run(name, func(t *testing.T) {
			ln, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			var from []netip.Prefix
			if c.balancers != "" {
				from = []netip.Prefix{netip.MustParsePrefix(c.balancers)}
			}
			srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, r.RemoteAddr) })}
			go srv.Serve(Listener(ln, from))
			defer srv.Close()
			silent, err := net.Dial("tcp", ln.Addr().String()) // holds nobody up
			if err != nil {
				t.Fatal(err)
			}
			defer silent.Close()
			conn, err := net.Dial("tcp", ln.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			fmt.Fprintf(conn, "%sGET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", c.header)
			resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
			if err != nil || resp.StatusCode != http.StatusOK {
				if c.want != "" {
					t.Fatalf("no answer: %v, %v", resp, err)
				}
				return
			}
			b, err := io.ReadAll(resp.Body)
			if err != nil {
				t.Fatal(err)
			}
			host, _, _ := net.SplitHostPort(string(b))
			if string(b) != c.want && host != c.want {
				t.Errorf("the source is %s, want %q", b, c.want)
			}
		})
	}
}
