package session_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"jit-gateway/internal/audit"
	"jit-gateway/internal/testenv/world"
	"jit-gateway/session"
)

// killer is a store under a gateway that is killed, as by kill -9, right after
// the n-th thing that a session has written.
type killer struct {
	session.Store
	session.Credentials
	session.Log
	left atomic.Int64
}

func (k *killer) step(err error) error {
	if k.left.Add(-1) == 0 {
		syscall.Kill(os.Getpid(), syscall.SIGKILL) //nolint:errcheck // it does not return
		select {}
	}
	return err
}

func (k *killer) BeginSession(ctx context.Context, r session.Row, ev audit.Event) error {
	return k.step(k.Store.BeginSession(ctx, r, ev))
}

func (k *killer) EndSession(ctx context.Context, e session.End) error {
	k.step(nil) //nolint:errcheck // the recording is sealed, the credentials are dead, and nobody was told
	return k.step(k.Store.EndSession(ctx, e))
}

func (k *killer) AddCredential(ctx context.Context, c session.Credential, ev audit.Event) error {
	return k.step(k.Credentials.AddCredential(ctx, c, ev))
}

func (k *killer) CredentialDead(ctx context.Context, id string, at time.Time, ev audit.Event) error {
	return k.step(k.Credentials.CredentialDead(ctx, id, at, ev))
}

func (k *killer) Append(ctx context.Context, ev audit.Event) (audit.Event, error) {
	ev, err := k.Log.Append(ctx, ev)
	return ev, k.step(err)
}

// crashWorldWith is crashWorld with more options.
func crashWorldWith(t testing.TB, dir string, more func(*session.Options)) *world.World {
	roles := fileRoles{filepath.Join(dir, "roles")}
	if err := os.MkdirAll(roles.dir, 0o700); err != nil {
		t.Fatal(err)
	}
	return world.New(t, world.Options{Dir: dir, Session: func(o *session.Options) {
		o.Cleaners = map[string]session.Cleaner{"pg_role": roles}
		if more != nil {
			more(o)
		}
	}})
}

// liveAndDie is one session from its beginning to its end, in a process that
// is killed after its n-th step; 0 is before the first.
func liveAndDie(dir string, n int64) {
	t, k := &fatal{}, &killer{}
	w := crashWorldWith(t, dir, func(o *session.Options) {
		k.Store, k.Credentials, k.Log = o.Store, o.Credentials, o.Log
		o.Store, o.Credentials, o.Log = k, k, k
	})
	go w.Sessions.Run(context.Background())
	ok := func(err error) {
		if err != nil {
			t.Fatal(err)
		}
	}
	g := w.Grant("web01", "deploy", time.Hour)
	adm := w.Admit(g)
	if n == 0 {
		syscall.Kill(os.Getpid(), syscall.SIGKILL) //nolint:errcheck // it does not return
	}
	k.left.Store(n)
	s, err := w.Sessions.Begin(context.Background(), adm, session.Meta{Protocol: "ssh", Source: w.Caller.Source})
	ok(err)
	fmt.Println("begun", s.ID())
	c, err := s.Intend(context.Background(), session.Credential{Kind: "pg_role", Name: "jit_role"})
	ok(err)
	ok(os.WriteFile(filepath.Join(dir, "roles", c.Name), nil, 0o600))
	ok(s.Minted(context.Background(), c.ID, nil))
	ok(s.Recorder().Output(0, 1, []byte("the last words")))
	ok(s.Recorder().Flush())
	fmt.Println("said")
	ok(s.Finish(context.Background(), session.Outcome{Cause: "logout"}))
	os.Exit(0)
}

// TestG9KillAtEveryStep: kill -9 after each thing that a session writes to the
// store or the log, and before its end is written, and a restart. The session is closed, what it minted is
// dead, its recording is sealed with what was said and nothing else, verifies,
// and is as the log has it.
func TestG9KillAtEveryStep(t *testing.T) {
	steps := 0
	for n := 0; ; n++ {
		dir := t.TempDir()
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), "SESSION_TEST_CRASH="+dir, "SESSION_TEST_KILL_AT="+strconv.Itoa(n))
		cmd.Stderr = os.Stderr
		out, err := cmd.Output()
		if err == nil {
			break // it lived to its end
		}
		status, _ := cmd.ProcessState.Sys().(syscall.WaitStatus)
		if !status.Signaled() || status.Signal() != syscall.SIGKILL {
			t.Fatalf("step %d: the gateway ended by itself: %v, %s", n, err, out)
		}
		steps++
		afterKill(t, n, dir, strings.Contains(string(out), "said"))
	}
	if steps < 6 {
		t.Errorf("a session was killed at %d steps only", steps)
	}
	t.Logf("killed at %d steps", steps)
}

func afterKill(t *testing.T, n int, dir string, said bool) {
	w := crashWorldWith(t, dir, nil)
	defer w.Close()
	w.Run(false)
	var rows []session.Row
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		var err error
		if rows, err = w.DB.ListSessions(t.Context(), session.Filter{Limit: 10}); err != nil {
			t.Fatal(err)
		}
		alive, err := w.DB.LiveCredentials(t.Context(), session.CredentialFilter{})
		if err != nil {
			t.Fatal(err)
		}
		open := len(alive)
		for _, r := range rows {
			if r.State == session.Open {
				open++
			}
		}
		if open == 0 && (n == 0 || len(rows) == 1) {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("step %d: after the restart %d sessions or credentials are still open: %+v %+v", n, open, rows, alive)
		}
	}
	if left, err := filepath.Glob(filepath.Join(dir, "roles", "*")); err != nil || len(left) > 0 {
		t.Errorf("step %d: left behind: %v, %v", n, left, err)
	}
	list, err := w.Recordings.List()
	if err != nil {
		t.Fatal(err)
	}
	for _, in := range list {
		r, err := w.Recordings.Open(in.Session)
		if err != nil {
			t.Fatalf("step %d: %v", n, err)
		}
		var text strings.Builder
		for ev, err := range r.Events() {
			if err != nil {
				t.Errorf("step %d: %v", n, err)
			}
			text.Write(ev.Data)
		}
		rep := r.Verify()
		r.Close()
		if !rep.OK || !rep.Sealed {
			t.Errorf("step %d: %s", n, rep)
		}
		if got := text.String(); said && got != "the last words" || !said && got != "" && got != "the last words" {
			t.Errorf("step %d: the recording has %q; said: %v", n, got, said)
		}
	}
	if said && len(list) != 1 {
		t.Errorf("step %d: %d recordings", n, len(list))
	}
	check := w.Recordings.NewLogCheck()
	seals := map[string]bool{} // by hash: a restart tells of one again if it cannot know that it was told
	for _, e := range w.Events() {
		if err := check.Event(e); err != nil {
			t.Errorf("step %d: %v", n, err)
		}
		if e.Type == audit.RecordingSealed {
			seals[e.Detail["hash"]] = true
		}
	}
	if err := check.Finish(t.Context()); err != nil {
		t.Errorf("step %d: the recording is not as the log has it: %v", n, err)
	}
	if said && len(seals) != 1 {
		t.Errorf("step %d: the log has the seals %v", n, seals)
	}
}
