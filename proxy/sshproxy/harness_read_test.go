package sshproxy

import (
	"context"
	"strings"
	"time"

	"jit-gateway/internal/audit"
	"jit-gateway/recording"
	"jit-gateway/session"
)

// events returns the audit events of a type.
func (g *gateway) events(typ audit.Type) []audit.Event {
	g.t.Helper()
	evs, err := g.db.Events(context.Background(), -1, 100000)
	if err != nil {
		g.t.Fatal(err)
	}
	var out []audit.Event
	for _, e := range evs {
		if e.Type == typ {
			out = append(out, e)
		}
	}
	return out
}

// closed waits until n sessions have ended, and returns their rows, newest first.
func (g *gateway) closed(n int) []session.Row {
	g.t.Helper()
	deadline := time.Now().Add(15 * time.Second)
	for {
		rows, err := g.db.ListSessions(context.Background(), session.Filter{})
		if err != nil {
			g.t.Fatal(err)
		}
		done := 0
		for _, r := range rows {
			if r.State == session.Closed {
				done++
			}
		}
		if done >= n {
			return rows
		}
		if time.Now().After(deadline) {
			g.t.Fatalf("%d of %d sessions closed: %+v", done, n, rows)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// recorded returns the events of a session's recording.
func (g *gateway) recorded(sessionID string) []recording.Event {
	g.t.Helper()
	r, err := g.rec.Open(sessionID)
	if err != nil {
		g.t.Fatal(err)
	}
	defer r.Close()
	var out []recording.Event
	for ev, err := range r.Events() {
		if err != nil {
			g.t.Fatal(err)
		}
		out = append(out, ev)
	}
	return out
}

// output is the recorded output of a stream.
func output(evs []recording.Event, stream byte) string {
	var b strings.Builder
	for _, e := range evs {
		if e.Kind == recording.KindOutput && e.Stream == stream {
			b.Write(e.Data)
		}
	}
	return b.String()
}

// payloads returns the recorded payloads of a type.
func payloads[T recording.Payload](evs []recording.Event) []T {
	var out []T
	for _, e := range evs {
		if p, ok := e.Payload.(T); ok {
			out = append(out, p)
		}
	}
	return out
}
