package sshproxy

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"filippo.io/age"
	"golang.org/x/crypto/ssh"

	"jit-gateway/approval/policy"
	"jit-gateway/internal/audit"
	"jit-gateway/internal/inventory"
	"jit-gateway/internal/testenv"
	"jit-gateway/proxy"
	"jit-gateway/recording"
)

// echoServer answers each line in capitals, after a greeting.
func echoServer(t *testing.T, network, addr string) net.Listener {
	t.Helper()
	ln, err := net.Listen(network, addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				fmt.Fprintln(c, "hello")
				sc := bufio.NewScanner(c)
				for sc.Scan() {
					fmt.Fprintln(c, strings.ToUpper(sc.Text()))
				}
				fmt.Fprintln(c, "bye") // after the client's half-close
			}()
		}
	}()
	return ln
}

// background starts a client that stays, and ends it with the test.
func (g *gateway) background(name string, args ...string) *exec.Cmd {
	g.t.Helper()
	c := g.cmd(name, args...)
	var errs syncBuffer
	c.Stderr = &errs
	if err := c.Start(); err != nil {
		g.t.Fatal(err)
	}
	g.t.Cleanup(func() {
		c.Process.Kill()
		c.Wait()
		if g.t.Failed() {
			g.t.Logf("%s: %s", c, errs.String())
		}
	})
	return c
}

// dialog dials until it works, writes, half-closes and reads to the end.
func dialog(t *testing.T, network, addr, text string) (string, error) {
	t.Helper()
	var c net.Conn
	var err error
	for range 200 {
		if c, err = net.Dial(network, addr); err == nil {
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(10 * time.Second))
	io.WriteString(c, text)
	c.(interface{ CloseWrite() error }).CloseWrite()
	b, err := io.ReadAll(c)
	return string(b), err
}

func freePort(t *testing.T) string {
	t.Helper()
	p, err := testenv.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprint(p)
}

func TestForwardsOfEveryKind(t *testing.T) {
	g := newGateway(t, gatewayOptions{rules: []policy.Rule{autoRule(everythingAllowed())}})
	g.grant("alice", "web01", "deploy", time.Hour)
	tcp := echoServer(t, "tcp", "127.0.0.1:0")
	dest := tcp.Addr().String()
	if err := os.Chmod(g.dir, 0o777); err != nil {
		t.Fatal(err)
	}
	sock := filepath.Join(g.dir, "echo.sock")
	echoServer(t, "unix", sock)
	if err := os.Chmod(sock, 0o777); err != nil {
		t.Fatal(err)
	}
	const want = "hello\nABC\nbye\n"
	check := func(what, network, addr string) {
		t.Helper()
		if got, err := dialog(t, network, addr, "abc\n"); got != want || err != nil {
			t.Errorf("%s: %q, %v", what, got, err)
		}
	}
	l1, l2, d1 := freePort(t), freePort(t), freePort(t)
	r1 := freePort(t)
	g.background("ssh", "-N", "-o", "ExitOnForwardFailure=yes", "-L", l1+":"+dest, "-L", l2+":"+sock, "-D", d1, "-R", r1+":"+dest,
		"-R", filepath.Join(g.dir, "back.sock")+":"+sock, "web01")
	check("-L", "tcp", "127.0.0.1:"+l1)
	check("-L to a socket", "tcp", "127.0.0.1:"+l2)
	check("-R", "tcp", "127.0.0.1:"+r1)
	check("-R on a socket", "unix", filepath.Join(g.dir, "back.sock"))

	// -D, by SOCKS5.
	c, err := net.Dial("tcp", "127.0.0.1:"+d1)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	host, port, _ := net.SplitHostPort(dest)
	var p int
	fmt.Sscan(port, &p)
	c.Write([]byte{5, 1, 0})
	io.ReadFull(c, make([]byte, 2))
	c.Write(append([]byte{5, 1, 0, 3, byte(len(host))}, append([]byte(host), byte(p>>8), byte(p))...))
	io.ReadFull(c, make([]byte, 10))
	line, err := bufio.NewReader(c).ReadString('\n')
	if line != "hello\n" {
		t.Errorf("-D: %q %v", line, err)
	}

	// -W, and -R with a port that the target chooses.
	if out, errs, st := g.run("abc\n", "ssh", "-W", dest, "web01"); out != want || st != 0 {
		t.Errorf("-W: %q %q %d", out, errs, st)
	}
	out, errs, st := g.run("", "ssh", "-R", "0:"+dest, "web01", "sleep 0.3")
	if st != 0 || !strings.Contains(errs+out, "Allocated port") {
		t.Errorf("-R 0: %q %q %d", out, errs, st)
	}
	evs := g.recorded(g.closed(2)[1].ID)
	fw := payloads[recording.Forward](evs)
	if len(fw) < 2 || fw[0].Dest != dest || !fw[len(fw)-1].Ended || fw[len(fw)-1].In != 4 || fw[len(fw)-1].Out != int64(len(want)) {
		t.Errorf("recorded forwards: %+v", fw)
	}
}

// G10: what no rule allows is refused, in words, and audited.
func TestG10ForwardsAreRefusedByDefault(t *testing.T) {
	g := newGateway(t, gatewayOptions{})
	g.grant("alice", "web01", "deploy", time.Hour)
	dest := echoServer(t, "tcp", "127.0.0.1:0").Addr().String()
	out, errs, st := g.run("abc\n", "ssh", "-W", dest, "web01")
	if st == 0 || out != "" || !strings.Contains(errs, "the rule allows no forward to "+dest) {
		t.Errorf("-W: %q %q %d", out, errs, st)
	}
	_, errs, st = g.run("", "ssh", "-o", "ExitOnForwardFailure=yes", "-R", "0:"+dest, "web01", "true")
	if st == 0 || !strings.Contains(errs, "remote port forwarding failed") {
		t.Errorf("-R: %q %d", errs, st)
	}
	// On the outer connection too.
	_, errs, st = g.run("", "ssh", "-o", "ExitOnForwardFailure=yes", "-N", "-R", "0:"+dest, "jit-gateway")
	if st == 0 {
		t.Errorf("outer -R: %q %d", errs, st)
	}
	_, errs, st = g.run("", "ssh", "-W", dest, "jit-gateway")
	if st == 0 || !strings.Contains(errs, "prohibited") && !strings.Contains(errs, "closed") {
		t.Errorf("outer -W: %q %d", errs, st)
	}
	denied := 0
	for _, e := range g.events(audit.SessionChannel) {
		if e.Outcome == audit.Denied {
			denied++
		}
	}
	if denied < 3 {
		t.Errorf("%d refusals audited", denied)
	}
}

// G2: a forward to another target ends here again, under its own grant and in
// its own recording; one that hides SSH or PostgreSQL is cut.
func TestG2NoForwardAroundTheRecording(t *testing.T) {
	g := newGateway(t, gatewayOptions{hosts: []string{"web01", "db01"}, rules: []policy.Rule{autoRule(everythingAllowed())}})
	g.grant("alice", "web01", "deploy", time.Hour)
	// No grant for db01 yet: the hop asks, and without a terminal fails.
	c := g.cmd("setsid", "-w", "ssh", "-F", g.config(), "-J", "jit-gateway,web01", "db01", "echo in")
	if out, err := c.CombinedOutput(); err == nil || strings.Contains(string(out), "in\n") {
		t.Fatalf("a hop without a grant: %s", out)
	}
	g.grant("alice", "db01", "deploy", time.Hour)
	out, errs, st := g.run("", "ssh", "-J", "jit-gateway,web01", "db01", "hostname; echo in")
	if st != 0 || !strings.HasSuffix(out, "in\n") {
		t.Fatalf("hop: %q %q %d", out, errs, st)
	}
	hop := false
	for _, r := range g.closed(3) {
		hop = hop || r.Target == "db01" && output(g.recorded(r.ID), 1) == out
	}
	if !hop {
		t.Error("the hop has no recording of its own")
	}

	// By the address instead of the name, and from the inside.
	for _, dest := range []string{g.hosts["db01"].Addr, "localhost:" + fmt.Sprint(g.hosts["web01"].Port)} {
		l := freePort(t)
		b := g.background("ssh", "-N", "-L", l+":"+dest, "web01")
		var conn net.Conn
		var err error
		for range 200 {
			if conn, err = net.Dial("tcp", "127.0.0.1:"+l); err == nil {
				break
			}
			time.Sleep(20 * time.Millisecond)
		}
		if err != nil {
			t.Fatal(err)
		}
		conn.SetDeadline(time.Now().Add(5 * time.Second))
		line, _ := bufio.NewReader(conn).ReadString('\n')
		if strings.TrimSpace(line) != serverVersion {
			t.Errorf("%s: %q answered, not the gateway", dest, line)
		}
		conn.Close()
		b.Process.Kill()
	}

	// A port forward that nobody knows to be sshd, and one that gets a PostgreSQL startup.
	hidden, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer hidden.Close()
	go func() {
		for {
			c, err := hidden.Accept()
			if err != nil {
				return
			}
			io.WriteString(c, "SSH-2.0-OpenSSH_9.2\r\n")
			io.Copy(io.Discard, c)
			c.Close()
		}
	}()
	l := freePort(t)
	g.background("ssh", "-N", "-L", l+":"+hidden.Addr().String(), "web01")
	if got, _ := dialog(t, "tcp", "127.0.0.1:"+l, "SSH-2.0-me\r\n"); got != "" {
		t.Errorf("hidden SSH answered %q", got)
	}
	echo := echoServer(t, "tcp", "127.0.0.1:0")
	l = freePort(t)
	g.background("ssh", "-N", "-L", l+":"+echo.Addr().String(), "web01")
	if got, _ := dialog(t, "tcp", "127.0.0.1:"+l, "\x00\x00\x00\x08\x04\xd2\x16\x2f\n"); strings.Contains(got, "bye") {
		t.Errorf("hidden PostgreSQL answered %q", got)
	}
	for range 100 {
		if len(g.events(audit.FindingRaised)) >= 2 {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Errorf("findings: %+v", g.events(audit.FindingRaised))
}

// Under a rule with encrypted recordings no path is in the log.
func TestSocketsOfEncryptedRecordings(t *testing.T) {
	key, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	rule := autoRule(&policy.Channels{Shell: true, Local: []string{"unix:/run/hush/*"}})
	rule.Recording.Recipients = []string{key.Recipient().String()}
	g := newGateway(t, gatewayOptions{rules: []policy.Rule{rule}})
	g.grant("alice", "web01", "deploy", time.Hour)
	c := g.dialInner("web01", "deploy")
	defer c.Close()
	for _, path := range []string{"/srv/hush/refused", "/run/hush/allowed"} {
		if ch, _, err := c.OpenChannel("direct-streamlocal@openssh.com", cat(str(path), str(""), u32(0))); err == nil {
			t.Errorf("%s: somebody listens", path)
			ch.Close()
		}
	}
	if ok, _, err := c.SendRequest("streamlocal-forward@openssh.com", true, str("/srv/hush/listen")); ok || err != nil {
		t.Error(ok, err)
	}
	c.Close()
	g.closed(1)
	events := g.events(audit.SessionChannel)
	if len(events) != 3 || strings.Contains(fmt.Sprintf("%+v", events), "hush") {
		t.Errorf("%+v", events)
	}
}

// A -L listener on the outer connection: anyone on the user's machine can
// reach it, so the peer has to sign with the user's key.
func TestListenerOnTheOuterConnectionNeedsTheKey(t *testing.T) {
	g := newGateway(t, gatewayOptions{})
	g.grant("alice", "web01", "deploy", time.Hour)
	l := freePort(t)
	g.background("ssh", "-N", "-L", l+":web01:22", "jit-gateway")
	for range 200 {
		if c, err := net.Dial("tcp", "127.0.0.1:"+l); err == nil {
			c.Close()
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	args := []string{"-p", l, "-o", "HostKeyAlias=web01", "-o", "ProxyJump=none", "-l", "deploy", "127.0.0.1", "echo in"}
	if out, errs, st := g.run("", "ssh", args...); st != 0 || out != "in\n" {
		t.Errorf("with the key: %q %q %d", out, errs, st)
	}
	other := append([]string{"-i", g.keyFile("bob"), "-o", "IdentityFile=none"}, args...)
	c := g.cmd("ssh", other...)
	c.Args = append([]string{"ssh", "-F", "/dev/null", "-i", g.keyFile("bob"), "-o", "IdentitiesOnly=yes", "-o", "UserKnownHostsFile=" + filepath.Join(g.dir, "known_hosts")}, args...)
	if out, err := c.CombinedOutput(); err == nil {
		t.Errorf("with another key: %s", out)
	}
}

type tunnelHandler struct{ got chan proxy.Identity }

func (h tunnelHandler) Serve(_ context.Context, id proxy.Identity, t inventory.Target, login string, conn net.Conn) error {
	defer conn.Close()
	h.got <- id
	_, err := fmt.Fprintf(conn, "tunnel to %s\n", t.Name)
	return err
}

func TestTunnelsGoToTheirHandler(t *testing.T) {
	h := tunnelHandler{got: make(chan proxy.Identity, 2)}
	g := newGateway(t, gatewayOptions{
		targets: func(g *gateway, ts []inventory.Target) []inventory.Target {
			return append(ts, inventory.Target{Name: "orders", Kind: inventory.Postgres, Postgres: &inventory.PostgresTarget{
				Address: "127.0.0.1:1", Database: "orders", Roles: []string{"ro"}, Identity: "static", Static: map[string]string{"ro": "env:X"}, TLS: "disable"}})
		},
		options: func(o *Options) { o.Tunnel = func(inventory.Kind) proxy.Handler { return h } },
	})
	out, errs, st := g.run("", "ssh", "-W", "orders:5432", "jit-gateway")
	if st != 0 || out != "tunnel to orders\n" {
		t.Fatalf("%q %q %d", out, errs, st)
	}
	if id := <-h.got; id.User.Name != "alice" || id.Caller.KeyFingerprint != ssh.FingerprintSHA256(g.keys["alice"].PublicKey()) {
		t.Errorf("identity %+v", id)
	}
	_, errs, st = g.run("", "ssh", "-W", "invoices:5432", "jit-gateway")
	if st == 0 {
		t.Errorf("an unknown database: %q %d", errs, st)
	}
}
