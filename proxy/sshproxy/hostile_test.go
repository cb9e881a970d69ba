package sshproxy

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"jit-gateway/approval/policy"
	"jit-gateway/internal/audit"
	"jit-gateway/internal/dialogue"
)

// stillServes checks that the gateway is well after what was done to it.
func (g *gateway) stillServes() {
	g.t.Helper()
	if out, errs, st := g.run("", "ssh", "web01", "echo well"); st != 0 || out != "well\n" {
		g.t.Errorf("afterwards: %q %q %d", out, errs, st)
	}
}

func TestHalfOpenConnections(t *testing.T) {
	g := newGateway(t, gatewayOptions{options: func(o *Options) { o.LoginTime = time.Second }})
	g.grant("alice", "web01", "deploy", time.Hour)
	before := runtime.NumGoroutine()
	var conns []net.Conn
	for i := range 1000 {
		c, err := net.Dial("tcp", g.addr)
		if err != nil {
			t.Fatalf("connection %d: %v", i, err)
		}
		conns = append(conns, c)
		switch i % 4 {
		case 1:
			io.WriteString(c, "SSH-2.0-half")
		case 2:
			io.WriteString(c, "SSH-2.0-half\r\n\x00\x00")
		case 3:
			io.WriteString(c, "GET / HTTP/1.0\r\n\r\n")
		}
	}
	g.stillServes()
	for _, c := range conns { // each is closed by the gateway
		c.SetReadDeadline(time.Now().Add(10 * time.Second))
		if _, err := io.Copy(io.Discard, c); err != nil && strings.Contains(err.Error(), "timeout") {
			t.Fatal("a half-open connection was kept")
		}
		c.Close()
	}
	settle(t, before)
}

// settle waits until the goroutines are back to about what they were.
func settle(t *testing.T, before int) {
	t.Helper()
	var now int
	for range 300 {
		if now = runtime.NumGoroutine(); now <= before+10 {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	buf := make([]byte, 1<<16)
	t.Errorf("%d goroutines, there were %d\n%s", now, before, buf[:runtime.Stack(buf, true)])
}

func TestConnectsAndTerminationsLeakNothing(t *testing.T) {
	g := newGateway(t, gatewayOptions{})
	gr := g.grant("alice", "web01", "deploy", time.Hour)
	g.stillServes()
	g.closed(1)
	before := runtime.NumGoroutine()
	for range 10 {
		c := g.dialInner("web01", "deploy")
		s, err := c.NewSession()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Output("echo x"); err != nil {
			t.Fatal(err)
		}
		c.Close()
	}
	var open []*ssh.Client
	for range 5 {
		c := g.dialInner("web01", "deploy")
		s, err := c.NewSession()
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Start("sleep 20"); err != nil {
			t.Fatal(err)
		}
		open = append(open, c)
	}
	if _, err := g.svc.Release(context.Background(), g.caller("alice"), gr.ID); err != nil {
		t.Fatal(err)
	}
	for _, c := range open {
		c.Wait()
	}
	g.closed(16)
	g.server.mu.Lock()
	for o := range g.server.outers {
		o.cancel(errClientGone)
	}
	g.server.mu.Unlock()
	settle(t, before)
}

// Floods of channels, requests, sizes and environment stop at limits, and
// cost their sender alone.
func TestFloods(t *testing.T) {
	g := newGateway(t, gatewayOptions{rules: []policy.Rule{autoRule(everythingAllowed())}})
	g.grant("alice", "web01", "deploy", time.Hour)
	c := g.dialInner("web01", "deploy")
	defer c.Close()
	refused := 0
	var chans []ssh.Channel
	for range maxSessions + 40 {
		ch, reqs, err := c.OpenChannel("session", nil)
		if err != nil {
			refused++
			continue
		}
		go ssh.DiscardRequests(reqs)
		chans = append(chans, ch)
	}
	if refused == 0 || len(chans) > maxSessions {
		t.Errorf("%d channels were opened, %d refused", len(chans), refused)
	}
	ch := chans[0]
	for i := range 200 {
		ch.SendRequest("env", false, ssh.Marshal(struct{ K, V string }{fmt.Sprintf("V%d", i), strings.Repeat("x", 20000)}))
	}
	for range 400 {
		ch.SendRequest("window-change", false, cat(u32(rand.Uint32()), u32(rand.Uint32()), u32(0), u32(0)))
	}
	if ok, err := ch.SendRequest("exec", true, str(strings.Repeat("x", maxExecLine+1))); ok || err == nil && ok {
		t.Error("an endless command was taken")
	}
	g.stillServes()

	// Malformed payloads of every request end their channel at most.
	for _, typ := range []string{"pty-req", "env", "exec", "subsystem", "window-change", "signal", "x11-req", "auth-agent-req@openssh.com", "nonsense", ""} {
		ch, reqs, err := c.OpenChannel("session", nil)
		if err != nil {
			continue
		}
		go ssh.DiscardRequests(reqs)
		ch.SendRequest(typ, false, []byte{0xff, 0xff, 0xff, 0xff, 1})
		ch.Close()
	}
	for _, typ := range []string{"direct-tcpip", "direct-streamlocal@openssh.com", "forwarded-tcpip", "auth-agent@openssh.com", "x11", "tun@openssh.com", ""} {
		if ch, _, err := c.OpenChannel(typ, []byte{0xff, 0xff}); err == nil {
			t.Errorf("%q was opened", typ)
			ch.Close()
		}
	}
	for _, typ := range []string{"tcpip-forward", "cancel-tcpip-forward", "streamlocal-forward@openssh.com", "hostkeys-prove-00@openssh.com", "nonsense"} {
		if ok, _, err := c.SendRequest(typ, true, []byte{1}); ok || err != nil {
			t.Errorf("%q: %v %v", typ, ok, err)
		}
	}
	g.stillServes()
}

// Opening what is refused, as fast as it goes, fills neither the log nor the
// memory: the limit on what is open at once answers for most of it.
func TestFloodOfRefusals(t *testing.T) {
	t.Parallel()
	g := newGateway(t, gatewayOptions{})
	g.grant("alice", "web01", "deploy", time.Hour)
	const opens = 3000
	for name, c := range map[string]*ssh.Client{"outer": g.dialOuter(), "inner": g.dialInner("web01", "deploy")} {
		before := len(g.events(audit.SessionChannel))
		var wg sync.WaitGroup
		var reasons sync.Map
		var prohibited, shortage atomic.Int32
		for range opens {
			wg.Go(func() {
				_, _, err := c.OpenChannel("direct-tcpip", cat(str("192.0.2.1"), u32(1), str("127.0.0.1"), u32(1)))
				var oe *ssh.OpenChannelError
				switch {
				case !errors.As(err, &oe):
					reasons.Store(fmt.Sprint(err), true)
				case oe.Reason == ssh.ResourceShortage:
					shortage.Add(1)
				default:
					prohibited.Add(1)
				}
			})
		}
		wg.Wait()
		reasons.Range(func(k, _ any) bool { t.Errorf("%s: %v", name, k); return true })
		if shortage.Load() == 0 || prohibited.Load() == 0 || prohibited.Load()+shortage.Load() != opens {
			t.Errorf("%s: %d refused by rule, %d by the limit", name, prohibited.Load(), shortage.Load())
		}
		if events := len(g.events(audit.SessionChannel)) - before; events != int(prohibited.Load()) {
			t.Errorf("%s: %d events of %d refusals", name, events, prohibited.Load())
		}
		c.Close()
	}
	g.stillServes()
}

// Who does not read costs a window, not the gateway's memory; and the end
// comes anyway.
func TestSlowReaders(t *testing.T) {
	g := newGateway(t, gatewayOptions{})
	gr := g.grant("alice", "web01", "deploy", time.Hour)
	c := g.dialInner("web01", "deploy")
	defer c.Close()
	s, err := c.NewSession()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.StdoutPipe(); err != nil {
		t.Fatal(err)
	}
	if err := s.Start("cat /dev/zero"); err != nil {
		t.Fatal(err)
	}
	time.Sleep(500 * time.Millisecond)
	var m1, m2 runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m1)
	time.Sleep(time.Second)
	runtime.GC()
	runtime.ReadMemStats(&m2)
	if grown := int64(m2.HeapAlloc) - int64(m1.HeapAlloc); grown > 8<<20 {
		t.Errorf("%d bytes more for a client that does not read", grown)
	}
	start := time.Now()
	if _, err := g.svc.Release(context.Background(), g.caller("alice"), gr.ID); err != nil {
		t.Fatal(err)
	}
	g.closed(1)
	if d := time.Since(start); d > 3*time.Second {
		t.Errorf("the end took %s", d)
	}
}

// Garbage after authentication, on the outer and the inner connection.
func TestGarbageAfterAuthentication(t *testing.T) {
	g := newGateway(t, gatewayOptions{})
	g.serveCommands(func(context.Context, dialogue.Invocation) int { return 0 })
	g.grant("alice", "web01", "deploy", time.Hour)
	for i := range 20 {
		c := g.dialOuter()
		ch, reqs, err := c.OpenChannel("direct-tcpip", cat(str("web01"), u32(22), str("127.0.0.1"), u32(65535)))
		if err != nil {
			t.Fatal(err)
		}
		go ssh.DiscardRequests(reqs)
		line, _ := bufio.NewReader(ch).ReadString('\n')
		if !strings.HasPrefix(line, "SSH-2.0-") {
			t.Fatalf("%q", line)
		}
		junk := make([]byte, 4096)
		for j := range junk {
			junk[j] = byte(rand.Uint32())
		}
		if i%2 == 0 {
			junk = append(clientHello("aes128-ctr"), junk...)
		}
		ch.Write(junk)
		if i%3 == 0 {
			ch.CloseWrite()
		}
		c.Close()
	}
	g.stillServes()
}

// SFTP packets that lie end the channel, not the gateway.
func TestMalformedSFTPEndsTheChannel(t *testing.T) {
	g := newGateway(t, gatewayOptions{})
	g.grant("alice", "web01", "deploy", time.Hour)
	c := g.dialInner("web01", "deploy")
	defer c.Close()
	ch, reqs, err := c.OpenChannel("session", nil)
	if err != nil {
		t.Fatal(err)
	}
	go ssh.DiscardRequests(reqs)
	if ok, err := ch.SendRequest("subsystem", true, str("sftp")); !ok || err != nil {
		t.Fatal(ok, err)
	}
	ch.Write(cat(u32(1<<30), []byte{fxInit, 1, 2, 3}))
	if errs, err := io.ReadAll(ch.Stderr()); err != nil || !strings.Contains(string(errs), "sftp: a packet of impossible length") {
		t.Errorf("%v: %q", err, errs)
	}
	if _, err := c.NewSession(); err != nil {
		t.Errorf("the connection is gone: %v", err)
	}
}

// Many sessions at once, all well.
func TestManySessionsAtOnce(t *testing.T) {
	g := newGateway(t, gatewayOptions{sshd: []string{"MaxStartups 1000"}})
	g.grant("alice", "web01", "deploy", time.Hour)
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			c := g.dialInner("web01", "deploy")
			defer c.Close()
			s, err := c.NewSession()
			if err != nil {
				t.Error(err)
				return
			}
			if out, err := s.Output(fmt.Sprintf("echo %d", i)); err != nil || string(out) != fmt.Sprintf("%d\n", i) {
				t.Errorf("%d: %q %v", i, out, err)
			}
		})
	}
	wg.Wait()
}
