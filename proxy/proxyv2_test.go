package proxy

import (
	"bytes"
	"encoding/binary"
	"strings"
	"testing"
)

func v2(command, family byte, tail []byte) string {
	b := append([]byte(proxySignature), 0x20|command, family)
	b = binary.BigEndian.AppendUint16(b, uint16(len(tail)))
	return string(append(b, tail...))
}

var v6Tail = append(append(append([]byte{0x20, 0x01, 0x0d, 0xb8}, make([]byte, 11)...), 9), append(make([]byte, 16), 0x1f, 0x90, 0, 22)...)

func TestParsePROXY(t *testing.T) {
	tlv := []byte{198, 51, 100, 7, 127, 0, 0, 1, 0xC0, 0, 0, 22, 0x04, 0, 2, 0, 0}
	for name, c := range map[string]struct{ in, want, fail string }{
		"ipv4":          {in: v2(1, 0x11, tlv[:12]), want: "198.51.100.7:49152"},
		"ipv4 and TLVs": {in: v2(1, 0x11, tlv), want: "198.51.100.7:49152"},
		"ipv6":          {in: v2(1, 0x21, v6Tail), want: "[2001:db8::9]:8080"},
		"local":         {in: v2(0, 0, nil), want: "invalid AddrPort"},
		"empty":         {fail: "no PROXY header"},
		"version 1":     {in: "PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n", fail: "signature"},
		"version 3":     {in: strings.Replace(v2(1, 0x11, tlv), "\x21\x11", "\x31\x11", 1), fail: "version 3"},
		"udp":           {in: v2(1, 0x12, tlv), fail: "0x12 is not TCP"},
		"unix":          {in: v2(1, 0x31, make([]byte, 216)), fail: "0x31 is not TCP"},
		"short":         {in: v2(1, 0x21, tlv), fail: "too short"},
		"command":       {in: v2(2, 0x11, tlv), fail: "command 2"},
		"long":          {in: v2(1, 0x11, make([]byte, maxProxyTail+1)), fail: "too long"},
		"cut":           {in: v2(1, 0x11, tlv)[:20], fail: "read PROXY addresses"},
		"nobody":        {in: v2(1, 0x11, make([]byte, 12)), fail: "is nobody"},
	} {
		rest := ""
		if c.fail == "" {
			rest = "SSH-2.0-x\r\n"
		}
		r := strings.NewReader(c.in + rest)
		got, err := parsePROXY(r)
		switch {
		case c.fail == "" && (err != nil || got.String() != c.want):
			t.Errorf("%s: got %s, %v; want %s", name, got, err, c.want)
		case c.fail == "" && r.Len() != len(rest):
			t.Errorf("%s: %d bytes of the protocol were taken too", name, len(rest)-r.Len())
		case c.fail != "" && (err == nil || !strings.Contains(err.Error(), c.fail)):
			t.Errorf("%s: got %v, want an error with %q", name, err, c.fail)
		}
	}
}

func FuzzPROXY(f *testing.F) {
	f.Add([]byte(v2(1, 0x11, []byte{198, 51, 100, 7, 127, 0, 0, 1, 0xC0, 0, 0, 22})))
	f.Add([]byte(v2(1, 0x21, v6Tail)))
	f.Add([]byte(v2(0, 0, nil)))
	f.Add([]byte("PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		r := bytes.NewReader(b)
		got, err := parsePROXY(r)
		if err == nil && got.IsValid() && len(b) < proxyHead+12 {
			t.Errorf("%q has no room for an address, got %s", b, got)
		}
		if read := len(b) - r.Len(); read > proxyHead+maxProxyTail {
			t.Errorf("%d bytes were read", read)
		}
	})
}
