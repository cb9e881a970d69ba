package sshproxy

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"jit-gateway/recording"
)

func TestControlMasterWithManySessions(t *testing.T) {
	g := newGateway(t, gatewayOptions{})
	g.grant("alice", "web01", "deploy", time.Hour)
	master := []string{"-o", "ControlMaster=auto", "-o", "ControlPath=" + filepath.Join(g.dir, "cm"), "-o", "ControlPersist=60"}
	if out, errs, st := g.run("", "ssh", append(master, "web01", "echo first")...); st != 0 || out != "first\n" {
		t.Fatalf("%q %q %d", out, errs, st)
	}
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			want := fmt.Sprintf("session %d\n", i)
			if out, errs, st := g.run("", "ssh", append(master, "web01", "sleep 0.2; echo session "+fmt.Sprint(i))...); st != 0 || out != want {
				t.Errorf("%d: %q %q %d", i, out, errs, st)
			}
		})
	}
	wg.Wait()
	if _, errs, st := g.run("", "ssh", append(master, "-O", "exit", "web01")...); st != 0 {
		t.Errorf("%s", errs)
	}
	rows := g.closed(1)
	if len(rows) != 1 {
		t.Errorf("%d sessions for one connection", len(rows))
	}
	if out := output(g.recorded(rows[0].ID), 1); strings.Count(out, "session ") != 8 {
		t.Errorf("recorded %q", out)
	}
}

// Rekeying in the middle of bulk data, both ways at once, on every leg.
func TestRekeyInBulkData(t *testing.T) {
	g := newGateway(t, gatewayOptions{sshd: []string{"RekeyLimit 1M"}})
	g.grant("alice", "web01", "deploy", time.Hour)
	const size = 24 << 20
	c := g.cmd("ssh", "-o", "RekeyLimit=1M", "web01", "cat")
	in := io.LimitReader(zeroes{}, size)
	c.Stdin = in
	sum := sha256.New()
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	n, err := io.Copy(sum, out)
	if st := wait(t, c, 60*time.Second); st != 0 || n != size || err != nil {
		t.Fatalf("%d bytes, %v, status %d", n, err, st)
	}
	want := sha256.Sum256(make([]byte, size))
	if hex.EncodeToString(sum.Sum(nil)) != hex.EncodeToString(want[:]) {
		t.Error("the data changed")
	}
}

type zeroes struct{}

func (zeroes) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// Questions to both ends keep quiet sessions alive, in both directions.
func TestKeepalives(t *testing.T) {
	g := newGateway(t, gatewayOptions{sshd: []string{"ClientAliveInterval 1", "ClientAliveCountMax 1"}, options: func(o *Options) { o.Keepalive = 300 * time.Millisecond }})
	g.grant("alice", "web01", "deploy", time.Hour)
	out, errs, st := g.run("", "ssh", "-o", "ServerAliveInterval=1", "-o", "ServerAliveCountMax=1", "web01", "sleep 4; echo alive")
	if st != 0 || out != "alive\n" {
		t.Errorf("%q %q %d", out, errs, st)
	}
}

// ~B at a terminal.
func TestBreak(t *testing.T) {
	g := newGateway(t, gatewayOptions{})
	g.grant("alice", "web01", "deploy", time.Hour)
	c := g.dialInner("web01", "deploy")
	defer c.Close()
	s, err := c.NewSession()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.RequestPty("xterm", 24, 80, nil); err != nil {
		t.Fatal(err)
	}
	if err := s.Start("cat"); err != nil {
		t.Fatal(err)
	}
	if ok, err := s.SendRequest("break", true, u32(500)); !ok || err != nil {
		t.Errorf("break: %v %v", ok, err)
	}
	c.Close()
	if p := payloads[recording.Signal](g.recorded(g.closed(1)[0].ID)); len(p) != 1 || p[0].Name != "BREAK" {
		t.Errorf("recorded %+v", p)
	}
}

func TestExitSignalsAndSignals(t *testing.T) {
	g := newGateway(t, gatewayOptions{})
	g.grant("alice", "web01", "deploy", time.Hour)
	// A command that a signal ends.
	if _, _, st := g.run("", "ssh", "web01", "kill -SEGV $$"); st == 0 {
		t.Error("a killed command succeeded")
	}
	// A signal that the client sends.
	conn := g.dialInner("web01", "deploy")
	defer conn.Close()
	s, err := conn.NewSession()
	if err != nil {
		t.Fatal(err)
	}
	out, err := s.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Start("trap 'echo caught; exit 3' USR1; echo ready; while :; do sleep 0.05; done"); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 6)
	if _, err := io.ReadFull(out, buf); err != nil {
		t.Fatal(err)
	}
	if err := s.Signal("USR1"); err != nil {
		t.Fatal(err)
	}
	rest, err := io.ReadAll(out)
	if string(rest) != "caught\n" || err != nil {
		t.Errorf("%q %v", rest, err)
	}
	if err := s.Wait(); err == nil || !strings.Contains(err.Error(), "status 3") {
		t.Errorf("%v", err)
	}
}
