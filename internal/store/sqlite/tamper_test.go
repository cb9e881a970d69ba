package sqlite

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"jit-gateway/internal/audit"
	"jit-gateway/internal/store"
)

// TestG7TamperedStore: somebody with the file and without the key changes,
// removes or cuts; a gateway that starts on it notices, and so does verify.
func TestG7TamperedStore(t *testing.T) {
	skey, vkey, err := audit.GenerateKey("gw.example.org/audit")
	if err != nil {
		t.Fatal(err)
	}
	signer, err := audit.NewSigner(skey)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		sql  []string
		kind audit.ProblemKind
		seq  int64
		text string
	}{
		"nothing":   {},
		"changed":   {[]string{`UPDATE events SET leaf = replace(leaf, 'success', 'failure') WHERE seq = 7`}, audit.Changed, 7, "event 7 (session.started"},
		"hash too":  {[]string{`UPDATE events SET leaf = replace(leaf, 'success', 'failure'), hashes = zeroblob(32) WHERE seq = 8`}, audit.Changed, 8, "event 8 "},
		"cut hash":  {[]string{`UPDATE events SET hashes = x'00' WHERE seq = 8`}, audit.Changed, 8, "event 8 "},
		"removed":   {[]string{`DELETE FROM events WHERE seq = 7`}, audit.Removed, 7, "event 7 is missing"},
		"truncated": {[]string{`DELETE FROM events WHERE seq >= 18`}, audit.Truncated, 18, "the log ends after 18 events, but a checkpoint of 20 was signed"},
		"emptied":   {[]string{`DELETE FROM events`}, audit.Truncated, 0, "ends after 0 events"},
		"unsigned":  {[]string{`DELETE FROM checkpoints`}, audit.Unsigned, 0, "none of the 21 events"},
		"forged":    {[]string{`UPDATE checkpoints SET note = replace(note, char(10)||'20'||char(10), char(10)||'18'||char(10)) WHERE size = 20`}, audit.Forged, 20, "checkpoint of 20 events is not good"},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "gateway.db")
			db := openAt(t, path)
			cp := audit.Checkpointer{Log: db, Source: db, Signer: signer, Now: time.Now}
			var outside string
			for i := range 21 {
				if _, err := db.Append(t.Context(), audit.Event{Type: audit.SessionStarted, Session: fmt.Sprint("S", i)}); err != nil {
					t.Fatal(err)
				}
				if i%10 == 9 {
					c, err := cp.Sign(t.Context())
					if err != nil {
						t.Fatal(err)
					}
					outside = c.Note
				}
			}
			if err := db.Close(); err != nil {
				t.Fatal(err)
			}
			tamper(t, path, c.sql...)

			db = openAt(t, path)
			r, err := audit.Verify(t.Context(), db, vkey, audit.VerifyOptions{})
			if err != nil {
				t.Fatal(err)
			}
			if c.sql == nil {
				if !r.Intact() || r.Events != 21 || r.Signed != 20 {
					t.Errorf("report: %s", r)
				}
				return
			}
			if p := r.Problem; p == nil || p.Kind != c.kind || p.Seq != c.seq || !strings.Contains(p.Text, c.text) {
				t.Errorf("found %+v, want %s at %d: …%s…", p, c.kind, c.seq, c.text)
			}
			t.Log(r)
			if r, err := audit.Verify(t.Context(), db, vkey, audit.VerifyOptions{Against: []string{outside}}); err != nil || r.Intact() {
				t.Errorf("against a checkpoint kept outside: %s, %v", r, err)
			}
		})
	}
}

// tamper changes a closed store as somebody with the file can, triggers or not.
func tamper(t *testing.T, path string, statements ...string) {
	t.Helper()
	db, err := connect(context.Background(), path, "FULL", 1, false)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	for _, s := range append([]string{"DROP TRIGGER events_only_grow_update", "DROP TRIGGER events_only_grow_delete"}, statements...) {
		if _, err := db.Exec(s); err != nil {
			t.Fatalf("%s: %v", s, err)
		}
	}
}

// TestG7LogOnlyGrows: a mistake of this program cannot change the log.
func TestG7LogOnlyGrows(t *testing.T) {
	db := openAt(t, filepath.Join(t.TempDir(), "gateway.db"))
	if _, err := db.Append(t.Context(), audit.Event{Type: audit.Heartbeat}); err != nil {
		t.Fatal(err)
	}
	for _, q := range []string{"DELETE FROM events", "UPDATE events SET leaf = ''"} {
		_, err := db.conn.ExecContext(t.Context(), q)
		if err == nil || !strings.Contains(err.Error(), "only grows") {
			t.Errorf("%s: %v", q, err)
		}
	}
}

// TestG7DamagedStoreIsReadable: a log so damaged that no gateway starts on it
// can still be verified, and is refused with a pointer to that.
func TestG7DamagedStoreIsReadable(t *testing.T) {
	path := filepath.Join(t.TempDir(), "gateway.db")
	db := openAt(t, path)
	for range 8 {
		if _, err := db.Append(t.Context(), audit.Event{Type: audit.Heartbeat}); err != nil {
			t.Fatal(err)
		}
	}
	// Beside a running gateway first.
	beside, err := OpenForReading(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	want, err := db.Tree(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if got, err := beside.Tree(t.Context()); err != nil || got != want {
		t.Errorf("read beside the gateway: %v, %v; want %v", got, err, want)
	}
	if _, err := beside.Append(t.Context(), audit.Event{Type: audit.Heartbeat}); err == nil {
		t.Error("a reader appended")
	}
	if _, err := beside.SearchLines(t.Context(), "x", store.LineFilter{}); err == nil {
		t.Error("a reader searched")
	}
	for _, d := range []*DB{beside, db} {
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
	}
	tamper(t, path, "UPDATE events SET hashes = x'' WHERE seq = 7")
	if _, err := Open(t.Context(), path, Options{}); err == nil || !strings.Contains(err.Error(), "audit verify") {
		t.Errorf("Open on a damaged log: %v", err)
	}
	db, err = OpenForReading(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	_, vkey, err := audit.GenerateKey("gw")
	if err != nil {
		t.Fatal(err)
	}
	if r, err := audit.Verify(t.Context(), db, vkey, audit.VerifyOptions{}); err != nil || r.Intact() || r.Problem.Seq != 7 {
		t.Errorf("%s, %v", r, err)
	}
	if _, err := OpenForReading(t.Context(), path+".none"); err == nil {
		t.Error("a store that is not there was opened")
	}
}
