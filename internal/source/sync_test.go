package source

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"jit-gateway/internal/inventory"
)

type syncWorld struct {
	*testing.T
	s     *Syncer
	path  string
	dir   string
	apply error
	told  []Result
	ca    string
}

func newSyncWorld(t *testing.T) *syncWorld {
	w := &syncWorld{T: t, dir: filepath.Join(t.TempDir(), "sources"), path: filepath.Join(t.TempDir(), "t.csv"), ca: key(t)}
	w.start()
	return w
}

func (w *syncWorld) start() {
	w.Helper()
	var err error
	w.s, err = NewSyncer(Options{Dir: w.dir, Logger: slog.New(slog.DiscardHandler),
		Apply: func(context.Context) error { return w.apply },
		Told:  func(_ context.Context, r Result) { w.told = append(w.told, r) }})
	if err != nil {
		w.Fatal(err)
	}
	src := Source{Name: "fleet", Kind: CSV, Path: w.path, Every: time.Minute,
		Defaults: inventory.Target{SSH: &inventory.SSHTarget{Logins: []string{"ops"}, HostCAs: []string{w.ca}}}}
	if err := w.s.Configure([]Source{src}, Reader{}); err != nil {
		w.Fatal(err)
	}
}

// hosts writes the table: names from a to b.
func (w *syncWorld) hosts(a, b int) {
	w.Helper()
	var sb strings.Builder
	sb.WriteString("name\n")
	for i := a; i <= b; i++ {
		fmt.Fprintf(&sb, "host%02d\n", i)
	}
	put(w.T, w.path, sb.String())
}

func (w *syncWorld) sync(dryRun, acceptLoss bool) Result {
	w.Helper()
	out, err := w.s.Sync(w.Context(), "", dryRun, acceptLoss)
	if err != nil || len(out) != 1 {
		w.Fatalf("got %v, %v", out, err)
	}
	return out[0]
}

func (w *syncWorld) has(n int) {
	w.Helper()
	if got := len(w.s.Targets()); got != n {
		w.Errorf("%d targets, want %d", got, n)
	}
}

func TestLosingManyStops(t *testing.T) {
	w := newSyncWorld(t)
	w.hosts(1, 20)
	if r := w.sync(true, false); r.Err != nil || len(r.Diff.Added) != 20 {
		t.Errorf("the dry run says %v, %v", r.Diff, r.Err)
	}
	w.has(0)
	w.sync(false, false)
	w.has(20)
	w.hosts(1, 18) // 10 %
	if r := w.sync(false, false); r.Err != nil || len(r.Diff.Removed) != 2 {
		t.Errorf("two of twenty: %v, %v", r.Diff, r.Err)
	}
	w.has(18)
	w.hosts(1, 16) // 11.1 %
	var loss *LossError
	if r := w.sync(false, false); !errors.As(r.Err, &loss) || len(loss.Diff.Removed) != 2 {
		t.Errorf("two of eighteen: %v", r.Err)
	}
	w.has(18)
	put(t, w.path, "name\n") // a broken inventory
	if r := w.sync(false, false); !errors.As(r.Err, &loss) {
		t.Errorf("an empty reading: %v", r.Err)
	}
	w.has(18)
	w.hosts(1, 16)
	if r := w.sync(false, true); r.Err != nil {
		t.Errorf("with --accept-loss: %v", r.Err)
	}
	w.has(16)
	if err := w.s.Status()[0].Err; err != nil {
		t.Errorf("the status still says %v", err)
	}
}

func TestWhatWasAcceptedSurvivesRestartAndTrouble(t *testing.T) {
	w := newSyncWorld(t)
	w.hosts(1, 3)
	w.sync(false, false)
	if err := os.Remove(w.path); err != nil {
		t.Fatal(err)
	}
	w.start()
	w.has(3)
	for range 3 {
		if r := w.sync(false, false); !errors.Is(r.Err, os.ErrNotExist) {
			t.Errorf("got %v", r.Err)
		}
	}
	w.has(3)
	if failures := len(w.told) - 1; failures != 1 {
		t.Errorf("the same trouble was told %d times", failures)
	}
	if st, err := os.Stat(filepath.Join(w.dir, "fleet.json")); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("the kept reading: %v, %v", st, err)
	}
	put(t, filepath.Join(w.dir, "fleet.json"), "{")
	s, err := NewSyncer(Options{Dir: w.dir, Apply: func(context.Context) error { return nil }})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Configure([]Source{{Name: "fleet", Kind: CSV, Path: w.path}}, Reader{}); err == nil || !strings.Contains(err.Error(), "remove it") {
		t.Errorf("a broken file: %v", err)
	}
}

func TestARefusedApplyChangesNothing(t *testing.T) {
	w := newSyncWorld(t)
	w.hosts(1, 2)
	w.apply = errors.New("host01 is taken by the configuration")
	if r := w.sync(false, false); !errors.Is(r.Err, w.apply) {
		t.Errorf("got %v", r.Err)
	}
	w.has(0)
	w.apply = nil
	w.sync(false, false)
	w.has(2)
}

func TestSourcesAreReadAtTheirInterval(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newSyncWorld(t)
		w.hosts(1, 2)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- w.s.Run(ctx) }()
		synctest.Wait()
		w.has(2)
		w.hosts(1, 3)
		time.Sleep(59 * time.Second)
		synctest.Wait()
		w.has(2)
		time.Sleep(2 * time.Second)
		synctest.Wait()
		w.has(3)
		if err := w.s.Configure(nil, Reader{}); err != nil { // the source left the configuration
			t.Error(err)
		}
		synctest.Wait()
		w.has(0)
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}
