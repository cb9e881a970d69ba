package sshproxy

import (
	"strings"
	"testing"
	"time"

	"jit-gateway/internal/audit"
	"jit-gateway/recording"
)

func TestExecThroughJump(t *testing.T) {
	g := newGateway(t, gatewayOptions{})
	g.grant("alice", "web01", "deploy", time.Hour)
	out, errs, status := g.run("in\n", "ssh", "web01", "cat; echo err >&2; exit 7")
	if out != "in\n" || !strings.Contains(errs, "err\n") || status != 7 {
		t.Fatalf("stdout %q, stderr %q, status %d", out, errs, status)
	}
	row := g.closed(1)[0]
	if row.Cause != "logout" || row.BytesIn != 3 || row.BytesOut != 7 || row.Target != "web01" || row.Login != "deploy" {
		t.Errorf("row %+v", row)
	}
	evs := g.recorded(row.ID)
	if output(evs, 1) != "in\n" || !strings.Contains(output(evs, 2), "err\n") {
		t.Errorf("recorded stdout %q, stderr %q", output(evs, 1), output(evs, 2))
	}
	if e := payloads[recording.Exec](evs); len(e) != 1 || e[0].Command != "cat; echo err >&2; exit 7" {
		t.Errorf("exec events %+v", e)
	}
	if e := payloads[recording.Exit](evs); len(e) != 1 || e[0].Status != 7 {
		t.Errorf("exit events %+v", e)
	}
	if dead := g.events(audit.CredentialDead); len(dead) != 1 {
		t.Errorf("after-checks: %+v", dead)
	}
}
