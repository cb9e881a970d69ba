package sshproxy

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"jit-gateway/approval/policy"
	"jit-gateway/internal/audit"
	"jit-gateway/internal/testenv"
	"jit-gateway/recording"
)

// G10: every start, subsystem and file operation that the rule does not name
// is refused with a sentence and an event.
func TestG10RulesDecidePerChannel(t *testing.T) {
	g := newGateway(t, gatewayOptions{rules: []policy.Rule{autoRule(&policy.Channels{Exec: true, ExecPatterns: []string{"uptime", "echo *"}, SFTP: "read", SFTPPaths: []string{"/srv", "/tmp"}, Env: []string{"GOOD"}})}})
	g.grant("alice", "web01", "deploy", time.Hour)
	_, errs, st := g.run("", "ssh", "-tt", "web01")
	if st != 255 || !strings.Contains(errs, "no shell") {
		// With a terminal our text comes on stderr.
		t.Errorf("shell: %q %d", errs, st)
	}
	if out, errs, st := g.run("", "ssh", "web01", "echo a b"); st != 0 || out != "a b\n" {
		t.Errorf("echo: %q %q %d", out, errs, st)
	}
	for _, cmd := range []string{"id", "echo $(id)", "echo a; id", "uptime && id"} {
		if out, errs, st := g.run("", "ssh", "web01", cmd); st != 255 || out != "" || !strings.Contains(errs, "the rule") {
			t.Errorf("%q: %q %q %d", cmd, out, errs, st)
		}
	}
	if _, errs, st := g.run("", "ssh", "-s", "web01", "netconf"); st != 255 || !strings.Contains(errs, "netconf") {
		t.Errorf("subsystem: %q %d", errs, st)
	}
	before := len(g.events(audit.SessionChannel))
	denied := 0
	for _, e := range g.events(audit.SessionChannel) {
		if e.Outcome == audit.Denied {
			denied++
		}
	}
	if denied != 6 {
		t.Errorf("%d of %d channel events are refusals, want 6", denied, before)
	}

	// SFTP: reading below the prefix, and nothing else.
	dir := testenv.Dir(t) // below /tmp, readable for all
	home := g.hosts["web01"].Home("deploy")
	for _, f := range []string{filepath.Join(dir, "readable"), filepath.Join(home, "secret")} {
		if err := os.WriteFile(f, []byte("content"), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	prefix := []string{"/tmp"}
	if !strings.HasPrefix(dir, prefix[0]) {
		t.Fatal("the fixtures lie elsewhere")
	}
	local := filepath.Join(g.dir, "got")
	if _, errs, st := g.run("get "+filepath.Join(dir, "readable")+" "+local+"\n", "sftp", "-b", "-", "web01"); st != 0 {
		t.Errorf("get: %s", errs)
	}
	if b, _ := os.ReadFile(local); string(b) != "content" {
		t.Errorf("got %q", b)
	}
	for _, line := range []string{"put " + local + " " + filepath.Join(dir, "new"), "get /etc/passwd " + local, "rm " + filepath.Join(dir, "readable"),
		"rename " + filepath.Join(dir, "readable") + " " + filepath.Join(dir, "x"), "symlink /etc/passwd " + filepath.Join(dir, "l"), "chmod 600 " + filepath.Join(dir, "readable"),
		"get /tmp/../etc/passwd " + local} {
		if out, errs, st := g.run(line+"\n", "sftp", "-b", "-", "web01"); st == 0 {
			t.Errorf("%s: passed: %s %s", line, out, errs)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "readable")); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(filepath.Join(dir, "new")); err == nil {
		t.Error("a file was written")
	}
	refused := false
	for _, r := range g.closed(1) {
		for _, op := range payloads[recording.SFTP](g.recorded(r.ID)) {
			refused = refused || op.Denied && op.Op == "remove"
		}
	}
	if !refused {
		t.Error("the refused removal is in no recording")
	}
	// The old scp under the same rule: download below the prefix, no upload.
	if _, errs, st := g.run("", "scp", "-O", "web01:"+filepath.Join(dir, "readable"), local); st != 0 {
		t.Errorf("scp -O: %s", errs)
	}
	if _, _, st := g.run("", "scp", "-O", local, "web01:"+filepath.Join(dir, "up")); st == 0 {
		t.Error("scp -O uploaded")
	}
}

func TestEnvironmentByRule(t *testing.T) {
	g := newGateway(t, gatewayOptions{sshd: []string{"AcceptEnv *"}})
	g.grant("alice", "web01", "deploy", time.Hour)
	out, errs, st := g.run("", "ssh", "-o", "SetEnv=LC_MINE=yes LD_PRELOAD=/evil.so", "web01", "env")
	if st != 0 || !strings.Contains(out, "LC_MINE=yes") || strings.Contains(out, "evil") || strings.Contains(errs, "evil") {
		t.Errorf("%q %q %d", out, errs, st)
	}
}

func TestForceCommand(t *testing.T) {
	g := newGateway(t, gatewayOptions{rules: []policy.Rule{autoRule(&policy.Channels{Shell: true, ForceCommand: "echo forced"})}})
	g.grant("alice", "web01", "deploy", time.Hour)
	for _, args := range [][]string{{"web01"}, {"web01", "id"}} {
		if out, errs, st := g.run("", "ssh", args...); st != 0 || out != "forced\n" {
			t.Errorf("%v: %q %q %d", args, out, errs, st)
		}
	}
}

// A host that is a file store by a forced command is one in the recording, too,
// and under the rule's restrictions.
func TestForcedFileServer(t *testing.T) {
	g := newGateway(t, gatewayOptions{rules: []policy.Rule{autoRule(&policy.Channels{SFTP: "write", ForceCommand: "internal-sftp"})}})
	g.grant("alice", "web01", "deploy", time.Hour)
	if _, errs, st := g.run("put "+g.config()+" got\n-get got "+filepath.Join(g.dir, "back")+"\n", "sftp", "-b", "-", "web01"); st != 0 || !strings.Contains(errs, "ermission denied") {
		t.Errorf("%q %d", errs, st)
	}
	if _, errs, st := g.run("", "ssh", "web01", "id"); st != endStatus || !strings.Contains(errs, "file transfer by sftp alone on web01") {
		t.Errorf("a command: %q %d", errs, st)
	}
	written, refused := false, false
	for _, op := range payloads[recording.SFTP](g.recorded(g.closed(2)[1].ID)) {
		written = written || op.Op == "write" && op.SHA256 != ""
		refused = refused || op.Op == "open" && op.Denied
	}
	if !written || !refused {
		t.Errorf("written %v, refused %v", written, refused)
	}
}

func TestFactorOncePerSession(t *testing.T) {
	r := autoRule(nil)
	r.Factor.Per = "session"
	g := newGateway(t, gatewayOptions{rules: []policy.Rule{r}})
	g.grant("alice", "web01", "deploy", time.Hour)
	// The factor that activated the grant serves the first session.
	if out, errs, st := g.run("", "ssh", "-o", "BatchMode=yes", "web01", "echo one"); st != 0 || out != "one\n" {
		t.Fatalf("first: %q %q %d", out, errs, st)
	}
	if out, _, st := g.run("", "ssh", "-o", "BatchMode=yes", "web01", "echo two"); st == 0 {
		t.Fatalf("the second session passed on the first one's code: %q", out)
	}
	p, expect := g.terminal("ssh", "web01", "echo two; sleep 0.2")
	expect(`Code:`)
	p.Line(g.code("alice"))
	expect(`two\r`)
	if _, err := p.Exit(); err != nil {
		t.Fatal(err)
	}
	// A wrong code three times ends it.
	p, expect = g.terminal("ssh", "web01", "echo three")
	for range 3 {
		expect(`Code:`)
		p.Line("000000")
	}
	if status, err := p.Exit(); err != nil || status != 255 {
		t.Errorf("wrong codes: %d %v\n%s", status, err, p.Screen())
	}
}

// A grant that was activated elsewhere does not pass silently from here.
func TestAnotherAddressNeedsACode(t *testing.T) {
	g := newGateway(t, gatewayOptions{})
	gr := g.grant("alice", "web01", "deploy", time.Hour)
	gr, err := g.db.Grant(context.Background(), gr.ID)
	if err != nil {
		t.Fatal(err)
	}
	gr.Bindings[0].Source = "192.0.2.7"
	if err := g.db.UpdateGrant(context.Background(), gr, audit.Event{Type: audit.GrantActivated, Outcome: audit.Success, Actor: audit.Gateway}); err != nil {
		t.Fatal(err)
	}
	if out, _, st := g.run("", "ssh", "-o", "BatchMode=yes", "web01", "echo in"); st == 0 {
		t.Fatalf("passed: %q", out)
	}
	p, expect := g.terminal("ssh", "web01", "echo in; sleep 0.2")
	expect(`Code:`)
	p.Line(g.code("alice"))
	expect(`in\r`)
}
