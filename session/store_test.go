package session_test

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"jit-gateway/ca"
	"jit-gateway/internal/audit"
	"jit-gateway/internal/clock"
	"jit-gateway/internal/testenv/world"
	"jit-gateway/session"
)

// flaky is a store that can be away.
type flaky struct {
	session.Store
	session.Credentials
	session.Instances
	away atomic.Bool
}

var errAway = errors.New("the store is away")

func (f *flaky) down() error {
	if f.away.Load() {
		return errAway
	}
	return nil
}

func (f *flaky) Beat(ctx context.Context, id string, at time.Time) error {
	if err := f.down(); err != nil {
		return err
	}
	return f.Instances.Beat(ctx, id, at)
}

func (f *flaky) BeginSession(ctx context.Context, r session.Row, ev audit.Event) error {
	if err := f.down(); err != nil {
		return err
	}
	return f.Store.BeginSession(ctx, r, ev)
}

func (f *flaky) EndSession(ctx context.Context, e session.End) error {
	if err := f.down(); err != nil {
		return err
	}
	return f.Store.EndSession(ctx, e)
}

func (f *flaky) CredentialDead(ctx context.Context, id string, at time.Time, ev audit.Event) error {
	if err := f.down(); err != nil {
		return err
	}
	return f.Credentials.CredentialDead(ctx, id, at, ev)
}

func flakyStore(f *flaky, more func(*session.Options)) func(*session.Options) {
	return func(o *session.Options) {
		f.Store, f.Credentials, f.Instances = o.Store, o.Credentials, o.Instances
		o.Store, o.Credentials, o.Instances = f, f, f
		if more != nil {
			more(o)
		}
	}
}

func TestG5WithoutItsStoreAGatewayEndsItsSessions(t *testing.T) {
	f := &flaky{}
	bubble(t, world.Options{Session: flakyStore(f, nil)}, func(t *testing.T, w *world.World) {
		g := w.Grant("web01", "deploy", time.Hour)
		s, adm := w.Begin(g), w.Admit(g)
		time.Sleep(time.Minute)
		f.away.Store(true)
		if _, err := w.Sessions.Begin(t.Context(), adm, session.Meta{Protocol: "ssh"}); !errors.Is(err, errAway) {
			t.Errorf("begin without a store: %v", err)
		}
		if list, _ := w.Recordings.List(); len(list) != 1 {
			t.Errorf("%d recordings after a refused session, want 1", len(list))
		}
		start := time.Now()
		<-s.Context().Done()
		if d := time.Since(start); d < 54*time.Second || d > 61*time.Second {
			t.Errorf("it ended %s after the store went", d)
		}
		if err := s.Finish(context.Background(), session.Outcome{}); !errors.Is(err, errAway) {
			t.Errorf("finish: %v", err)
		}
		if _, err := w.Sessions.Begin(t.Context(), adm, session.Meta{Protocol: "ssh"}); err == nil || !strings.Contains(err.Error(), "cannot reach its store") {
			t.Errorf("begin after the grace: %v", err)
		}
		f.away.Store(false) // what could not be written is written now
		time.Sleep(10 * time.Second)
		row, err := w.DB.Session(t.Context(), s.ID())
		if err != nil || row.State != session.Closed || row.Cause != "store_lost" {
			t.Errorf("the row is %s by %q, %v", row.State, row.Cause, err)
		}
		w.Begin(g).Finish(t.Context(), session.Outcome{})
	})
}

func TestG5AStoreThatComesBackInTimeChangesNothing(t *testing.T) {
	f := &flaky{}
	bubble(t, world.Options{Session: flakyStore(f, nil)}, func(t *testing.T, w *world.World) {
		s := w.Begin(w.Grant("web01", "deploy", time.Hour))
		for range 3 {
			f.away.Store(true)
			time.Sleep(45 * time.Second)
			f.away.Store(false)
			time.Sleep(30 * time.Second)
		}
		if s.Context().Err() != nil {
			t.Errorf("it ended: %v", context.Cause(s.Context()))
		}
		s.Finish(t.Context(), session.Outcome{})
	})
}

func TestG5AClockBehindTheHighWaterMarkAdmitsNobody(t *testing.T) {
	var skew skewed
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		o := world.Options{Dir: dir, Clock: clock.Skewed(skew.get)}
		w := world.New(t, o)
		w.Run(false)
		g := w.Grant("web01", "deploy", time.Hour)
		adm := w.Admit(g)
		skew.set(-10 * time.Second)
		if _, err := w.Sessions.Begin(t.Context(), adm, session.Meta{}); err == nil || !strings.Contains(err.Error(), "clock is 10s behind") && !strings.Contains(err.Error(), "not open") {
			t.Errorf("begin with a clock that was set back: %v", err)
		}
		w.Close()
		w = world.New(t, o) // a restart does not help
		w.Run(false)
		if err := w.Sessions.ClockOK(t.Context()); err != nil {
			t.Logf("before the store was asked: %v", err)
		}
		synctest.Wait()
		if err := w.Sessions.ClockOK(t.Context()); err == nil {
			t.Error("a restart made the clock good")
		}
		w.Close()
	})
}

// stubborn is a cleaner whose credentials die at the nth try.
type stubborn struct {
	dieAt    int32
	tries    atomic.Int32
	panicked bool
}

func (s *stubborn) Invalidate(context.Context, session.Credential) error {
	if n := s.tries.Add(1); n == 1 && s.panicked {
		panic("nil database")
	}
	return nil
}

func (s *stubborn) Check(context.Context, session.Credential) error {
	if s.tries.Load() < s.dieAt {
		return errors.New("role jit_x still exists")
	}
	return nil
}

func TestG4CredentialsAreRetriedAndAlarmedUntilDead(t *testing.T) {
	c := &stubborn{dieAt: 4, panicked: true}
	o := world.Options{Session: func(o *session.Options) { o.Cleaners = map[string]session.Cleaner{"pg_role": c} }}
	bubble(t, o, func(t *testing.T, w *world.World) {
		s := w.Begin(w.Grant("web01", "deploy", time.Hour))
		if _, err := s.Intend(t.Context(), session.Credential{Kind: "spell"}); err == nil {
			t.Error("something was intended that nobody can end")
		}
		cred, err := s.Intend(t.Context(), session.Credential{Kind: "pg_role", Name: "jit_x"})
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Minted(t.Context(), cred.ID, map[string]string{"oid": "7"}); err != nil {
			t.Fatal(err)
		}
		if err := s.Finish(t.Context(), session.Outcome{}); err == nil || !strings.Contains(err.Error(), "jit_x") {
			t.Errorf("finish: %v", err)
		}
		if row, _ := w.DB.Session(t.Context(), s.ID()); row.State != session.Closed {
			t.Errorf("the row is %s: a credential must not keep it open", row.State)
		}
		time.Sleep(time.Minute)
		live, err := w.DB.LiveCredentials(t.Context(), session.CredentialFilter{})
		if err != nil || len(live) != 0 {
			t.Errorf("alive: %+v, %v", live, err)
		}
		if alarms := w.Events(audit.CredentialAlive); len(alarms) != 3 || alarms[0].Outcome != audit.Failure || !strings.Contains(alarms[1].Reason, "still exists") {
			t.Errorf("the alarms are %+v", alarms)
		}
		dead := w.Events(audit.CredentialDead)
		if len(dead) != 1 || dead[0].Session != s.ID() || dead[0].Detail["check_ms"] == "" || dead[0].Detail["after_end_ms"] == "" {
			t.Errorf("the after-check is %+v", dead)
		}
	})
}

func TestG4SessionKeysAreDestroyed(t *testing.T) {
	bubble(t, world.Options{}, func(t *testing.T, w *world.World) {
		s := w.Begin(w.Grant("web01", "deploy", time.Hour))
		signer, _, err := s.MintSSH(t.Context(), w.Authority, ca.UserCertOptions{SourceAddresses: []string{"192.0.2.1"}})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := signer.Sign(nil, []byte("x")); err != nil {
			t.Fatal(err)
		}
		// One whose key the handler kept to itself cannot be checked.
		if _, err := s.Intend(t.Context(), session.Credential{Kind: session.KindSSHCert, Name: "kept", ExpiresAt: time.Now().Add(2 * time.Minute)}); err != nil {
			t.Fatal(err)
		}
		if err := s.Finish(t.Context(), session.Outcome{}); err == nil || !strings.Contains(err.Error(), "not handed over") {
			t.Errorf("finish: %v", err)
		}
		if _, err := signer.Sign(nil, []byte("x")); err == nil {
			t.Error("the session's key signs after its end")
		}
		var order []string
		for _, e := range w.Events() {
			if e.Session == s.ID() {
				order = append(order, string(e.Type))
			}
		}
		got := strings.Join(order, " ")
		if !strings.HasPrefix(got, "session.started credential.intended credential.minted credential.intended") || !strings.HasSuffix(got, "recording.sealed session.ended") {
			t.Errorf("the log says %s", got)
		}
	})
}

func TestG4TokensEndWithTheirGrant(t *testing.T) {
	ctx := context.Background()
	for name, end := range map[string]func(w *world.World, id string){
		"released": func(w *world.World, id string) { w.Approvals.Release(ctx, w.Caller, id) },
		"expired":  func(w *world.World, id string) { time.Sleep(time.Hour) },
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, world.Options{}, func(t *testing.T, w *world.World) {
				g := w.Grant("orders", "orders_ro", time.Hour)
				for range 2 {
					if _, err := w.Tokens.Mint(ctx, w.Admit(g), ca.TokenOptions{}); err != nil {
						t.Fatal(err)
					}
				}
				if _, _, vs, err := w.Tokens.Candidates(ctx, "alice", "orders"); err != nil || len(vs) != 2 {
					t.Fatalf("%d tokens work, %v", len(vs), err)
				}
				end(w, g.ID)
				if _, _, vs, _ := w.Tokens.Candidates(ctx, "alice", "orders"); len(vs) != 0 {
					t.Errorf("%d tokens work after the end", len(vs))
				}
				time.Sleep(2 * time.Second)
				if n, err := w.Tokens.Alive(ctx, g.ID); err != nil || n != 0 {
					t.Errorf("%d tokens are kept as alive, %v", n, err)
				}
				if dead := w.Events(audit.CredentialDead); len(dead) != 2 || dead[0].Detail["kind"] != "pg_token" || dead[0].Detail["check_ms"] == "" {
					t.Errorf("the after-checks are %+v", dead)
				}
			})
		})
	}
}
