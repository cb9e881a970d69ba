package sshproxy

import (
	"context"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"jit-gateway/internal/audit"
	"jit-gateway/internal/dialogue"
	"jit-gateway/internal/testenv"
)

func TestCommandsOverSSH(t *testing.T) {
	g := newGateway(t, gatewayOptions{network: true})
	got := make(chan dialogue.Invocation, 10)
	g.serveCommands(func(_ context.Context, inv dialogue.Invocation) int {
		got <- inv
		in, _ := io.ReadAll(inv.In)
		fmt.Fprintf(inv.Out, "out %s", in)
		fmt.Fprint(inv.Err, "err")
		return 4
	})
	out, errs, st := g.run("text", "ssh", "jit-gateway", "request web01 --reason 'two words'")
	if out != "out text" || errs != "err" || st != 4 {
		t.Errorf("%q %q %d", out, errs, st)
	}
	inv := <-got
	if fmt.Sprintf("%q", inv.Args) != `["request" "web01" "--reason" "two words"]` || inv.TTY || inv.User.Name != "alice" || inv.Caller.Source != "127.0.0.1" || inv.Offered == nil {
		t.Errorf("%+v", inv)
	}
	if _, errs, st = g.run("", "ssh", "jit-gateway", "whoami 'open"); st != 2 || !strings.Contains(errs, "quote") {
		t.Errorf("%q %d", errs, st)
	}
	if _, errs, st = g.run("", "sftp", "-b", "-", "jit-gateway"); st == 0 || !strings.Contains(errs, "sftp -J") {
		t.Errorf("%q %d", errs, st)
	}
	g.serveCommands(func(ctx context.Context, inv dialogue.Invocation) int {
		got <- inv
		select {
		case s := <-inv.Resize:
			fmt.Fprintf(inv.Out, "now %dx%d\r\n", s.Cols, s.Rows)
		case <-time.After(10 * time.Second):
		}
		<-ctx.Done()
		return 0
	})
	p := testenv.NewPTY(t, g.cmd("ssh", "jit-gateway"))
	inv = <-got
	if !inv.TTY || inv.Cols != 80 || inv.Rows != 24 || len(inv.Args) != 0 {
		t.Errorf("%+v", inv)
	}
	if err := p.Resize(100, 30); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Expect(`now 100x30`); err != nil {
		t.Error(err)
	}
}

func TestUnknownKeys(t *testing.T) {
	g := newGateway(t, gatewayOptions{network: true})
	offered := make(chan ssh.PublicKey, 2)
	g.serveCommands(func(_ context.Context, inv dialogue.Invocation) int {
		if inv.User.ID != "" {
			return 1
		}
		offered <- inv.Offered
		return 0
	})
	stranger, err := testenv.WriteKey(filepath.Join(g.dir, "stranger"), "x")
	if err != nil {
		t.Fatal(err)
	}
	base := []string{"-F", "/dev/null", "-p", g.port, "-o", "IdentitiesOnly=yes", "-o", "UserKnownHostsFile=" + filepath.Join(g.dir, "known_hosts")}
	run := func(args ...string) (string, error) {
		c := g.cmd("true")
		c.Path, c.Args = "/usr/bin/ssh", append(append([]string{"ssh"}, base...), args...)
		out, err := c.CombinedOutput()
		return string(out), err
	}
	fp := ssh.FingerprintSHA256(stranger.PublicKey())
	for _, name := range []string{"whoever", "enroll"} {
		if out, err := run("-i", filepath.Join(g.dir, "stranger"), name+"@127.0.0.1", "enroll"); err != nil {
			t.Errorf("%s: %v: %s", name, err, out)
		}
	}
	// Under the name of somebody with a key, the banner says what to do.
	out, err := run("-i", filepath.Join(g.dir, "stranger"), "alice@127.0.0.1", "enroll")
	if err == nil || !strings.Contains(out, fp) || !strings.Contains(out, "ssh -t enroll@jit-gateway enroll") {
		t.Errorf("%v: %s", err, out)
	}
	select {
	case k := <-offered:
		if ssh.FingerprintSHA256(k) != fp {
			t.Error("another key was handed on")
		}
	default:
		t.Error("the command interface was not reached")
	}
	// Targets are not for strangers.
	if out, err = run("-i", filepath.Join(g.dir, "stranger"), "-W", "web01:22", "whoever@127.0.0.1"); err == nil || !strings.Contains(out, "not registered") {
		t.Errorf("%v: %s", err, out)
	}
	// A known key among unknown ones passes without a word.
	g.serveCommands(func(context.Context, dialogue.Invocation) int { return 0 })
	if out, err = run("-i", filepath.Join(g.dir, "stranger"), "-i", g.keyFile("alice"), "alice@127.0.0.1", "x"); err != nil || out != "" {
		t.Errorf("%v: %s", err, out)
	}
	// Another name is refused in words.
	if out, err = run("-i", g.keyFile("alice"), "bob@127.0.0.1", "x"); err == nil || !strings.Contains(out, "belongs to alice") {
		t.Errorf("%v: %s", err, out)
	}
	if n := len(g.events(audit.LoginFailed)); n == 0 {
		t.Error("no failed login is audited")
	}
}

// A removed key closes its connections.
func TestRemovedKeyClosesConnections(t *testing.T) {
	g := newGateway(t, gatewayOptions{network: true})
	started := make(chan struct{})
	g.serveCommands(func(ctx context.Context, _ dialogue.Invocation) int { close(started); <-ctx.Done(); return 0 })
	c := g.background("ssh", "jit-gateway", "watch")
	<-started
	fp := ssh.FingerprintSHA256(g.keys["alice"].PublicKey())
	if err := g.db.RemoveKey(context.Background(), g.users["alice"].ID, fp, audit.Event{Type: audit.KeyRemoved, Outcome: audit.Success, Actor: audit.Gateway,
		User: g.users["alice"].ID, Detail: map[string]string{"fingerprint": fp}}); err != nil {
		t.Fatal(err)
	}
	wait(t, c, 5*time.Second)
}
