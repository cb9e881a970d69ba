package recording_test

import (
	"bytes"
	"database/sql"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"jit-gateway/internal/audit"
	"jit-gateway/internal/store/sqlite"
	"jit-gateway/recording"
	"jit-gateway/session"
)

// court is a store with its log and recordings, and what an auditor has kept.
type court struct {
	dir     string
	vkey    string
	signer  *audit.Signer
	outside string // a checkpoint of the whole log, kept elsewhere
	half    string // an earlier one
}

func (c court) db() string           { return filepath.Join(c.dir, "gateway.db") }
func (c court) file(s string) string { return filepath.Join(c.dir, "rec", s+".jitrec") }
func (c court) copyTo(dir string) court {
	if err := os.CopyFS(dir, os.DirFS(c.dir)); err != nil {
		panic(err)
	}
	c.dir = dir
	return c
}

// hearing makes two sealed recordings and one that was not sealed, with the
// events of their sessions, in a real store with signed checkpoints.
func hearing(t *testing.T) court {
	t.Helper()
	skey, vkey, err := audit.GenerateKey("gw.example.org/audit")
	if err != nil {
		t.Fatal(err)
	}
	signer, err := audit.NewSigner(skey)
	if err != nil {
		t.Fatal(err)
	}
	c := court{dir: t.TempDir(), vkey: vkey, signer: signer}
	clock := time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)
	now := func() time.Time { return clock }
	db, err := sqlite.Open(t.Context(), c.db(), sqlite.Options{Now: now})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	add := func(e audit.Event) {
		clock = clock.Add(time.Second)
		e.Outcome = audit.Success
		if _, err := db.Append(t.Context(), e); err != nil {
			t.Fatal(err)
		}
	}
	sign := func() string {
		p, err := (&audit.Checkpointer{Log: db, Source: db, Signer: signer, Now: now}).Sign(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return p.Note
	}
	d, err := recording.OpenDir(filepath.Join(c.dir, "rec"), recording.DirOptions{Reserve: -1, Now: now})
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []string{"S1", "S2", "S3"} {
		row, dead := session.Row{ID: s, GrantID: "G" + s[1:]}, false
		told := func(e audit.Event) error {
			if !dead {
				add(e)
			}
			return nil
		}
		add(audit.Event{Type: audit.RequestApproved, Request: "R" + s[1:], Actor: audit.Actor{Name: "bob"}})
		add(audit.Event{Type: audit.SessionStarted, Session: s, Actor: audit.Actor{Name: "alice"}})
		w, err := d.Create(recording.Header{Session: s, User: "alice", Target: "web01"}, recording.Options{
			OnSegment: func(i recording.SegmentInfo) error { return told(session.SegmentEvent(row, i)) },
			OnSealed:  func(i recording.Seal) error { return told(session.SealEvent(row, i)) }})
		if err != nil {
			t.Fatal(err)
		}
		w.Resize(1, 80, 24) //nolint:errcheck // Output would fail too
		for i := range 4 {
			clock = clock.Add(time.Second)
			if err := w.Output(1, 1, bytes.Repeat(fmt.Appendf(nil, "%s says %d\r\n", s, i), 50)); err != nil {
				t.Fatal(err)
			}
			if i < 3 {
				err = recording.CloseSegment(w)
			} else {
				err = w.Flush()
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		if s == "S3" { // its gateway dies
			dead = true
			c2 := c.copyTo(t.TempDir())
			w.Seal("logout") //nolint:errcheck // the copy is what counts
			if err := os.Remove(c.file(s)); err != nil {
				t.Fatal(err)
			}
			for _, name := range []string{"S3.jitrec", "S3.tail"} {
				if err := os.Rename(filepath.Join(c2.dir, "rec", name), filepath.Join(c.dir, "rec", name)); err != nil {
					t.Fatal(err)
				}
			}
			continue
		}
		if _, err := w.Seal("logout"); err != nil {
			t.Fatal(err)
		}
		add(audit.Event{Type: audit.SessionEnded, Session: s})
		if s == "S1" {
			c.half = sign()
		}
	}
	c.outside = sign()
	return c
}

// edit changes a recording's bytes.
func (c court) edit(t *testing.T, s string, f func(b []byte, segs []recording.SegmentInfo) []byte) {
	t.Helper()
	r, err := recording.OpenFile(c.file(s))
	if err != nil {
		t.Fatal(err)
	}
	segs := r.Segments()
	r.Close()
	b, err := os.ReadFile(c.file(s))
	if err == nil {
		err = os.WriteFile(c.file(s), f(b, segs), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// sum makes the checksum of the block at off fit its bytes again: whoever has
// the file has the nonce.
func sum(t *testing.T, b []byte, off int64) {
	t.Helper()
	var h struct{ Nonce string }
	if err := json.Unmarshal(b[20:20+binary.LittleEndian.Uint32(b[12:])], &h); err != nil {
		t.Fatal(err)
	}
	nonce, err := hex.DecodeString(h.Nonce)
	if err != nil {
		t.Fatal(err)
	}
	block := b[off : off+12+int64(binary.LittleEndian.Uint32(b[off+4:]))]
	table := crc32.MakeTable(crc32.Castagnoli)
	crc := crc32.Update(crc32.Update(crc32.Checksum(nonce, table), table, block[:8]), table, block[12:])
	binary.LittleEndian.PutUint32(block[8:], crc)
}

// flip changes one bit of S1 at the place that where names.
func flip(where func(b []byte, segs []recording.SegmentInfo) int64) func(*testing.T, court) {
	return func(t *testing.T, c court) {
		c.edit(t, "S1", func(b []byte, segs []recording.SegmentInfo) []byte {
			b[where(b, segs)] ^= 1
			return b
		})
	}
}

// leaf is a row of the log.
type leaf struct {
	seq  int64
	text string
}

// log lets somebody with the file and without the key change the log: f
// changes the leaves; with hide all hashes and numbers are made to fit.
func (c court) log(t *testing.T, hide bool, f func(all []leaf) []leaf, sqls ...string) {
	t.Helper()
	db, err := sql.Open("sqlite3", c.db())
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	exec := func(q string, args ...any) {
		if _, err := db.Exec(q, args...); err != nil {
			t.Fatalf("%s: %v", q, err)
		}
	}
	exec("DROP TRIGGER IF EXISTS events_only_grow_update")
	exec("DROP TRIGGER IF EXISTS events_only_grow_delete")
	rows, err := db.Query("SELECT seq, leaf, hashes FROM events ORDER BY seq")
	if err != nil {
		t.Fatal(err)
	}
	var all []leaf
	hashes := map[int64][]byte{}
	for rows.Next() {
		var l leaf
		var h []byte
		if err := rows.Scan(&l.seq, &l.text, &h); err != nil {
			t.Fatal(err)
		}
		all, hashes[l.seq] = append(all, l), h
	}
	if err := rows.Close(); err != nil {
		t.Fatal(err)
	}
	if f != nil {
		all = f(all)
		exec("DELETE FROM events")
		var edge audit.Edge
		for i, l := range all {
			h := hashes[l.seq]
			if hide {
				l.text = strings.Replace(l.text, fmt.Sprintf(`{"seq":%d,`, l.seq), fmt.Sprintf(`{"seq":%d,`, i), 1)
				l.seq, h = int64(i), nil
				for _, x := range edge.Append(tlog.RecordHash([]byte(l.text))) {
					h = append(h, x[:]...)
				}
			}
			exec("INSERT INTO events (seq, time, type, user_id, target, request_id, grant_id, session_id, leaf, hashes) VALUES (?1, 0, 'x', '', '', '', '', '', ?2, ?3)", l.seq, l.text, h)
		}
	}
	for _, q := range sqls {
		exec(q)
	}
}

// tree signs the log as it is now with a key.
func (c court) tree(t *testing.T, s *audit.Signer) {
	t.Helper()
	db, err := sqlite.OpenForReading(t.Context(), c.db())
	if err != nil {
		t.Fatal(err)
	}
	var edge audit.Edge
	for e, err := range db.Entries(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		if e.Leaf != nil {
			edge.Append(tlog.RecordHash(e.Leaf.Data))
		}
	}
	db.Close()
	p, err := s.Sign(edge.Tree())
	if err != nil {
		t.Fatal(err)
	}
	c.log(t, false, nil, "DELETE FROM checkpoints", fmt.Sprintf("INSERT INTO checkpoints (size, root, note, time) VALUES (%d, zeroblob(32), '%s', 0)", p.Size, p.Note))
}

var (
	hexRun  = regexp.MustCompile(`[0-9a-f]{16,}|\+[0-9a-f]{8}\b`)
	byteRun = regexp.MustCompile(`\b(byte|instead of) \d+|\b\d+ bytes`)
)

// words leaves out what differs from run to run.
func words(s string) string {
	s = byteRun.ReplaceAllStringFunc(hexRun.ReplaceAllString(s, "…"), func(m string) string {
		if before, _, ok := strings.Cut(m, " bytes"); ok && before != "" {
			return "N bytes"
		}
		return strings.TrimRight(m, "0123456789") + "N"
	})
	return strings.ReplaceAll(s, "|", "\\|")
}

// alone is what `recording verify` says of S1 (or of s).
func (c court) alone(s string) string {
	d, err := recording.OpenDir(filepath.Join(c.dir, "rec"), recording.DirOptions{Reserve: -1})
	if err != nil {
		panic(err)
	}
	r, err := d.Open(s)
	if errors.Is(err, fs.ErrNotExist) {
		return "there is no such recording"
	}
	if err != nil {
		return "cannot be read: " + words(strings.TrimPrefix(err.Error(), "open the recording of session "+s+": "))
	}
	defer r.Close()
	rep := r.Verify()
	if rep.OK {
		return "intact"
	}
	p := rep.Problems[0]
	return words(fmt.Sprintf("NOT INTACT: byte %d, segment %d: %s", p.Offset, p.Segment, p.What))
}

// audit is what `audit verify` says, with checkpoints kept outside or without.
func (c court) audit(t *testing.T, against ...string) (string, bool) {
	t.Helper()
	db, err := sqlite.OpenForReading(t.Context(), c.db())
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	d, err := recording.OpenDir(filepath.Join(c.dir, "rec"), recording.DirOptions{Reserve: -1})
	if err != nil {
		t.Fatal(err)
	}
	check := d.NewLogCheck()
	rep, err := audit.Verify(t.Context(), db, c.vkey, audit.VerifyOptions{Against: against, Check: check.Event, Finish: check.Finish})
	if err != nil {
		t.Fatal(err)
	}
	if rep.Intact() {
		return "intact", true
	}
	return words(rep.Problem.Text), false
}
