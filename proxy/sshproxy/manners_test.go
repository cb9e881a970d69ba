package sshproxy

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"time"

	"jit-gateway/approval/policy"
	"jit-gateway/internal/audit"
)

// X11 is refused by a sentence, at a terminal; a program's stderr is its own.
func TestX11IsRefusedInWords(t *testing.T) {
	g := newGateway(t, gatewayOptions{rules: []policy.Rule{autoRule(everythingAllowed())}, sshd: []string{"X11Forwarding yes"}})
	g.grant("alice", "web01", "deploy", time.Hour)
	c := g.cmd("ssh", "-Y", "-tt", "web01", "echo display=$DISPLAY.")
	c.Env = append(c.Env, "DISPLAY=127.0.0.1:99")
	out, err := c.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "display=.") || !strings.Contains(string(out), "jit-gateway: X11 forwarding is not possible here") {
		t.Errorf("%v: %q", err, out)
	}
	denied := false
	for _, e := range g.events(audit.SessionChannel) {
		denied = denied || e.Outcome == audit.Denied && e.Detail["channel"] == "X11 forwarding"
	}
	if !denied {
		t.Error("the log does not say so")
	}
}

// -R with a port that the target chooses: it is told, carries data, and ends.
func TestRemoteForwardWithAnyPort(t *testing.T) {
	g := newGateway(t, gatewayOptions{rules: []policy.Rule{autoRule(everythingAllowed())}})
	g.grant("alice", "web01", "deploy", time.Hour)
	dest := echoServer(t, "tcp", "127.0.0.1:0").Addr().String()
	c := g.cmd("ssh", "-N", "-R", "0:"+dest, "web01")
	errs, err := c.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { c.Process.Kill(); c.Wait() }()
	line, err := bufio.NewReader(errs).ReadString('\n')
	m := regexp.MustCompile(`Allocated port (\d+)`).FindStringSubmatch(line)
	if err != nil || m == nil {
		t.Fatalf("%q %v", line, err)
	}
	if got, err := dialog(t, "tcp", "127.0.0.1:"+m[1], "abc\n"); got != "hello\nABC\nbye\n" || err != nil {
		t.Errorf("%q %v", got, err)
	}
	c.Process.Kill()
	c.Wait()
	g.closed(1)
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		conn, err := net.Dial("tcp", "127.0.0.1:"+m[1])
		if err != nil {
			break
		}
		conn.Close()
		if time.Now().After(deadline) {
			t.Fatal("the target still listens")
		}
	}
}

// Names and errors with terminal escapes stay text, for the user and in the log.
func TestTerminalEscapesStayText(t *testing.T) {
	g := newGateway(t, gatewayOptions{rules: []policy.Rule{leadsRule()}, hosts: []string{"web01"}})
	evil := "\x1b]0;pwned\x07\x1b[2Jroot\u202e"
	for _, args := range [][]string{
		{"-l", evil, "web01", "true"},
		{"-l", evil, "jit-gateway", "whoami"},
		{"-W", "we\x1b[31mb:22", "jit-gateway"},
		{"-W", "web01\x1b[31m:2222", "jit-gateway"},
	} {
		c := g.cmd("setsid", append([]string{"-w", "ssh", "-F", g.config()}, args...)...)
		out, err := c.CombinedOutput()
		if err == nil && args[0] == "-l" || strings.ContainsAny(string(out), "\x1b\x07\u202e") {
			t.Errorf("%q: %v: %q", args, err, out)
		}
	}
	evs, err := g.db.Events(context.Background(), -1, 1000)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range evs {
		b, err := json.Marshal(e)
		if err != nil {
			t.Fatal(err)
		}
		for _, bad := range []string{`\u001b`, `\u0007`, "\u202e", `\u202e`} {
			if strings.Contains(strings.ReplaceAll(string(b), `\\`, ``), bad) {
				t.Errorf("in the log: %s", b)
			}
		}
	}
	for _, bad := range []string{"\x1b", "\x07", "\u202e"} {
		if strings.Contains(g.logs.String(), bad) {
			t.Errorf("%q in the gateway's own log", bad)
		}
	}
}

// A target that does not read costs windows, not memory; and the end comes.
func TestSlowTarget(t *testing.T) {
	g := newGateway(t, gatewayOptions{rules: []policy.Rule{autoRule(everythingAllowed())}})
	gr := g.grant("alice", "web01", "deploy", time.Hour)
	c := g.dialInner("web01", "deploy")
	defer c.Close()
	s, err := c.NewSession()
	if err != nil {
		t.Fatal(err)
	}
	in, err := s.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Start("exec sleep 60"); err != nil {
		t.Fatal(err)
	}
	var m1, m2 runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m1)
	sent := make(chan int64, 1)
	go func() {
		n, _ := io.Copy(in, io.LimitReader(zeroes{}, 200<<20))
		sent <- n
	}()
	time.Sleep(time.Second)
	runtime.GC()
	runtime.ReadMemStats(&m2)
	if grown := int64(m2.HeapAlloc) - int64(m1.HeapAlloc); grown > 24<<20 { // windows of 2 MiB on four legs, ours twice
		t.Errorf("%d bytes more for a target that does not read", grown)
	}
	select {
	case n := <-sent:
		t.Errorf("%d bytes went somewhere", n)
	default:
	}
	start := time.Now()
	if _, err := g.svc.Release(context.Background(), g.caller("alice"), gr.ID); err != nil {
		t.Fatal(err)
	}
	g.closed(1)
	if d := time.Since(start); d > 3*time.Second {
		t.Errorf("the end took %s", d)
	}
	if n := <-sent; n > 24<<20 {
		t.Errorf("%d bytes were taken", n)
	}
}

// A client's environment is bounded by number and size, and what is too much
// is refused without a fuss.
func TestHugeEnvironment(t *testing.T) {
	g := newGateway(t, gatewayOptions{rules: []policy.Rule{autoRule(everythingAllowed())}, sshd: []string{"AcceptEnv *"}})
	g.grant("alice", "web01", "deploy", time.Hour)
	c := g.cmd("ssh", "-o", "SendEnv=JT_*", "web01", `env | grep -c ^JT_; test -z "$JT_BIG" && echo "no big one"`)
	c.Env = append(c.Env, "JT_BIG="+strings.Repeat("x", maxEnvBytes))
	for i := range maxEnv + 50 {
		c.Env = append(c.Env, fmt.Sprintf("JT_%03d=%s", i, strings.Repeat("y", 200)))
	}
	out, err := c.Output()
	var n int
	fmt.Sscan(string(out), &n)
	if err != nil || n == 0 || n > maxEnv || !strings.Contains(string(out), "no big one") {
		t.Errorf("%v: %q", err, out)
	}
}
