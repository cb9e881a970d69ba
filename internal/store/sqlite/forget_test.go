package sqlite

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
	"time"

	"jit-gateway/internal/audit"
	"jit-gateway/internal/store"
	"jit-gateway/session"
)

// The words of a recording that was deleted are not in the index's files any
// more, not even in their free pages.
func TestG8DroppedLinesAreGone(t *testing.T) {
	dir := t.TempDir()
	db := openAt(t, filepath.Join(dir, "gateway.db"))
	for _, id := range []string{"S1", "S2"} {
		row := session.Row{ID: id, UserID: "U1", Target: "web01", StartedAt: time.Now(), State: session.Open}
		if err := db.BeginSession(t.Context(), row, audit.Event{Type: audit.SessionStarted}); err != nil {
			t.Fatal(err)
		}
		var lines []store.Line
		for range 200 {
			lines = append(lines, store.Line{Kind: "output", Text: "the hunter2correcthorse of " + id}, store.Line{Kind: "output", Text: "other text"})
		}
		if err := db.IndexLines(t.Context(), id, lines); err != nil {
			t.Fatal(err)
		}
	}
	search := func() int {
		hits, err := db.SearchLines(t.Context(), "hunter2correcthorse", store.LineFilter{Limit: 1000})
		if err != nil {
			t.Fatal(err)
		}
		return len(hits)
	}
	if n := search(); n != 400 {
		t.Fatalf("%d hits", n)
	}
	if err := db.DropIndex(t.Context(), "S1"); err != nil {
		t.Fatal(err)
	}
	if n := search(); n != 200 {
		t.Errorf("%d hits after one was dropped", n)
	}
	if err := db.DropIndex(t.Context(), "S2"); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(dir, "*search*"))
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		for _, word := range []string{"hunter2correcthorse", "hunter2", "correcthorse"} {
			if bytes.Contains(b, []byte(word)) {
				t.Errorf("%s still has %q", filepath.Base(f), word)
			}
		}
	}
}
