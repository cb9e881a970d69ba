//go:build gateways

package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"jit-gateway/internal/testenv/fleet"
)

// clock: one gateway's clock is wrong.
func (w *world) clock() {
	for _, off := range []string{"1h", "-1h"} {
		w.ok(os.WriteFile(w.c.ClockFile(), []byte(off), 0o644))
		began := time.Now()
		w.until("c notices its clock", func() bool { return !w.c.Ready() })
		if out, err := w.c.Direct().Run(w.ctx, "erin", "", "web02", "echo through"); err == nil {
			w.t.Errorf("a gateway whose clock is off by %s let erin in: %s", off, out)
		}
		if _, err := w.a.Direct().Run(w.ctx, "erin", "", "web02", "true"); err != nil {
			w.t.Errorf("the others are barred: %v", err)
		}
		w.row("c's clock is off by "+off, "not ready and admits nobody within %d ms; a and b go on", time.Since(began).Milliseconds())
		w.ok(os.WriteFile(w.c.ClockFile(), []byte("0s"), 0o644))
		w.until("c is well again", w.c.Ready)
	}
}

// partition: a gateway cannot reach the store.
func (w *world) partition() {
	onA, onB := w.a.Direct().Shell("erin", "web02"), w.b.Direct().Shell("erin", "web02")
	defer onB.Quit()
	began := time.Now()
	w.a.Wire.Silence()
	if out, err := w.a.Direct().Run(w.ctx, "erin", "", "web02", "echo through"); err == nil {
		w.t.Errorf("a gateway that is cut off admitted: %s", out)
	}
	took, ok := onA.EndsWithin(grace+10*time.Second, began)
	if !ok {
		w.t.Fatal("a session outlived store_grace on a gateway that is cut off")
	}
	// storeSeen is of the last heartbeat, at most its interval before the cut.
	if took > grace+time.Second {
		w.t.Errorf("the session on a lasted %s, with a grace of %s", took, grace)
	}
	now := time.Now()
	w.until("a still tells its service manager that it is alive", func() bool { _, at := w.a.Manager.Heard("WATCHDOG=1"); return at.After(now) })
	if !onB.Alive() {
		w.t.Error("the session on b ended too")
	}
	if w.a.Ready() {
		w.t.Error("a says that it is ready")
	}
	w.until("another gateway closes what a left", func() bool {
		return w.Store("SELECT count(*) FROM sessions WHERE state = 'open' AND gateway LIKE 'a.%'") == "0"
	})
	recovered := time.Since(began)
	w.a.Wire.Heal()
	w.a.Wire.Cut()
	w.until("a serves again", w.a.Ready)
	_, err := w.a.Direct().Run(w.ctx, "erin", "", "web02", "true")
	w.ok(err)
	w.row("a cannot reach the store (packets vanish)", "nobody new on a; its live session ended after %.1f s (store_grace %s); b's went on; b or c closed a's row after %.1f s; a serves again by itself",
		took.Seconds(), grace, recovered.Seconds())
}

// crash: a gateway dies with sessions; another one cleans up.
func (w *world) crash() {
	token, err := w.a.Direct().Run(w.ctx, "frank", "", "jit-gateway", "token", "orders")
	w.ok(err)
	ssh := w.b.Direct().Shell("erin", "web02")
	cmd := w.b.Direct().Psql(context.Background(), "frank", strings.TrimSpace(token), "")
	cmd.Args = append(cmd.Args[:len(cmd.Args)-2], "-c", "SELECT 'up'", "-c", "SELECT pg_sleep(600)")
	sql := w.Open(cmd)
	role := w.Store("SELECT rolname FROM pg_roles WHERE rolname LIKE 'jit\\_%\\_%' AND rolcanlogin AND rolname <> 'jit_gateway'")
	if role == "" {
		w.t.Fatal("the database session has no role of its own")
	}
	began := time.Now()
	w.ok(w.b.Kill())
	for what, s := range map[string]*fleet.Session{"ssh": ssh, "psql": sql} {
		if _, ok := s.EndsWithin(5*time.Second, began); !ok {
			w.t.Errorf("%s goes on without its gateway", what)
		}
	}
	w.until("another gateway recovers b's sessions", func() bool {
		return w.Store("SELECT count(*) FROM sessions WHERE state = 'open' AND gateway LIKE 'b.%'") == "0"
	})
	rows := time.Since(began)
	w.until("the role is dropped", func() bool { return w.Store("SELECT count(*) FROM pg_roles WHERE rolname = '"+role+"'") == "0" })
	role2 := time.Since(began)
	if n := w.Store("SELECT count(*) FROM events WHERE type = 'gateway.recovered' AND leaf LIKE '%\"instance\":\"b.%'"); n != "1" {
		w.t.Errorf("b was recovered %s times", n)
	}
	unsealed := w.Store("SELECT count(*) FROM sessions WHERE state = 'crashed' AND gateway LIKE 'b.%'")
	w.b.Start()
	sealed := w.Store("SELECT count(*) FROM events e JOIN sessions s ON s.id = e.session_id WHERE e.type = 'recording.sealed' AND s.state = 'crashed' AND s.gateway LIKE 'b.%'")
	if sealed != unsealed || sealed == "0" {
		w.t.Errorf("%s sessions crashed on b, and %s of their recordings are sealed after its restart", unsealed, sealed)
	}
	w.row("b dies (kill -9) with an ssh and a psql session", "both clients ended at once; one other gateway closed the sessions after %.1f s and dropped the role after %.1f s; b sealed the recordings when it came back",
		rows.Seconds(), role2.Seconds())

	// A second death and an immediate restart: nobody waits.
	ssh = w.b.Direct().Shell("erin", "web02")
	w.ok(w.b.Kill())
	began = time.Now()
	w.b.Start()
	w.until("b recovers itself", func() bool {
		return w.Store("SELECT count(*) FROM sessions WHERE state = 'open' AND gateway LIKE 'b.%'") == "0"
	})
	ssh.Quit()
	w.row("b dies and is started again at once", "it closed its own sessions and was ready after %.1f s", time.Since(began).Seconds())
}

// storeRestart: the database server restarts under live sessions.
func (w *world) storeRestart() {
	on := []*fleet.Session{w.a.Direct().Shell("erin", "web02"), w.b.Direct().Shell("erin", "web02")}
	began := time.Now()
	w.ok(w.Database().Stop())
	if out, err := w.c.Direct().Run(w.ctx, "erin", "", "web02", "echo through"); err == nil {
		w.t.Errorf("without a store somebody was admitted: %s", out)
	}
	w.ok(w.Database().Start(w.ctx))
	for _, g := range w.Gateways {
		w.until(g.Name+" serves again", func() bool {
			_, err := g.Direct().Run(w.ctx, "erin", "", "web02", "true")
			return err == nil
		})
	}
	back := time.Since(began)
	for _, s := range on {
		if !s.Alive() {
			w.t.Errorf("a session ended with the restart: %s", s.Said())
		}
		s.Quit()
	}
	w.row("the store's server restarts", "nobody new meanwhile; live sessions went on; all gateways served again %.1f s after the stop", back.Seconds())
}

// rollingRestart: each gateway in turn is stopped and started, under load.
func (w *world) rollingRestart() {
	ctx, stop := context.WithCancel(w.ctx)
	var wg sync.WaitGroup
	var good, bad atomic.Int64
	var mu sync.Mutex
	why := map[string]int{}
	for range 3 {
		wg.Go(func() {
			for ctx.Err() == nil {
				out, err := w.Balanced().Run(w.ctx, "erin", "", "web02", "echo through")
				if err == nil && strings.Contains(out, "through") {
					good.Add(1)
					continue
				}
				bad.Add(1)
				mu.Lock()
				why[lastLine(fmt.Sprint(err))]++
				mu.Unlock()
			}
		})
	}
	before := w.Store("SELECT count(*) FROM events WHERE type = 'session.started'")
	for _, g := range w.Gateways {
		w.ok(g.Stop())
		g.Start()
		time.Sleep(300 * time.Millisecond) // haproxy sees it
	}
	stop()
	wg.Wait()
	after := w.Store("SELECT count(*) FROM events WHERE type = 'session.started'")
	b, _ := strconv.ParseInt(before, 10, 64)
	a, _ := strconv.ParseInt(after, 10, 64)
	if a-b < good.Load()-3 {
		w.t.Errorf("%d commands came through, and the log has %d sessions", good.Load(), a-b)
	}
	if good.Load() < 10 {
		w.t.Errorf("only %d commands came through", good.Load())
	}
	w.row("rolling restart of a, b, c under load through haproxy", "%d commands came through, %d were refused %v; the log has %d sessions", good.Load(), bad.Load(), why, a-b)
}

func lastLine(s string) string {
	lines := strings.Split(strings.TrimSpace(s), "\n")
	return lines[len(lines)-1]
}

// disabled on one gateway: everything of the user ends on all.
func (w *world) disabled() {
	on := []*fleet.Session{w.a.Direct().Shell("erin", "web02"), w.b.Direct().Shell("erin", "web02"), w.c.Direct().Shell("erin", "web02")}
	began := time.Now()
	_, err := w.c.Local(w.ctx, "user", "disable", "erin", "--reason", "left")
	w.ok(err)
	var slowest time.Duration
	for _, s := range on {
		took, ok := s.EndsWithin(5*time.Second, began)
		if !ok {
			w.t.Fatal("a session outlived its user's disabling")
		}
		slowest = max(slowest, took)
	}
	for _, g := range w.Gateways {
		if _, err := g.Direct().Run(w.ctx, "erin", "", "jit-gateway", "whoami"); err == nil {
			w.t.Errorf("%s knows erin still", g.Name)
		}
	}
	w.row("a user is disabled on c", "her sessions on a, b and c ended, the last %d ms after the command began; no gateway takes her key", slowest.Milliseconds())
}

// nothingLost: the log is one intact tree, every session that began has ended,
// everything that was minted is dead.
func (w *world) nothingLost() {
	w.until("every session is closed", func() bool { return w.Store("SELECT count(*) FROM sessions WHERE state = 'open'") == "0" })
	w.until("every credential of a session is dead", func() bool {
		return w.Store("SELECT count(*) FROM credentials WHERE dead_at = 0 AND session_id <> ''") == "0"
	})
	var verified []string
	for _, g := range w.Gateways {
		out, err := g.Local(w.ctx, "audit", "verify")
		w.ok(err)
		verified = append(verified, strings.TrimSpace(out))
	}
	if n := w.Store("SELECT count(*) FROM events e WHERE type = 'session.started' AND NOT EXISTS (SELECT 1 FROM events x WHERE x.session_id = e.session_id AND x.type IN ('session.ended', 'session.crashed'))"); n != "0" {
		w.t.Errorf("%s sessions began in the log and never ended", n)
	}
	if n := w.Store("SELECT count(*) FROM sessions s WHERE NOT EXISTS (SELECT 1 FROM events x WHERE x.session_id = s.id AND x.type = 'session.started')"); n != "0" {
		w.t.Errorf("%s sessions are in the store and not in the log", n)
	}
	if n := w.Store("SELECT count(*) FROM pg_roles WHERE rolname LIKE 'jit\\_%\\_%' AND rolname <> 'jit_gateway' AND rolcanlogin"); n != "0" {
		w.t.Errorf("%s session roles are left", n)
	}
	started := w.Store("SELECT count(*) FROM events WHERE type = 'session.started'")
	if err := os.WriteFile(filepath.Join(w.Dir, "done"), nil, 0o644); err != nil {
		w.t.Error(err)
	}
	w.row("after all of it", "%s sessions, each with its end in the log; every credential dead; %s", started, verified[0])
}
