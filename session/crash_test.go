package session_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"jit-gateway/internal/audit"
	"jit-gateway/internal/testenv/world"
	"jit-gateway/session"
)

// fileRoles is a database whose roles are files: what a crash leaves behind
// is there to see.
type fileRoles struct{ dir string }

func (f fileRoles) Invalidate(_ context.Context, c session.Credential) error {
	if err := os.Remove(filepath.Join(f.dir, c.Name)); !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

func (f fileRoles) Check(_ context.Context, c session.Credential) error {
	if _, err := os.Stat(filepath.Join(f.dir, c.Name)); err == nil {
		return errors.New("the role still exists")
	}
	return nil
}

func crashWorld(t testing.TB, dir string) *world.World {
	roles := fileRoles{filepath.Join(dir, "roles")}
	if err := os.MkdirAll(roles.dir, 0o700); err != nil {
		t.Fatal(err)
	}
	return world.New(t, world.Options{Dir: dir, Session: func(o *session.Options) {
		o.Cleaners = map[string]session.Cleaner{"pg_role": roles}
	}})
}

// crash is a gateway in the middle of two sessions; the test kills it.
func crash(dir string) {
	t := &fatal{}
	w := crashWorld(t, dir)
	go w.Sessions.Run(context.Background())
	g := w.Grant("web01", "deploy", time.Hour)
	a, b := w.Begin(g), w.Begin(g)
	// Intended only, and minted too: both may exist after the crash.
	for i, s := range []*session.Session{a, b} {
		c, err := s.Intend(context.Background(), session.Credential{Kind: "pg_role", Name: fmt.Sprint("jit_", i)})
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "roles", c.Name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := a.Recorder().Output(0, 1, []byte("the last words")); err != nil {
		t.Fatal(err)
	}
	if err := a.Recorder().Flush(); err != nil {
		t.Fatal(err)
	}
	fmt.Println(a.ID(), b.ID(), g.ID)
	select {}
}

// fatal is as much of a testing.TB as the crashing process needs.
type fatal struct{ testing.TB }

func (*fatal) Helper()               {}
func (*fatal) Cleanup(func())        {}
func (*fatal) Fatal(args ...any)     { fmt.Fprintln(os.Stderr, args...); os.Exit(2) }
func (*fatal) Errorf(string, ...any) {}

func TestG9KillLeavesNothingBehind(t *testing.T) {
	dir := t.TempDir()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "SESSION_TEST_CRASH="+dir)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Process.Kill()
	var a, b, grant string
	if _, err := fmt.Fscan(out, &a, &b, &grant); err != nil {
		t.Fatalf("the gateway said nothing: %v", err)
	}
	cmd.Process.Kill() // SIGKILL
	io.Copy(io.Discard, out)
	cmd.Wait()

	w := crashWorld(t, dir)
	before, err := w.DB.Grant(t.Context(), grant)
	if err != nil {
		t.Fatal(err)
	}
	w.Run(false)
	deadline := time.Now().Add(10 * time.Second)
	for len(w.Events(audit.GatewayRecovered)) == 0 {
		if time.Now().After(deadline) {
			t.Fatal("nothing was recovered")
		}
		time.Sleep(5 * time.Millisecond)
	}
	for _, id := range []string{a, b} {
		row, err := w.DB.Session(t.Context(), id)
		if err != nil || row.State != session.Crashed || row.Cause != "crashed" {
			t.Errorf("session %s is %s by %q, %v", id, row.State, row.Cause, err)
		}
		r, err := w.Recordings.Open(id)
		if err != nil {
			t.Fatal(err)
		}
		seal, ok := r.Sealed()
		if !ok || !seal.Recovered || !r.Verify().OK {
			t.Errorf("the recording of %s: %+v, sealed %v", id, seal, ok)
		}
		var text strings.Builder
		for ev, err := range r.Events() {
			if err != nil {
				t.Error(err)
			}
			text.Write(ev.Data)
		}
		if want := map[string]string{a: "the last words"}[id]; text.String() != want {
			t.Errorf("the recording of %s has %q, want %q", id, &text, want)
		}
		r.Close()
	}
	if left, _ := os.ReadDir(filepath.Join(dir, "roles")); len(left) != 0 {
		t.Errorf("%d roles are left", len(left))
	}
	if live, err := w.DB.LiveCredentials(t.Context(), session.CredentialFilter{}); err != nil || len(live) != 0 {
		t.Errorf("credentials that are not dead: %+v, %v", live, err)
	}
	if dead := w.Events(audit.CredentialDead); len(dead) != 2 {
		t.Errorf("%d after-checks, want 2", len(dead))
	}
	if after, err := w.DB.Grant(t.Context(), grant); err != nil || !after.End.Equal(before.End) || after.State != before.State {
		t.Errorf("the grant changed: %+v, %v", after, err)
	}
}

func TestG9RecoveryTouchesOnlyDeadGateways(t *testing.T) {
	w := crashWorld(t, t.TempDir())
	ctx := t.Context()
	now := time.Now().UTC()
	ev := audit.Event{Type: audit.SessionStarted, Outcome: audit.Success}
	for instance, beat := range map[string]time.Time{"Ialive": now.Add(-5 * time.Second), "Idead": now.Add(-5 * time.Minute)} {
		if err := w.DB.Beat(ctx, instance, beat); err != nil {
			t.Fatal(err)
		}
		row := session.Row{ID: "S" + instance, GrantID: "G1", UserID: "Ualice", User: "alice", Target: "web01", Gateway: instance, StartedAt: now, State: session.Open}
		if err := w.DB.BeginSession(ctx, row, ev); err != nil {
			t.Fatal(err)
		}
	}
	m, err := session.NewManager(session.Options{Instance: "Ime", Store: w.DB, Credentials: w.DB, Instances: w.DB, Grants: w.DB, Log: w.DB, Feed: w.DB, Recordings: w.Recordings})
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Recover(ctx); err != nil {
		t.Fatal(err)
	}
	for id, want := range map[string]session.State{"SIalive": session.Open, "SIdead": session.Crashed} {
		if row, err := w.DB.Session(ctx, id); err != nil || row.State != want {
			t.Errorf("%s is %s, want %s (%v)", id, row.State, want, err)
		}
	}
	w.Close()
}
