package recording_test

import (
	"bytes"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
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

// TestG7TamperingTable plays what somebody could do to a recording, and to the
// log, who has every file, and sometimes the key; docs/tampering.md has what
// each verification said, and is written by this test with -update.
func TestG7TamperingTable(t *testing.T) {
	base := hearing(t)
	otherKey, _, err := audit.GenerateKey("gw.example.org/audit")
	if err != nil {
		t.Fatal(err)
	}
	other, err := audit.NewSigner(otherKey)
	if err != nil {
		t.Fatal(err)
	}
	seg := func(b []byte, s recording.SegmentInfo) []byte { return b[s.Offset : s.Offset+s.Length] }
	reseal := func(t *testing.T, c court, s string) {
		d, err := recording.OpenDir(filepath.Join(c.dir, "rec"), recording.DirOptions{Reserve: -1})
		if err == nil {
			_, err = d.Recover(t.Context(), s)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	last := func(all []leaf) int { return len(all) - 1 }
	approved := func(all []leaf) int {
		return slices.IndexFunc(all, func(l leaf) bool {
			return strings.Contains(l.text, "request.approved") && strings.Contains(l.text, `"R2"`)
		})
	}
	mallory := func(all []leaf) []leaf {
		i := approved(all)
		all[i].text = strings.Replace(all[i].text, "bob", "eve", 1)
		return all
	}
	// found: by which of the three it is found: the file alone, the log, an
	// outside checkpoint.
	cases := []struct {
		what  string
		do    func(t *testing.T, c court)
		of    string // the recording that is looked at; none: the log alone
		found string
	}{
		{"nothing", func(*testing.T, court) {}, "S1", "---"},
		{"a bit of the header's text", flip(func(b []byte, _ []recording.SegmentInfo) int64 { return int64(bytes.Index(b, []byte("alice"))) }), "S1", "xxx"},
		{"a bit of the recorded events", flip(func(_ []byte, s []recording.SegmentInfo) int64 { return s[1].Offset + 70 }), "S1", "xxx"},
		{"a bit of a trailer", flip(func(_ []byte, s []recording.SegmentInfo) int64 { return s[1].Offset + s[1].Length - 50 }), "S1", "xxx"},
		{"a bit of the footer", flip(func(_ []byte, s []recording.SegmentInfo) int64 { return s[3].Offset + s[3].Length + 40 }), "S1", "xxx"},
		{"a bit of the end", flip(func(b []byte, _ []recording.SegmentInfo) int64 { return int64(len(b)) - 30 }), "S1", "xxx"},
		{"a segment removed", func(t *testing.T, c court) {
			c.edit(t, "S1", func(b []byte, s []recording.SegmentInfo) []byte {
				return append(bytes.Clone(b[:s[1].Offset]), b[s[2].Offset:]...)
			})
		}, "S1", "xxx"},
		{"two segments exchanged", func(t *testing.T, c court) {
			c.edit(t, "S1", func(b []byte, s []recording.SegmentInfo) []byte {
				return slices.Concat(b[:s[1].Offset], seg(b, s[2]), seg(b, s[1]), b[s[3].Offset:])
			})
		}, "S1", "xxx"},
		{"a segment there twice", func(t *testing.T, c court) {
			c.edit(t, "S1", func(b []byte, s []recording.SegmentInfo) []byte {
				return slices.Concat(b[:s[2].Offset], seg(b, s[1]), b[s[2].Offset:])
			})
		}, "S1", "xxx"},
		{"the last segment, footer and end cut off", func(t *testing.T, c court) {
			c.edit(t, "S1", func(b []byte, s []recording.SegmentInfo) []byte { return b[:s[3].Offset] })
		}, "S1", "xxx"},
		{"the same, and sealed anew with a footer of its own", func(t *testing.T, c court) {
			c.edit(t, "S1", func(b []byte, s []recording.SegmentInfo) []byte { return b[:s[3].Offset] })
			reseal(t, c, "S1")
		}, "S1", "-xx"},
		{"the recording of another session in its place", func(t *testing.T, c court) {
			b, err := os.ReadFile(c.file("S2"))
			if err == nil {
				err = os.WriteFile(c.file("S1"), b, 0o600)
			}
			if err != nil {
				t.Fatal(err)
			}
		}, "S1", "xxx"},
		{"a recording made anew, of the same session", func(t *testing.T, c court) {
			d, err := recording.OpenDir(t.TempDir(), recording.DirOptions{Reserve: -1})
			if err != nil {
				t.Fatal(err)
			}
			w, err := d.Create(recording.Header{Session: "S1", User: "alice", Target: "web01"}, recording.Options{})
			if err == nil {
				err = w.Output(1, 1, []byte("nothing happened\r\n"))
			}
			if err == nil {
				_, err = w.Seal("logout")
			}
			var out bytes.Buffer
			if err == nil {
				_, err = d.Copy("S1", &out)
			}
			if err == nil {
				err = os.WriteFile(c.file("S1"), out.Bytes(), 0o600)
			}
			if err != nil {
				t.Fatal(err)
			}
		}, "S1", "-xx"},
		{"the recording removed", func(t *testing.T, c court) {
			if err := os.Remove(c.file("S1")); err != nil {
				t.Fatal(err)
			}
		}, "S1", "xxx"},
		{"a recording that was not sealed yet: its last logged segment cut off", func(t *testing.T, c court) {
			c.edit(t, "S3", func(b []byte, s []recording.SegmentInfo) []byte { return b[:s[2].Offset] })
		}, "S3", "xxx"},
		{"the same: what came after its last logged segment cut off, and sealed anew", func(t *testing.T, c court) {
			c.edit(t, "S3", func(b []byte, s []recording.SegmentInfo) []byte { return b[:s[2].Offset+s[2].Length] })
			if err := os.Remove(filepath.Join(c.dir, "rec", "S3.tail")); err != nil {
				t.Fatal(err)
			}
			reseal(t, c, "S3")
		}, "S3", "---"},

		{"an event edited", func(t *testing.T, c court) { c.log(t, false, mallory) }, "", " xx"},
		{"an event edited, and all hashes made to fit", func(t *testing.T, c court) { c.log(t, true, mallory) }, "", " xx"},
		{"an event removed", func(t *testing.T, c court) {
			c.log(t, false, func(all []leaf) []leaf { i := approved(all); return slices.Delete(all, i, i+1) })
		}, "", " xx"},
		{"an event removed, the rest numbered and hashed anew", func(t *testing.T, c court) {
			c.log(t, true, func(all []leaf) []leaf { i := approved(all); return slices.Delete(all, i, i+1) })
		}, "", " xx"},
		{"an event put in, the rest numbered and hashed anew", func(t *testing.T, c court) {
			c.log(t, true, func(all []leaf) []leaf { i := approved(all); return slices.Insert(all, i, all[i]) })
		}, "", " xx"},
		{"two events exchanged", func(t *testing.T, c court) {
			c.log(t, false, func(all []leaf) []leaf {
				i := approved(all)
				all[i].text, all[i+1].text = all[i+1].text, all[i].text
				return all
			})
		}, "", " xx"},
		{"two events exchanged, numbered and hashed anew", func(t *testing.T, c court) {
			c.log(t, true, func(all []leaf) []leaf {
				i := approved(all)
				all[i], all[i+1] = all[i+1], all[i]
				return all
			})
		}, "", " xx"},
		{"all events of a session removed, the rest numbered and hashed anew; its recording too", func(t *testing.T, c court) {
			c.log(t, true, func(all []leaf) []leaf {
				return slices.DeleteFunc(all, func(l leaf) bool { return strings.Contains(l.text, `"session":"S2"`) })
			})
			if err := os.Remove(c.file("S2")); err != nil {
				t.Fatal(err)
			}
		}, "", " xx"},
		{"the end of the log cut off", func(t *testing.T, c court) {
			c.log(t, false, func(all []leaf) []leaf { return all[:last(all)-1] })
		}, "", " xx"},
		{"the end cut off, and the checkpoints over it", func(t *testing.T, c court) {
			c.log(t, false, func(all []leaf) []leaf { return all[:approved(all)] }, "DELETE FROM checkpoints WHERE size = (SELECT max(size) FROM checkpoints)")
		}, "", " -x"},
		{"all checkpoints removed", func(t *testing.T, c court) { c.log(t, false, nil, "DELETE FROM checkpoints") }, "", " xx"},
		{"a checkpoint's number changed", func(t *testing.T, c court) {
			c.log(t, false, nil, "UPDATE checkpoints SET note = replace(note, char(10)||size||char(10), char(10)||(size-1)||char(10))")
		}, "", " xx"},
		{"an event edited, all hashes made to fit, and signed by another key", func(t *testing.T, c court) {
			c.log(t, true, mallory)
			c.tree(t, other)
		}, "", " xx"},
		{"an event edited, all hashes made to fit, and signed by the gateway's own key, stolen", func(t *testing.T, c court) {
			c.log(t, true, mallory)
			c.tree(t, c.signer)
		}, "", " -x"},
	}
	var b strings.Builder
	b.WriteString("| what was changed | `recording verify` | `audit verify` | `audit verify --against` a checkpoint kept outside |\n|---|---|---|---|\n")
	for _, c := range cases {
		world := base.copyTo(t.TempDir())
		c.do(t, world)
		file := "–"
		if c.of != "" {
			file = world.alone(c.of)
		}
		log, ok := world.audit(t)
		out, outOK := world.audit(t, base.half, base.outside)
		found := []bool{file != "intact" && file != "–", !ok, !outOK}
		for i, want := range c.found {
			if want != ' ' && found[i] != (want == 'x') {
				t.Errorf("%s: found by (file, log, outside) %v, want %q: %s / %s / %s", c.what, found, c.found, file, log, out)
				break
			}
		}
		if out == log {
			out = "the same"
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", c.what, file, log, out)
	}
	recording.CheckTable(t, "../docs/tampering.md", "tampering", b.String())
}
