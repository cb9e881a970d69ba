package sink

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"jit-gateway/internal/audit"
	"jit-gateway/internal/webhook"
)

// memory is a log in memory: what Store says, and nothing of what SQL does.
type memory struct {
	mu      sync.Mutex
	events  []audit.Event
	cursors map[string]int64
	signed  audit.Checkpoint
	wake    chan struct{}
}

func newMemory(n int) *memory {
	m := &memory{cursors: map[string]int64{}, wake: make(chan struct{})}
	m.add(n)
	return m
}

func (m *memory) add(n int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for range n {
		seq := int64(len(m.events))
		m.events = append(m.events, audit.Event{Seq: seq, ID: fmt.Sprintf("E%d", seq), Time: time.Unix(1700000000+seq, 0).UTC(),
			Type: audit.RequestFiled, Outcome: audit.Success, Actor: audit.Actor{Name: "alice", Source: "192.0.2.1", Via: "ssh"}, Request: "R1"})
	}
	m.signed = audit.Checkpoint{Size: int64(len(m.events)), Note: "signed\n", Time: time.Unix(1700000000, 0)}
	close(m.wake)
	m.wake = make(chan struct{})
}

func (m *memory) Events(_ context.Context, after int64, limit int) ([]audit.Event, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	rest := m.events[after+1:]
	return rest[:min(limit, len(rest))], nil
}

func (m *memory) LastSeq(context.Context) (int64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return int64(len(m.events)) - 1, nil
}

func (m *memory) WaitEvents(ctx context.Context, after int64) error {
	m.mu.Lock()
	wake, have := m.wake, int64(len(m.events))-1 > after
	m.mu.Unlock()
	if have {
		return nil
	}
	select {
	case <-wake:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (m *memory) Cursor(_ context.Context, name string) (int64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if c, ok := m.cursors[name]; ok {
		return c, nil
	}
	return -1, nil
}

func (m *memory) SaveCursor(_ context.Context, name string, seq int64) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.cursors[name] = seq
	return nil
}

func (m *memory) LastCheckpoint(context.Context) (audit.Checkpoint, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.signed, nil
}

// flaky fails its first sends, after it has taken them: the worst receiver.
type flaky struct {
	mu    sync.Mutex
	fails int
	got   []Message
}

func (f *flaky) Name() string { return "flaky" }
func (f *flaky) Close() error { return nil }
func (f *flaky) Send(_ context.Context, batch []Message) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.got = append(f.got, batch...)
	if f.fails--; f.fails >= 0 {
		return errors.New("down")
	}
	return nil
}

// runUntil runs the sinks until done says so, within ten seconds.
func runUntil(t *testing.T, m *memory, done func() bool, sinks ...Sink) {
	t.Helper()
	r, err := New(Options{Store: m, Sinks: sinks})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	stopped := make(chan error, 1)
	go func() { stopped <- r.Run(ctx) }()
	for !done() && ctx.Err() == nil {
		time.Sleep(5 * time.Millisecond)
	}
	if ctx.Err() != nil {
		t.Error("the sink did not get everything in time")
	}
	cancel()
	if err := <-stopped; err != nil {
		t.Error(err)
	}
}

func TestAtLeastOnceInOrder(t *testing.T) {
	m, f := newMemory(450), &flaky{fails: 1}
	runUntil(t, m, func() bool { c, _ := m.Cursor(context.Background(), "sink:flaky"); return c == 449 }, f)
	seen, next := map[string]bool{}, int64(0)
	for _, msg := range f.got {
		if msg.Type == Checkpoint || seen[msg.ID] {
			continue
		}
		seen[msg.ID] = true
		if msg.Seq != next {
			t.Fatalf("got event %d, want %d", msg.Seq, next)
		}
		next++
	}
	if next != 450 || len(f.got) < 650 {
		t.Errorf("%d events and %d messages: the failed batch should have come twice", next, len(f.got))
	}
	// a new runner goes on where the cursor is
	m.add(1)
	f.got = nil
	runUntil(t, m, func() bool { c, _ := m.Cursor(context.Background(), "sink:flaky"); return c == 450 }, f)
	if f.got[0].ID != "E450" {
		t.Errorf("after a restart: got %q first", f.got[0].ID)
	}
}

// forgetful is a store whose gateway dies between a send and its note of it.
type forgetful struct {
	*memory
	die context.CancelFunc
}

func (f forgetful) SaveCursor(context.Context, string, int64) error {
	f.die()
	return errors.New("killed")
}

// TestRestartSendsAgainWithTheSameIDs: a gateway that dies after a sink took
// events, and before it wrote that down, sends them again when it is back,
// under the same ids and with the same bytes, so that the receiver can tell.
func TestRestartSendsAgainWithTheSameIDs(t *testing.T) {
	m, f := newMemory(5), &flaky{}
	ctx, die := context.WithCancel(t.Context())
	r, err := New(Options{Store: forgetful{m, die}, Sinks: []Sink{f}})
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Run(ctx); err != nil {
		t.Fatal(err)
	}
	before := len(f.got)
	if before != 6 { // and the checkpoint
		t.Fatalf("%d messages before the crash", before)
	}
	runUntil(t, m, func() bool { c, _ := m.Cursor(context.Background(), "sink:flaky"); return c == 4 }, f)
	again := f.got[before:]
	if len(again) < 6 {
		t.Fatalf("%d messages after the restart", len(again))
	}
	for i, msg := range f.got[:before] {
		if msg.ID == "" || again[i].ID != msg.ID || string(again[i].JSON) != string(msg.JSON) {
			t.Errorf("message %d came as %q, and again as %q: %s", i, msg.ID, again[i].ID, again[i].JSON)
		}
	}
}

// TestLagIsAMetric: what a sink has not taken yet is counted while it is down.
func TestLagIsAMetric(t *testing.T) {
	registry := prometheus.NewRegistry()
	m, f := newMemory(7), &flaky{fails: 1}
	r, err := New(Options{Store: m, Sinks: []Sink{f}, Metrics: NewMetrics(registry)})
	if err != nil {
		t.Fatal(err)
	}
	value := func(name string) float64 {
		all, err := registry.Gather()
		if err != nil {
			t.Fatal(err)
		}
		for _, family := range all {
			if family.GetName() == name {
				for _, x := range family.GetMetric() {
					return x.GetGauge().GetValue() + x.GetCounter().GetValue()
				}
			}
		}
		return -1
	}
	signed := int64(0)
	if err := r.step(t.Context(), f, &signed); err == nil {
		t.Fatal("a sink that is down took events")
	}
	if lag := value("jit_sink_lag_events"); lag != 7 {
		t.Errorf("while it is down the lag is %v, want 7", lag)
	}
	if err := r.step(t.Context(), f, &signed); err != nil {
		t.Fatal(err)
	}
	if lag, sent := value("jit_sink_lag_events"), value("jit_sink_events_total"); lag != 0 || sent != 7 {
		t.Errorf("afterwards the lag is %v and %v were sent, want 0 and 7", lag, sent)
	}
}

// TestG5RequiredSinkStopsAdmission: after a while without a required sink
// nobody is admitted, and again after it is back.
func TestG5RequiredSinkStopsAdmission(t *testing.T) {
	now := time.Unix(1700000000, 0)
	r, err := New(Options{Store: newMemory(0), Required: map[string]bool{"siem": true}, Now: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	r.down("other")
	r.down("siem")
	now = now.Add(maxBehind)
	if err := r.Check(); err != nil {
		t.Errorf("too early: %v", err)
	}
	r.down("siem") // still: the first failure counts
	now = now.Add(time.Second)
	if err := r.Check(); err == nil || !strings.Contains(err.Error(), "siem") {
		t.Errorf("got %v", err)
	}
	r.up("siem")
	if err := r.Check(); err != nil {
		t.Errorf("it is back: %v", err)
	}
}

func TestFileHasEventsAndCheckpoint(t *testing.T) {
	m, path := newMemory(3), filepath.Join(t.TempDir(), "audit.jsonl")
	lines := func() []string {
		b, _ := os.ReadFile(path)
		return strings.Split(strings.TrimSuffix(string(b), "\n"), "\n")
	}
	runUntil(t, m, func() bool { return len(lines()) == 4 }, NewFile("file", path))
	var e audit.Event
	if err := json.Unmarshal([]byte(lines()[2]), &e); err != nil || e.Seq != 2 {
		t.Errorf("line 3: %v, seq %d", err, e.Seq)
	}
	if !strings.Contains(lines()[3], `"checkpoint":"signed\n"`) {
		t.Errorf("no checkpoint: %q", lines()[3])
	}
	if st, err := os.Stat(path); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", st.Mode(), err)
	}
}

// TestFileTornLine: a line that a full disk cut short costs no other event.
func TestFileTornLine(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.jsonl")
	if err := os.WriteFile(path, []byte("{\"id\":\"E0\"}\n{\"id\":\"E1"), 0o600); err != nil {
		t.Fatal(err)
	}
	f := NewFile("file", path)
	for range 2 {
		if err := f.Send(t.Context(), []Message{{JSON: []byte(`{"id":"E1"}`)}}); err != nil {
			t.Fatal(err)
		}
	}
	b, err := os.ReadFile(path)
	if want := "{\"id\":\"E0\"}\n{\"id\":\"E1\n{\"id\":\"E1\"}\n{\"id\":\"E1\"}\n"; err != nil || string(b) != want {
		t.Errorf("the file has %q (%v), want %q", b, err, want)
	}
}

func TestHookIsSigned(t *testing.T) {
	const secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
	var mu sync.Mutex
	var got []map[string]any
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		sec, _ := strconv.ParseInt(r.Header.Get("webhook-timestamp"), 10, 64)
		want, _ := webhook.Sign(secret, r.Header.Get("webhook-id"), time.Unix(sec, 0), body)
		mu.Lock()
		defer mu.Unlock()
		if r.Header.Get("webhook-signature") != want {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		var part []map[string]any
		if json.Unmarshal(body, &part) == nil {
			got = append(got, part...)
		}
	}))
	defer srv.Close()
	c := webhook.NewClient(webhook.Options{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}})
	hook := NewHook("siem", srv.URL, func() (string, error) { return secret, nil }, c)
	runUntil(t, newMemory(5), func() bool { mu.Lock(); defer mu.Unlock(); return len(got) >= 6 }, hook)
}

// TestEveryEventTypeHasAnOCSFClass reads the constants from the source: a
// type that is added without a class fails here.
func TestEveryEventTypeHasAnOCSFClass(t *testing.T) {
	f, err := parser.ParseFile(token.NewFileSet(), "../audit/event.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	ast.Inspect(f, func(node ast.Node) bool {
		spec, ok := node.(*ast.ValueSpec)
		if !ok {
			return true
		}
		if id, ok := spec.Type.(*ast.Ident); !ok || id.Name != "Type" || len(spec.Values) == 0 {
			return true
		}
		lit, ok := spec.Values[0].(*ast.BasicLit)
		if !ok {
			return true
		}
		name, err := strconv.Unquote(lit.Value)
		if err != nil {
			t.Fatal(err)
		}
		n++
		if _, ok := classes[audit.Type(name)]; !ok {
			t.Errorf("%s has no OCSF class", name)
		}
		return true
	})
	if n < 50 {
		t.Fatalf("only %d types found: this test looks in the wrong place", n)
	}
}
