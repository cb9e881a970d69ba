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

// While somebody searches, the log of changes keeps what was dropped. The next
// call empties it, also one that has nothing to drop.
func TestG8DroppedLinesAreGoneAfterTheSearch(t *testing.T) {
	path := filepath.Join(t.TempDir(), "gateway.db")
	db := openAt(t, path)
	row := session.Row{ID: "S1", UserID: "U1", Target: "web01", StartedAt: time.Now(), State: session.Open}
	if err := db.BeginSession(t.Context(), row, audit.Event{Type: audit.SessionStarted}); err != nil {
		t.Fatal(err)
	}
	if err := db.IndexLines(t.Context(), "S1", []store.Line{{Kind: "output", Text: "hunter2correcthorse"}, {Kind: "output", Text: "other text"}}); err != nil {
		t.Fatal(err)
	}
	if _, err := db.lines.write.ExecContext(t.Context(), "PRAGMA busy_timeout = 0"); err != nil {
		t.Fatal(err)
	}
	search, err := db.lines.read.QueryContext(t.Context(), "SELECT text FROM lines")
	if err != nil || !search.Next() {
		t.Fatal(err)
	}
	kept := func() (where []string) {
		for _, suffix := range []string{"", "-wal"} {
			b, err := os.ReadFile(filepath.Join(filepath.Dir(path), "gateway-search.db"+suffix))
			if err != nil {
				t.Fatal(err)
			}
			if bytes.Contains(b, []byte("hunter2correcthorse")) {
				where = append(where, "gateway-search.db"+suffix)
			}
		}
		return where
	}
	if err := db.DropIndex(t.Context(), "S1"); err != nil {
		t.Fatal(err)
	}
	if len(kept()) == 0 {
		t.Fatal("the search was not in the way")
	}
	if err := search.Close(); err != nil {
		t.Fatal(err)
	}
	if err := db.DropIndex(t.Context(), "S9"); err != nil {
		t.Fatal(err)
	}
	if where := kept(); len(where) > 0 {
		t.Errorf("%v still have it", where)
	}
}
