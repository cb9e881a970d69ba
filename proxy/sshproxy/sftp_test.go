package sshproxy

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
)

// pkt frames an SFTP packet.
func pkt(typ byte, body ...[]byte) []byte {
	b := cat(body...)
	return cat(u32(uint32(len(b)+1)), []byte{typ}, b)
}

// conversation is an upload, a download and some operations.
func conversation(file []byte) (toTarget, toClient []byte) {
	half := len(file) / 2
	toTarget = cat(
		pkt(fxInit, u32(3)),
		pkt(fxRealpath, u32(1), str(".")),
		pkt(fxOpen, u32(2), str("/srv/up"), u32(0x1a), u32(0)),
		pkt(fxWrite, u32(3), str("h1"), u64(0), str(string(file[:half]))),
		pkt(fxWrite, u32(4), str("h1"), u64(uint64(half)), str(string(file[half:]))),
		pkt(fxClose, u32(5), str("h1")),
		pkt(fxOpen, u32(6), str("/srv/down"), u32(1), u32(0)),
		pkt(fxRead, u32(7), str("h2"), u64(0), u32(1<<20)),
		pkt(fxRead, u32(8), str("h2"), u64(uint64(len(file))), u32(1<<20)),
		pkt(fxClose, u32(9), str("h2")),
		pkt(fxRename, u32(10), str("/srv/up"), str("/srv/new")),
		pkt(fxExtended, u32(11), str("posix-rename@openssh.com"), str("a"), str("b")),
		pkt(fxSymlink, u32(12), str("/etc/passwd"), str("/srv/link")),
		pkt(fxMkdir, u32(13), str("/srv/d"), u32(0)),
	)
	ok := cat(u32(0), str(""), str(""))
	toClient = cat(
		pkt(fxVersion, u32(3)),
		pkt(fxName, u32(1), u32(1), str("/home/deploy"), str("long"), u32(0)),
		pkt(fxHandle, u32(2), str("h1")),
		pkt(fxStatus, u32(3), ok), pkt(fxStatus, u32(4), ok), pkt(fxStatus, u32(5), ok),
		pkt(fxHandle, u32(6), str("h2")),
		pkt(fxData, u32(7), str(string(file))),
		pkt(fxStatus, u32(8), u32(1), str(""), str("")),
		pkt(fxStatus, u32(9), ok), pkt(fxStatus, u32(10), ok), pkt(fxStatus, u32(11), u32(3), str(""), str("")), pkt(fxStatus, u32(12), ok), pkt(fxStatus, u32(13), ok),
	)
	return toTarget, toClient
}

// replay feeds both directions, each request before its answer, in random pieces.
func replay(tr *sftpTracker, toTarget, toClient []byte) error {
	packets := func(b []byte) (out [][]byte) {
		for len(b) >= 4 {
			n := int(b[0])<<24 | int(b[1])<<16 | int(b[2])<<8 | int(b[3])
			out = append(out, b[:4+n])
			b = b[4+n:]
		}
		return out
	}
	answers := packets(toClient)
	for i, q := range packets(toTarget) {
		for _, side := range []struct {
			f *sftpFrames
			b []byte
		}{{&tr.toTarget, q}, {&tr.toClient, answers[i]}} {
			for b := side.b; len(b) > 0; {
				k := min(len(b), 1+rand.IntN(40000))
				if err := side.f.feed(b[:k]); err != nil {
					return err
				}
				b = b[k:]
			}
		}
	}
	return tr.end()
}

func TestSFTPTracker(t *testing.T) {
	file := bytes.Repeat([]byte("0123456789"), 20000)
	sum := sha256.Sum256(file)
	hex := hex.EncodeToString(sum[:])
	var got []string
	tr := newSFTPTracker(func(op sftpOp) error {
		got = append(got, fmt.Sprintf("%s %s>%s %d %s %s", op.Op, op.Path, op.To, op.Bytes, op.SHA256, op.Result))
		return nil
	}, nil)
	toTarget, toClient := conversation(file)
	if err := replay(tr, toTarget, toClient); err != nil {
		t.Fatal(err)
	}
	want := []string{
		"open /srv/up>write,create,truncate 0  ", "open /srv/up>write,create,truncate 0  ok", "write /srv/up> 200000 " + hex + " ok",
		"open /srv/down>read 0  ok", "read /srv/down> 200000 " + hex + " ok",
		"rename /srv/up>/srv/new 0  ", "rename /srv/up>/srv/new 0  ok",
		"rename a>b 0  ", "rename a>b 0  permission denied",
		"symlink /srv/link>/etc/passwd 0  ", "symlink /srv/link>/etc/passwd 0  ok",
		"mkdir /srv/d> 0  ", "mkdir /srv/d> 0  ok",
	}
	if g, w := strings.Join(got, "\n"), strings.Join(want, "\n"); g != w {
		t.Errorf("got:\n%s\nwant:\n%s", g, w)
	}
	if tr.home != "/home/deploy" {
		t.Errorf("home %q", tr.home)
	}
}

// A client need not wait for answers. What it does before they come is told
// all the same, and of the right file; what cannot be told is not done.
func TestG2SFTPBeforeTheAnswers(t *testing.T) {
	ok, failed := cat(u32(0), str(""), str("")), cat(u32(4), str(""), str(""))
	open := func(id uint32, path string, flags uint32) []byte {
		return pkt(fxOpen, u32(id), str(path), u32(flags), u32(0))
	}
	abc := "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
	type step struct {
		q, a []byte
	}
	for name, c := range map[string]struct {
		steps []step
		want  string // totals that were told, or
		err   string
	}{
		"closed while it is read": {steps: []step{
			{q: open(1, "/a", 1)}, {a: pkt(fxHandle, u32(1), str("h"))},
			{q: cat(pkt(fxRead, u32(2), str("h"), u64(0), u32(9)), pkt(fxClose, u32(3), str("h")), open(4, "/b", 1))},
			{a: cat(pkt(fxData, u32(2), str("abc")), pkt(fxStatus, u32(3), ok), pkt(fxHandle, u32(4), str("h")))},
			{q: cat(pkt(fxRead, u32(5), str("h"), u64(0), u32(9)), pkt(fxClose, u32(6), str("h")))},
			{a: cat(pkt(fxStatus, u32(6), ok), pkt(fxData, u32(5), str("xyz")))}, // in another order
		}, want: "read /a 3 " + abc + " ok; read /b 3 3608bca1e44ea6c4d268eb6db02260269892c0b42b86bbf1e77a6fa16c3c9282 ok"},
		"a write that failed": {steps: []step{
			{q: open(1, "/a", 0x1a)}, {a: pkt(fxHandle, u32(1), str("h"))},
			{q: pkt(fxWrite, u32(2), str("h"), u64(0), str("abc"))}, {a: pkt(fxStatus, u32(2), failed)},
			{q: pkt(fxClose, u32(3), str("h"))}, {a: pkt(fxStatus, u32(3), ok)},
		}, want: "write /a 3  failure"},
		"cut off": {steps: []step{
			{q: open(1, "/a", 0x1a)}, {a: pkt(fxHandle, u32(1), str("h"))},
			{q: pkt(fxWrite, u32(2), str("h"), u64(0), str("abc"))},
		}, want: "write /a 3 " + abc + " cut off"},
		"a guessed handle":            {steps: []step{{q: open(1, "/a", 0x1a)}, {q: pkt(fxWrite, u32(2), str("h"), u64(0), str("abc"))}}, err: "not open"},
		"a guessed handle, to close":  {steps: []step{{q: open(1, "/a", 0x1a)}, {q: pkt(fxClose, u32(2), str("h"))}}, err: "not open"},
		"a guessed handle, to change": {steps: []step{{q: pkt(fxFsetstat, u32(2), str("h"), u32(0))}}, err: "not open"},
		"the last file's handle": {steps: []step{
			{q: open(1, "/a", 0x1a)}, {a: pkt(fxHandle, u32(1), str("h"))},
			{q: cat(pkt(fxClose, u32(2), str("h")), open(3, "/b", 0x1a), pkt(fxWrite, u32(4), str("h"), u64(0), str("abc")))},
		}, err: "not open"},
		"closed twice": {steps: []step{
			{q: open(1, "/a", 1)}, {a: pkt(fxHandle, u32(1), str("h"))},
			{q: cat(pkt(fxClose, u32(2), str("h")), pkt(fxClose, u32(3), str("h")))}, {a: cat(pkt(fxStatus, u32(2), ok), pkt(fxStatus, u32(3), failed))},
		}},
		"another version": {steps: []step{{q: pkt(fxInit, u32(6))}, {a: pkt(fxVersion, u32(6))}}, err: "version 6"},
	} {
		t.Run(name, func(t *testing.T) {
			var got []string
			tr := newSFTPTracker(func(op sftpOp) error {
				if op.Op == "read" || op.Op == "write" {
					got = append(got, fmt.Sprintf("%s %s %d %s %s", op.Op, op.Path, op.Bytes, op.SHA256, op.Result))
				}
				return nil
			}, nil)
			var err error
			for _, s := range c.steps {
				if err == nil {
					err = tr.toTarget.feed(s.q)
				}
				if err == nil {
					err = tr.toClient.feed(s.a)
				}
			}
			if err == nil {
				err = tr.end()
			}
			if (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
				t.Errorf("%v, want %q", err, c.err)
			}
			if g := strings.Join(got, "; "); g != c.want {
				t.Errorf("told: %s\nwant: %s", g, c.want)
			}
		})
	}
}

func TestSFTPRules(t *testing.T) {
	read := &sftpRule{read: true}
	write := &sftpRule{write: true}
	under := &sftpRule{read: true, write: true, paths: []string{"/srv/data"}}
	for _, c := range []struct {
		rule *sftpRule
		req  sftpRequest
		ok   bool
	}{
		{read, sftpRequest{reads: true, paths: []string{"/x"}}, true},
		{read, sftpRequest{writes: true}, false},
		{read, sftpRequest{unknown: true}, false},
		{write, sftpRequest{writes: true}, true},
		{write, sftpRequest{reads: true}, false},
		{under, sftpRequest{reads: true, paths: []string{"/srv/data/x"}}, true},
		{under, sftpRequest{reads: true, paths: []string{"/srv/data/../../etc/passwd"}}, false},
		{under, sftpRequest{reads: true, paths: []string{"/srv/database"}}, false},
		{under, sftpRequest{reads: true, paths: []string{"x"}}, false},
		{under, sftpRequest{writes: true, links: true, paths: []string{"/srv/data/l", "/srv/data/x"}}, false},
	} {
		if why := c.rule.refuses(c.req, "/home/deploy"); (why == "") != c.ok {
			t.Errorf("%+v under %+v: %q", c.req, c.rule, why)
		}
	}
	if why := (&sftpRule{read: true, paths: []string{"/home/deploy"}}).refuses(sftpRequest{paths: []string{"notes"}}, "/home/deploy"); why != "" {
		t.Errorf("a relative path below the home: %s", why)
	}
}

func TestSFTPMalformed(t *testing.T) {
	for name, b := range map[string][]byte{
		"zero length":   cat(u32(0), []byte{fxInit}),
		"huge":          cat(u32(1<<30), []byte{fxInit}),
		"short open":    pkt(fxOpen, u32(1), u32(100)),
		"write lies":    pkt(fxWrite, u32(1), str("h"), u64(0), u32(99), []byte("x")),
		"long handle":   pkt(fxWrite, u32(1), str(strings.Repeat("h", 300)), u64(0), str("x")),
		"reused id":     cat(pkt(fxStat, u32(1), str("x")), pkt(fxStat, u32(1), str("x"))),
		"huge realpath": pkt(fxRealpath, u32(1), str(strings.Repeat("x", maxSFTPHead+1))),
	} {
		if err := newSFTPTracker(func(sftpOp) error { return nil }, nil).toTarget.feed(b); err == nil {
			t.Errorf("%s was accepted", name)
		}
	}
	if err := newSFTPTracker(func(sftpOp) error { return nil }, nil).toClient.feed(pkt(fxStatus, u32(9), u32(0))); err == nil {
		t.Error("an answer to nothing was accepted")
	}
}

func FuzzSFTP(f *testing.F) {
	q, a := conversation([]byte("some content"))
	f.Add(q, a, false)
	f.Add(q, a, true)
	f.Fuzz(func(t *testing.T, q, a []byte, restricted bool) {
		var rule *sftpRule
		if restricted {
			rule = &sftpRule{read: true, paths: []string{"/srv"}}
		}
		tr := newSFTPTracker(func(sftpOp) error { return nil }, rule)
		tr.refuse = func(_, _ uint32, _ string) error { return nil }
		var passed int
		tr.toTarget.pass = func(p []byte) error { passed += len(p); return nil }
		for i := 0; i < len(q) || i < len(a); i += 64 {
			if i < len(q) && tr.toTarget.feed(q[i:min(i+64, len(q))]) != nil {
				return
			}
			if i < len(a) && tr.toClient.feed(a[i:min(i+64, len(a))]) != nil {
				return
			}
		}
		if passed > len(q) {
			t.Error("more passed than came")
		}
		tr.end()
	})
}
