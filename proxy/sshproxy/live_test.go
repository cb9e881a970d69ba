package sshproxy

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"jit-gateway/approval"
	"jit-gateway/approval/policy"
	"jit-gateway/internal/audit"
	"jit-gateway/session"
)

// An extension moves the end of a session that lives, on the connection that
// it has; and the end of another grant for the same host leaves it alone.
func TestG3ExtensionWithoutReconnect(t *testing.T) {
	t.Parallel()
	g := newGateway(t, gatewayOptions{})
	gr := g.grant("alice", "web01", "deploy", 3*time.Second)
	p, expect := g.terminal("ssh", "web01")
	expect(`\$ `)
	if _, err := g.svc.File(t.Context(), g.caller("alice"), approval.Ask{Extends: gr.ID, Reason: "not done", Duration: time.Hour}); err != nil {
		t.Fatal(err)
	}
	later, err := g.db.Grant(t.Context(), gr.ID)
	if err != nil || time.Until(later.End) < 30*time.Minute {
		t.Fatalf("%v: ends at %s", err, later.End)
	}
	// Another window, which ends, and one that is given back.
	short := g.grant("alice", "web01", "deploy", 2*time.Second)
	back := g.grant("alice", "web01", "deploy", time.Hour)
	if _, err := g.svc.Release(t.Context(), g.caller("alice"), back.ID); err != nil {
		t.Fatal(err)
	}
	time.Sleep(time.Until(gr.End.Add(700 * time.Millisecond)))
	if time.Now().Before(short.End) {
		t.Fatal("the other grant has not ended yet")
	}
	p.Line("echo still $((40+2)); exit 3")
	expect(`still 42`)
	if status, err := p.Exit(); err != nil || status != 3 {
		t.Errorf("exit %d, %v", status, err)
	}
	rows := g.closed(1)
	if len(rows) != 1 || rows[0].Cause != "logout" || rows[0].GrantID != gr.ID {
		t.Errorf("%+v", rows)
	}
	if strings.Contains(p.Screen(), "ended") {
		t.Errorf("the user was told of an end:\n%s", p.Screen())
	}
}

// A log that takes no more leaves of a kind.
type faultyLog struct {
	session.Log
	fail atomic.Bool
}

func (l *faultyLog) Append(ctx context.Context, ev audit.Event) (audit.Event, error) {
	if l.fail.Load() && ev.Type == audit.RecordingSegment {
		return audit.Event{}, errors.New("the disk is full")
	}
	return l.Log.Append(ctx, ev)
}

// G2: a recording that fails ends the session, with a sentence, and nothing
// passes after it.
func TestG2FailingRecorderEndsTheSSHSession(t *testing.T) {
	t.Parallel()
	var log *faultyLog
	strict := autoRule(nil)
	strict.Recording.Strict = true // without it the disk may be 200 ms behind
	g := newGateway(t, gatewayOptions{rules: []policy.Rule{strict}, session: func(o *session.Options) { log = &faultyLog{Log: o.Log}; o.Log = log }})
	g.grant("alice", "web01", "deploy", time.Hour)
	c := g.cmd("ssh", "web01", "while :; do head -c 300000 /dev/urandom; sleep 0.02; done")
	var errs syncBuffer
	c.Stderr = &errs
	out, err := os.Create(filepath.Join(g.dir, "out"))
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	c.Stdout = out
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	time.Sleep(500 * time.Millisecond)
	log.fail.Store(true)
	if st := wait(t, c, 20*time.Second); st != 255 {
		t.Errorf("status %d", st)
	}
	if !strings.Contains(errs.String(), "jit-gateway: ") || !strings.Contains(errs.String(), "record") {
		t.Errorf("told %q", errs.String())
	}
	row := g.closed(1)[0]
	if row.Cause != "recording_failed" {
		t.Errorf("ended as %q", row.Cause)
	}
	// All that the client got is in the recording.
	got, err := os.ReadFile(out.Name())
	if err != nil {
		t.Fatal(err)
	}
	if kept := output(g.recorded(row.ID), 1); !strings.HasPrefix(kept, string(got)) || len(got) == 0 {
		t.Errorf("%d bytes were passed on, %d are recorded, or others", len(got), len(kept))
	}
}
