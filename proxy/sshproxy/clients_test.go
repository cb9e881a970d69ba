package sshproxy

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"jit-gateway/internal/testenv"
	"jit-gateway/recording"
)

// randomFile writes n random bytes and returns their SHA-256.
func randomFile(t *testing.T, path string, n int) string {
	t.Helper()
	b := make([]byte, n)
	rand.Read(b)
	if err := os.WriteFile(path, b, 0o644); err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

func fileSum(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

func TestShellInATerminal(t *testing.T) {
	g := newGateway(t, gatewayOptions{})
	g.grant("alice", "web01", "deploy", time.Hour)
	p := testenv.NewPTY(t, g.cmd("ssh", "web01"))
	expect := func(pattern string) {
		t.Helper()
		if _, err := p.Expect(pattern); err != nil {
			t.Fatal(err)
		}
	}
	expect(`\$ `)
	p.Line("export PS1='READY''> '") // not READY> in the echo
	expect(`READY> `)
	p.Line("echo a$((40+2))b; stty size")
	expect(`a42b`)
	expect(`24 80`)
	if err := p.Resize(132, 50); err != nil {
		t.Fatal(err)
	}
	expect(`READY> `)
	p.Line("sleep 0.3; stty size")
	expect(`50 132`)
	p.Line("sleep 100")
	time.Sleep(300 * time.Millisecond)
	p.Send("\x03")
	expect(`READY> `)
	p.Line("exit 5")
	if status, err := p.Exit(); err != nil || status != 5 {
		t.Fatalf("exit %d, %v", status, err)
	}
	evs := g.recorded(g.closed(1)[0].ID)
	if out := output(evs, 1); !strings.Contains(out, "a42b") {
		t.Errorf("recorded %q", out)
	}
	sizes := payloads[recording.Resize](evs)
	if len(sizes) < 2 || sizes[0] != (recording.Resize{Cols: 80, Rows: 24}) || sizes[len(sizes)-1] != (recording.Resize{Cols: 132, Rows: 50}) {
		t.Errorf("recorded sizes %+v", sizes)
	}
	for _, e := range evs {
		if e.Kind == recording.KindInput {
			t.Error("what was typed is recorded, which the rule does not say")
		}
	}
}

func TestSFTPAndBothKindsOfSCP(t *testing.T) {
	g := newGateway(t, gatewayOptions{})
	g.grant("alice", "web01", "deploy", time.Hour)
	home := g.hosts["web01"].Home("deploy")
	src := filepath.Join(g.dir, "src.bin")
	sum := randomFile(t, src, 3<<20+17)

	for _, c := range []struct {
		name, via string
		put, get  []string
	}{
		{"sftp", "sftp", []string{"sftp", "-b", "-", "web01"}, []string{"sftp", "-b", "-", "web01"}},
		{"scp over sftp", "sftp", []string{"scp", src, "web01:up.bin"}, []string{"scp", "web01:up.bin", filepath.Join(g.dir, "down.bin")}},
		{"old scp", "scp", []string{"scp", "-O", src, "web01:up.bin"}, []string{"scp", "-O", "web01:up.bin", filepath.Join(g.dir, "down.bin")}},
	} {
		t.Run(c.name, func(t *testing.T) {
			before := len(g.closed(0))
			os.Remove(filepath.Join(g.dir, "down.bin"))
			batch := func(args []string, line string) string {
				if args[0] == "sftp" {
					return line
				}
				return ""
			}
			if _, errs, st := g.run(batch(c.put, "put "+src+" up.bin\n"), c.put[0], c.put[1:]...); st != 0 {
				t.Fatalf("put: %d %s", st, errs)
			}
			if got := fileSum(t, filepath.Join(home, "up.bin")); got != sum {
				t.Fatalf("uploaded %s, want %s", got, sum)
			}
			if _, errs, st := g.run(batch(c.get, "get up.bin "+filepath.Join(g.dir, "down.bin")+"\nrename up.bin moved.bin\nrm moved.bin\n"), c.get[0], c.get[1:]...); st != 0 {
				t.Fatalf("get: %d %s", st, errs)
			}
			if got := fileSum(t, filepath.Join(g.dir, "down.bin")); got != sum {
				t.Fatalf("downloaded %s, want %s", got, sum)
			}
			rows := g.closed(before + 2)
			put, get := g.recorded(rows[1].ID), g.recorded(rows[0].ID)
			want := func(evs []recording.Event, op, direction string) {
				t.Helper()
				if c.via == "scp" {
					for _, f := range payloads[recording.File](evs) {
						if f.Direction == direction && f.SHA256 == sum && f.Bytes == 3<<20+17 && f.Result == "ok" {
							return
						}
					}
				}
				for _, f := range payloads[recording.SFTP](evs) {
					if f.Op == op && f.SHA256 == sum && f.Bytes == 3<<20+17 && strings.HasSuffix(f.Path, "up.bin") {
						return
					}
				}
				t.Errorf("no %s of %s in %+v", op, sum, evs)
			}
			want(put, "write", "upload")
			want(get, "read", "download")
			if c.name == "sftp" {
				ops := ""
				for _, f := range payloads[recording.SFTP](get) {
					ops += f.Op + " " + filepath.Base(f.Path) + ">" + filepath.Base(f.To) + " " + f.Result + "\n"
				}
				if !strings.Contains(ops, "rename up.bin>moved.bin ok\n") || !strings.Contains(ops, "remove moved.bin>. ok\n") {
					t.Errorf("operations:\n%s", ops)
				}
			}
			var content int
			for _, e := range append(put, get...) {
				content += len(e.Data)
			}
			if content > 64<<10 {
				t.Errorf("%d bytes of content are recorded, which the rule does not say", content)
			}
		})
	}
}

func TestRsync(t *testing.T) {
	g := newGateway(t, gatewayOptions{})
	g.grant("alice", "web01", "deploy", time.Hour)
	dir := filepath.Join(g.dir, "tree")
	if err := os.MkdirAll(filepath.Join(dir, "sub"), 0o755); err != nil {
		t.Fatal(err)
	}
	sum := randomFile(t, filepath.Join(dir, "sub", "f"), 1<<20)
	if _, errs, st := g.run("", "rsync", "-a", dir+"/", "web01:copy/"); st != 0 {
		t.Fatalf("rsync: %d %s", st, errs)
	}
	if got := fileSum(t, filepath.Join(g.hosts["web01"].Home("deploy"), "copy/sub/f")); got != sum {
		t.Fatal("the copy differs")
	}
	if _, errs, st := g.run("", "rsync", "-a", "web01:copy/", filepath.Join(g.dir, "back")+"/"); st != 0 {
		t.Fatalf("rsync back: %d %s", st, errs)
	}
	if got := fileSum(t, filepath.Join(g.dir, "back/sub/f")); got != sum {
		t.Fatal("the copy back differs")
	}
	evs := g.recorded(g.closed(2)[1].ID)
	var in int64
	for _, b := range payloads[recording.Bulk](evs) {
		if b.Stream == 0 {
			in += b.Bytes
		}
	}
	if e := payloads[recording.Exec](evs); len(e) != 1 || !strings.HasPrefix(e[0].Command, "rsync --server") || in < 1<<20 {
		t.Errorf("recorded %+v, %d bytes in", e, in)
	}
}

// A client may close the channel as soon as it has sent everything: what it
// sent reaches the target, as it would through sshd's buffers.
func TestWhatWasSentBeforeTheCloseArrives(t *testing.T) {
	g := newGateway(t, gatewayOptions{sshd: []string{"MaxStartups 100"}})
	g.grant("alice", "web01", "deploy", time.Hour)
	text := bytes.Repeat([]byte("0123456789abcdef"), 64<<10) // 1 MiB: less than a window
	for i := range 6 {
		c := g.dialInner("web01", "deploy")
		name := filepath.Join(g.hosts["web01"].Home("deploy"), fmt.Sprint("sent", i))
		ch, reqs, err := c.OpenChannel("session", nil)
		if err != nil {
			t.Fatal(err)
		}
		go ssh.DiscardRequests(reqs)
		if ok, err := ch.SendRequest("exec", true, str("cat >"+name)); !ok || err != nil {
			t.Fatal(ok, err)
		}
		if _, err := ch.Write(text); err != nil {
			t.Fatal(err)
		}
		ch.Close()
		var size int64
		for range 250 {
			if st, err := os.Stat(name); err == nil {
				if size = st.Size(); size == int64(len(text)) {
					break
				}
			}
			time.Sleep(20 * time.Millisecond)
		}
		if size != int64(len(text)) {
			t.Errorf("%d: %d of %d bytes arrived", i, size, len(text))
		}
		c.Close()
	}
}

func TestHalfCloseBothWays(t *testing.T) {
	g := newGateway(t, gatewayOptions{})
	g.grant("alice", "web01", "deploy", time.Hour)
	big := strings.Repeat("0123456789abcdef", 64<<10) // 1 MiB
	if out, errs, st := g.run(big, "ssh", "web01", "cat; echo done"); st != 0 || out != big+"done\n" {
		t.Fatalf("%d bytes, status %d, %s", len(out), st, errs)
	}
	if out, _, st := g.run("", "ssh", "web01", "cat | wc -c"); st != 0 || strings.TrimSpace(out) != "0" {
		t.Fatalf("empty input: %q, %d", out, st)
	}
	// The command closes its input early; the client must not hang.
	if out, _, st := g.run(big, "ssh", "web01", "head -c 4"); st != 0 || out != "0123" {
		t.Fatalf("early end: %q, %d", out, st)
	}
	// A job that keeps the output open does not hold the client's end.
	start := time.Now()
	if _, _, st := g.run("", "ssh", "web01", "sleep 1 & echo started"); st != 0 || time.Since(start) > 5*time.Second {
		t.Fatalf("status %d after %s", st, time.Since(start))
	}
}
