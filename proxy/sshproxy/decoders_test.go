package sshproxy

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"

	"jit-gateway/approval/policy"
	"jit-gateway/proxy"
)

func str(s string) []byte {
	return append(binary.BigEndian.AppendUint32(nil, uint32(len(s))), s...)
}

func cat(parts ...[]byte) []byte { return bytes.Join(parts, nil) }

func u32(n uint32) []byte { return binary.BigEndian.AppendUint32(nil, n) }

func u64(n uint64) []byte { return binary.BigEndian.AppendUint64(nil, n) }

// clientHello is a version line and a KEXINIT with the ciphers.
func clientHello(ciphers string) []byte {
	payload := cat([]byte{20}, make([]byte, 16), str("curve25519-sha256"), str("ssh-ed25519"), str(ciphers), str(ciphers), str("hmac-sha2-256"), str("hmac-sha2-256"),
		str("none"), str("none"), str(""), str(""), []byte{0}, u32(0))
	return cat([]byte("SSH-2.0-OpenSSH_9.2p1\r\n"), u32(uint32(len(payload)+1+8)), []byte{8}, payload, make([]byte, 8))
}

func TestCiphersFollowTheClient(t *testing.T) {
	for list, gcmOnly := range map[string]bool{
		"chacha20-poly1305@openssh.com,aes128-ctr,aes256-gcm@openssh.com": true,
		"aes128-ctr,aes256-ctr":         false, // dbclient
		"chacha20-poly1305@openssh.com": false,
	} {
		init, done, err := parseHello(clientHello(list))
		if err != nil || !done || init.Version != "SSH-2.0-OpenSSH_9.2p1" {
			t.Fatalf("%q: %+v %v %v", list, init, done, err)
		}
		got := init.ciphers()
		if (len(got) == 2 && strings.Contains(got[0], "gcm")) != gcmOnly {
			t.Errorf("%q: %v", list, got)
		}
		for _, c := range got {
			if c == ssh.InsecureCipherAES128CBC {
				t.Error("CBC")
			}
		}
	}
	if got := (kexInit{MACsIn: []string{ssh.HMACSHA256, ssh.HMACSHA512ETM}, MACsTo: []string{ssh.HMACSHA256ETM}}).macs(); len(got) != 2 {
		t.Errorf("a client with ETM is offered %v", got)
	}
	if init, _, _ := parseHello(clientHello("aes128-ctr")); len(init.macs()) != 4 || init.macs()[0] != ssh.HMACSHA256ETM { // libssh2
		t.Errorf("a client without ETM is offered %v", init.macs())
	}
	// In pieces, it is not done until it is whole.
	whole := clientHello("aes128-ctr")
	for n := range whole[:len(whole)-8] {
		if _, done, err := parseHello(whole[:n]); done || err != nil {
			t.Fatalf("%d bytes: %v %v", n, done, err)
		}
	}
}

func FuzzHello(f *testing.F) {
	f.Add(clientHello("aes128-ctr"))
	f.Add([]byte("SSH-2.0-x\r\n\x00\x00\x00\x0c\x0a\x15"))
	f.Add([]byte("GET / HTTP/1.1\r\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		init, done, err := parseHello(b)
		if done && err != nil {
			t.Error("done, and an error")
		}
		if len(init.ciphers()) == 0 {
			t.Error("no ciphers")
		}
		if len(init.macs()) == 0 {
			t.Error("no MACs")
		}
	})
}

func TestParseDirect(t *testing.T) {
	b := cat(str("web01"), u32(22), str("127.0.0.1"), u32(65535))
	d, err := parseDirect(b)
	if err != nil || d.Host != "web01" || d.Port != 22 || !d.stdio() || d.dest() != "web01:22" {
		t.Errorf("%+v %v", d, err)
	}
	for _, bad := range [][]byte{nil, b[:len(b)-1], append(b, 0), cat(str(""), b[9:]), cat(str(strings.Repeat("x", 300)), b[9:]), cat(str("web01"), u32(65536), str("127.0.0.1"), u32(65535))} {
		if _, err := parseDirect(bad); err == nil {
			t.Errorf("accepted %q", bad)
		}
	}
	if d, _ := parseDirect(cat(str("web01"), u32(22), str("127.0.0.1"), u32(40000))); d.stdio() {
		t.Error("a -L peer taken for -J")
	}
}

func FuzzDirect(f *testing.F) {
	f.Add(cat(str("web01"), u32(22), str("127.0.0.1"), u32(65535)))
	f.Add(cat(str("::1"), u32(5432), str("::1"), u32(1)))
	f.Fuzz(func(t *testing.T, b []byte) {
		d, err := parseDirect(b)
		if err == nil && (d.Host == "" || d.Port > 65535) {
			t.Errorf("accepted %+v", d)
		}
	})
}

func TestSCPParser(t *testing.T) {
	var got []scpFile
	p := newSCPParser("dir", func(f scpFile) error { got = append(got, f); return nil })
	stream := "T1 0 2 0\nD0755 0 sub\nC0644 5 a b\nhello\x00C0600 0 empty\n\x00E\nC0644 3 z\nabc\x01sender: read error\n"
	for i := range stream { // in single bytes
		if _, err := p.Write([]byte{stream[i]}); err != nil {
			t.Fatal(err)
		}
	}
	sum := sha256.Sum256([]byte("hello"))
	want := []string{"dir/sub/a b 5 ok", "dir/sub/empty 0 ok", "dir/z 3 the sender reported an error"}
	if len(got) != 3 || got[0].SHA256 != hex.EncodeToString(sum[:]) {
		t.Fatalf("%+v", got)
	}
	for i, f := range got {
		if s := fmt.Sprintf("%s %d %s", f.Path, f.Bytes, f.Result); s != want[i] {
			t.Errorf("%q, want %q", s, want[i])
		}
	}
	p.Write([]byte("C0644 100 cut\nabc"))
	if p.Close(); len(got) != 4 || got[3].Result != "cut off" || got[3].Bytes != 3 || got[3].SHA256 != "" {
		t.Errorf("%+v", got[3:])
	}
	for _, bad := range []string{"hello world\n", "C0644 -1 x\n", "C0644 x y\n", "E\n", "\n", "C" + strings.Repeat("x", 9000)} {
		if _, err := newSCPParser("x", func(scpFile) error { return nil }).Write([]byte(bad)); err == nil {
			t.Errorf("accepted %.20q", bad)
		}
	}
}

func FuzzSCP(f *testing.F) {
	f.Add([]byte("T1 0 2 0\nD0755 0 sub\nC0644 5 a b\nhello\x00E\n"))
	f.Add([]byte("\x00\x00C0644 0 x\n\x00"))
	f.Fuzz(func(t *testing.T, b []byte) {
		var whole, split int64
		parse := func(n int64, total *int64) error {
			p := newSCPParser("base", func(f scpFile) error { *total += f.Bytes; return nil })
			for rest := b; len(rest) > 0; {
				k := min(n, int64(len(rest)))
				if _, err := p.Write(rest[:k]); err != nil {
					return err
				}
				rest = rest[k:]
			}
			return p.Close()
		}
		e1, e2 := parse(int64(len(b)), &whole), parse(1, &split)
		if (e1 == nil) != (e2 == nil) || e1 == nil && whole != split {
			t.Errorf("whole: %v %d, split: %v %d", e1, whole, e2, split)
		}
	})
}

func TestParseSCPCommand(t *testing.T) {
	for cmd, want := range map[string]string{
		"scp -t /tmp/x": "write /tmp/x", "scp -r -p -f 'a b'": "read a b", "scp -v -d -t -- .": "write .",
		"scp -t /tmp/x; id": "", "scp -t -f x": "", "scp x y": "", "scp -t $(id)": "", "/usr/bin/scp -t x": "", "scp -S prog -t x": "",
	} {
		got := ""
		if c, ok := parseSCP(cmd); ok {
			got = c.needs() + " " + c.Path
		}
		if got != want {
			t.Errorf("%q: %q, want %q", cmd, got, want)
		}
	}
}

func TestExecPatterns(t *testing.T) {
	c := policy.Channels{Exec: true, ExecPatterns: []string{"systemctl status *", "uptime"}}
	for cmd, want := range map[string]bool{
		"uptime": true, "systemctl status nginx": true, "systemctl restart nginx": false,
		"systemctl status nginx; id": false, "uptime\nid": false, "systemctl status $(id)": false, "uptime ": false, "systemctl status a|b": false, "systemctl status `id`": false,
		"scp -t /x": false,
	} {
		if ok, why := execAllowed(c, cmd); ok != want || ok == (why != "") {
			t.Errorf("%q: %v %q", cmd, ok, why)
		}
	}
	if ok, _ := execAllowed(policy.Channels{SFTP: "read", SFTPPaths: []string{"/srv"}}, "scp -f /srv/a"); !ok {
		t.Error("a download by scp under an sftp rule was refused")
	}
	for _, cmd := range []string{"scp -t /srv/a", "scp -f /srv/../etc/passwd", "scp -f relative", "scp -f /srv/.?/etc/passwd", "scp -f '/srv/.*/etc/passwd'", "scp -f /srv/[a-z]", "id"} {
		if ok, _ := execAllowed(policy.Channels{SFTP: "read", SFTPPaths: []string{"/srv"}}, cmd); ok {
			t.Errorf("%q passed", cmd)
		}
	}
}

func TestForwardPatterns(t *testing.T) {
	patterns := []string{"10.0.0.*:443", "192.168.0.0/16:*", "[fd00::]/8:443", "fd01::/16:443", "*.corp.example:80", "localhost:80??", "unix:/run/app/*.sock", "10?:1"}
	for dest, want := range map[string]bool{
		"10.0.0.7:443": true, "10.0.0.7:444": false, "10.0.0.example.com:443": false, "10.0.0.1.2:443": false, "10.0.0.0x7:443": false,
		"192.168.7.1:9": true, "192.169.0.1:9": false, "[::ffff:192.168.1.1]:5": true, "192.168.example.com:9": false, "[fd01::1]:443": true, "[fd02::1]:443": false,
		"a.corp.example:80": true, "corp.example:80": false, "localhost:8080": true, "localhost:80": false,
		"unix:/run/app/a.sock": true, "unix:/run/docker.sock": false, "unix:/tmp/x.corp.example:80": false, "10x:1": false, "": false,
	} {
		if got := mayForward(patterns, dest); got != want {
			t.Errorf("%s: %v", dest, got)
		}
	}
	for _, dest := range []string{"x:1", "[::1]:1", "unix:/x", ":0"} {
		if !mayForward([]string{"*"}, dest) || mayForward(nil, dest) {
			t.Errorf("%s: everything or nothing", dest)
		}
	}
}

func TestSniffer(t *testing.T) {
	for text, want := range map[string]string{
		"SSH-2.0-OpenSSH": "SSH", "junk line\r\nSSH-2.0-x": "SSH", "\x00\x00\x00\x54\x00\x03\x00\x00user": "PostgreSQL",
		"\x00\x00\x00\x08\x04\xd2\x16\x2f": "PostgreSQL", "\x16\x03\x01\x00\xff\x01...\x00\x0apostgresql": "PostgreSQL",
		"\x00\x00\x00\x1e\x00\x03\x00\x01\x00\x00\x00\x01": "", // Kafka asks for metadata
		"GET / HTTP/1.1\r\n": "", "\x16\x03\x01\x00\xff\x01 h2": "", "": "",
	} {
		for _, step := range []int{1, 3, 1000} {
			s, got := &sniffer{}, ""
			for b := []byte(text); len(b) > 0 && got == ""; b = b[min(step, len(b)):] {
				got = s.sees(b[:min(step, len(b))])
			}
			if got != want {
				t.Errorf("%q in steps of %d: %q, want %q", text, step, got, want)
			}
		}
	}
	s := &sniffer{}
	if s.sees(make([]byte, sniffBytes)); s.sees([]byte("SSH-2.0-x")) != "" {
		t.Error("looked beyond the beginning")
	}
}

func FuzzAgent(f *testing.F) {
	f.Add(cat([]byte{agentSign}, str("key"), str(string(cat(str("session"), []byte{50}, str("alice")))), u32(0)))
	f.Add([]byte{agentIdentities})
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) == 0 {
			return
		}
		if s, err := parseSign(b); err == nil && s.fingerprint == "" {
			t.Error("no fingerprint")
		}
	})
}

// A packet of the inner connection fits into one of the outer one.
func TestPiecesFitIntoPackets(t *testing.T) {
	for _, n := range []int{0, 1, pieceMax, pieceMax + 1, 64 << 10, 256 << 10} {
		var sizes []int
		w := wholePackets{writerFunc(func(p []byte) (int, error) { sizes = append(sizes, len(p)); return len(p), nil })}
		if got, err := w.Write(make([]byte, n)); got != n || err != nil {
			t.Errorf("%d: %d %v", n, got, err)
		}
		sum := 0
		for _, s := range sizes {
			sum += s
			sealed := 4 + 1 + 9 + s + 4 // length, padding's length, header, data, least padding
			sealed += (16-(sealed-4)%16)%16 + 16
			if sealed > 32<<10 {
				t.Errorf("%d: a piece of %d is a packet of %d", n, s, sealed)
			}
		}
		if sum != n || len(sizes) > n/pieceMax+1 {
			t.Errorf("%d was written as %v", n, sizes)
		}
	}
}

// What a bulk transfer reads at a time fills its packets.
func TestReadsFillPieces(t *testing.T) {
	var sizes []int
	w := wholePackets{writerFunc(func(p []byte) (int, error) { sizes = append(sizes, len(p)); return len(p), nil })}
	const size = 8 << 20
	if _, err := proxy.Copy(w, wholeReads{io.LimitReader(zeroes{}, size)}, nil); err != nil {
		t.Error(err)
	}
	crumbs := 0
	for _, n := range sizes {
		if n != pieceMax {
			crumbs++
		}
	}
	if crumbs > 11 || len(sizes) > size/pieceMax+5 { // small reads at first, and what is left at the end
		t.Errorf("%d of %d packets are not full", crumbs, len(sizes))
	}
}

type corks []string

func (c *corks) Cork()   { *c = append(*c, "cork") }
func (c *corks) Uncork() { *c = append(*c, "uncork") }

// Several packets leave together; one, as a keystroke is, waits for nobody.
func TestPacketsLeaveTogether(t *testing.T) {
	var did corks
	write := writerFunc(func(p []byte) (int, error) { did = append(did, fmt.Sprint(len(p))); return len(p), nil })
	w := together{&did, wholePackets{write}}
	w.Write(make([]byte, 2*pieceMax))
	w.Write(make([]byte, 1))
	if got, want := strings.Join(did, " "), fmt.Sprintf("cork %[1]d %[1]d uncork 1", pieceMax); got != want {
		t.Errorf("%s, want %s", got, want)
	}
}
