package sshproxy

import (
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// sshAudit is what Debian's ssh-audit finds at an address: "kind name level text".
func sshAudit(t *testing.T, port string) (found, kex []string) {
	t.Helper()
	// Its exit status says that there were findings; the output is what counts.
	out, _ := exec.Command("ssh-audit", "-n", "-b", "-l", "info", "-p", port, "127.0.0.1").Output()
	kind, name := "", ""
	for line := range strings.Lines(string(out)) {
		head, text, ok := strings.Cut(strings.TrimSpace(line), " [")
		if !ok {
			continue
		}
		if words := strings.Fields(strings.Trim(head, "- ")); len(words) >= 2 && strings.HasPrefix(words[0], "(") {
			kind, name = strings.Trim(words[0], "()"), words[1]
		}
		if kind == "kex" && (len(kex) == 0 || kex[len(kex)-1] != name) {
			kex = append(kex, name)
		}
		level, text, _ := strings.Cut(text, "] ")
		if level != "info" {
			found = append(found, strings.Join([]string{kind, name, level, strings.TrimSpace(text)}, " "))
		}
	}
	if len(kex) == 0 {
		t.Fatalf("ssh-audit found no SSH server:\n%s", out)
	}
	return found, kex
}

func TestSSHAuditFindsNothingNew(t *testing.T) {
	text, err := os.ReadFile("../../testdata/ssh-audit-allow.txt")
	if err != nil {
		t.Fatal(err)
	}
	allowed := map[string]bool{} // whether it was found
	for line := range strings.Lines(string(text)) {
		if line = strings.TrimSpace(line); line == "" || line[0] == '#' {
			continue
		}
		finding, reason, _ := strings.Cut(line, " | ")
		if len(reason) < 20 {
			t.Errorf("%q has no reason", finding)
		}
		allowed[finding] = false
	}
	g := newGateway(t, gatewayOptions{})
	inner := freePort(t)
	g.background("ssh", "-N", "-L", inner+":web01:22", "jit-gateway")
	for range 500 {
		if c, err := net.Dial("tcp", "127.0.0.1:"+inner); err == nil {
			c.Close()
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	for where, port := range map[string]string{"the gateway": g.port, "in front of a target": inner} {
		found, kex := sshAudit(t, port)
		for _, f := range found {
			if _, ok := allowed[f]; !ok {
				t.Errorf("%s: %s", where, f)
			}
			allowed[f] = true
		}
		if kex[0] != "mlkem768x25519-sha256" {
			t.Errorf("%s: %q is offered first, not a hybrid post-quantum exchange", where, kex[0])
		}
	}
	for f, seen := range allowed {
		if !seen {
			t.Errorf("allowed, but nothing finds it: %s", f)
		}
	}
}
