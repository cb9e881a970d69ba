package recording

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"filippo.io/age"
	"golang.org/x/crypto/ssh"
)

// terminalSession records numbered lines on a terminal, a second apart, and
// returns the file's path.
func terminalSession(t testing.TB, lines int, o Options, each int) string {
	t.Helper()
	d, path := testDir(t, DirOptions{})
	now := time.Date(2026, 11, 22, 6, 0, 0, 0, time.UTC)
	o.Now = func() time.Time { return now }
	w, err := d.Create(Header{Session: "S1", User: "alice", Login: "deploy", Target: "web01", Source: "192.0.2.7"}, o)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Resize(1, 80, 24); err != nil {
		t.Fatal(err)
	}
	filler := strings.Repeat("=", each)
	for i := range lines {
		w.mu.Lock() // the worker reads the clock too
		now = now.Add(time.Second)
		w.mu.Unlock()
		if err := w.Output(1, 1, fmt.Appendf(nil, "line %d %s\r\n", i, filler)); err != nil {
			t.Fatal(err)
		}
		if i%50 == 49 { // so that segments are of a minute, as they would be
			w.mu.Lock()
			w.close = true
			w.kick()
			w.mu.Unlock()
			if err := w.Flush(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if _, err := w.Seal("logout"); err != nil {
		t.Fatal(err)
	}
	return filepath.Join(path, "S1"+suffix)
}

// TestSeek: the screen at any moment is the one that playing up to it gives.
func TestSeek(t *testing.T) {
	r, err := OpenFile(terminalSession(t, 400, Options{}, 10))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if n := len(r.Segments()); n < 5 {
		t.Fatalf("%d segments only", n)
	}
	for _, at := range []time.Duration{-1, 0, time.Second, 49 * time.Second, 50 * time.Second, 51 * time.Second, 200500 * time.Millisecond, 400 * time.Second, time.Hour} {
		var played screens
		n := 0
		for _, ev := range collect(t, r) {
			if ev.T <= at {
				played.see(&ev)
			} else {
				n++
			}
		}
		got, rest, err := r.Seek(at)
		if err != nil {
			t.Fatal(err)
		}
		if a, b := screenOf(got), screenOf(played.events(at)); a != b {
			t.Errorf("at %v the screen is\n%s\nwant\n%s", at, a, b)
		}
		for ev, err := range rest {
			if err != nil || ev.T <= at {
				t.Fatalf("after %v: %+v, %v", at, ev, err)
			}
			n--
		}
		if n != 0 {
			t.Errorf("after %v: %d events are missing", at, n)
		}
	}
}

// TestG9TamperingIsFound: whatever single byte is changed, Verify finds it,
// names a place, and everything that is intact still comes out.
func TestG9TamperingIsFound(t *testing.T) {
	path := terminalSession(t, 120, Options{}, 10)
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	intact, err := NewReader(bytes.NewReader(whole), int64(len(whole)))
	if err != nil {
		t.Fatal(err)
	}
	all := len(collect(t, intact))
	report := intact.Verify()
	if !report.OK {
		t.Fatalf("%s", report)
	}
	read := func(b []byte) (Report, int, int, error) {
		r, err := NewReader(bytes.NewReader(b), int64(len(b)))
		if err != nil {
			return Report{}, 0, 0, err
		}
		events, damage := 0, 0
		for _, err := range r.Events() {
			if err != nil {
				damage++
			} else {
				events++
			}
		}
		return r.Verify(), events, damage, nil
	}
	for off := 0; off < len(whole); off += 7 {
		b := bytes.Clone(whole)
		b[off] ^= 0x20
		rep, events, _, err := read(b)
		if err != nil {
			continue // the header: refused whole
		}
		if rep.OK || len(rep.Problems) == 0 || !strings.Contains(rep.String(), "NOT INTACT") {
			t.Fatalf("byte %d was changed, and Verify says\n%s", off, rep)
		}
		if events < all/3 {
			t.Errorf("byte %d was changed, and only %d of %d events came out", off, events, all)
		}
	}
	for _, c := range []struct {
		name string
		b    []byte
		says string
	}{
		{"cut off", whole[:len(whole)*2/3], "no footer"},
		{"one byte short", whole[:len(whole)-1], "no footer"},
		{"something appended", append(bytes.Clone(whole), "more"...), "4 bytes are lost"},
		{"a segment removed", append(bytes.Clone(whole[:intact.segments[1].offset]), whole[intact.segments[2].offset:]...), "missing"},
		{"segments exchanged", slicesOf(whole, intact.segments), "segment"},
	} {
		rep, _, _, err := read(c.b)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		if rep.OK || !strings.Contains(rep.String(), c.says) {
			t.Errorf("%s: want a report with %q, got\n%s", c.name, c.says, rep)
		}
	}
	// A recording that was made anew is intact in itself; the audit log's
	// hashes tell it from the one that was sealed.
	if bad := report.Compare(report.Segments, report.Seal.Hash); len(bad) != 0 {
		t.Errorf("compared with itself: %v", bad)
	}
	other, err := OpenFile(terminalSession(t, 120, Options{}, 10))
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	rep := other.Verify()
	if bad := rep.Compare(report.Segments, report.Seal.Hash); !rep.OK || len(bad) != len(report.Segments)+1 {
		t.Errorf("another recording of the same session: %d differences, want %d", len(bad), len(report.Segments)+1)
	}
}

func slicesOf(b []byte, s []segment) []byte {
	out := bytes.Clone(b[:s[0].offset])
	out = append(out, b[s[1].offset:s[2].offset]...)
	out = append(out, b[s[0].offset:s[1].offset]...)
	return append(out, b[s[2].offset:]...)
}

// TestG8GatewayCannotRead: the recording is encrypted to recipients; nothing
// of what passed is in the files, sealed or not; recipients are added later.
func TestG8GatewayCannotRead(t *testing.T) {
	id, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	pub, priv, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	sshPub, err := ssh.NewPublicKey(pub)
	if err != nil {
		t.Fatal(err)
	}
	block, err := ssh.MarshalPrivateKey(priv, "")
	if err != nil {
		t.Fatal(err)
	}
	sshKey := string(ssh.MarshalAuthorizedKey(sshPub))
	d, path := testDir(t, DirOptions{})
	w, err := d.Create(Header{Session: "S1"}, Options{Strict: true, Recipients: []string{id.Recipient().String(), sshKey}})
	if err != nil {
		t.Fatal(err)
	}
	secret := "hunter2-hunter2-hunter2"
	record(t, w, []Event{
		{Channel: 1, Payload: Resize{80, 24}},
		{Channel: 1, Kind: KindOutput, Stream: 1, Data: []byte(secret)},
		{Channel: 2, Payload: SQL{Statement: "select '" + secret + "'"}},
	})
	v, err := w.Watch("bob")
	if err != nil {
		t.Fatal(err)
	}
	if screenOf(v.Snapshot) != secret {
		t.Error("live watching does not work under encryption")
	}
	v.Close()
	look := func(when string) {
		files, _ := filepath.Glob(path + "/*")
		for _, f := range files {
			b, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			if bytes.Contains(b, []byte("hunter2")) {
				t.Errorf("%s, %s has the text in clear", when, filepath.Base(f))
			}
		}
		if len(files) == 0 {
			t.Error("there are no files")
		}
	}
	look("while live")
	if _, err := w.Seal("logout"); err != nil {
		t.Fatal(err)
	}
	look("when sealed")

	file := filepath.Join(path, "S1"+suffix)
	open := func(ids ...age.Identity) (*Reader, error) {
		r, err := OpenFile(file)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { r.Close() })
		return r, r.Unlock(ids...)
	}
	later, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := open(later); err == nil {
		t.Fatal("a stranger can read it")
	}
	sshIDs, err := ParseIdentities(pem.EncodeToMemory(block), nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, ids := range [][]age.Identity{{id}, sshIDs} {
		r, err := open(ids...)
		if err != nil {
			t.Fatal(err)
		}
		if evs := collect(t, r); len(evs) != 5 || string(evs[1].Data) != secret {
			t.Errorf("%d events, %.60v", len(evs), evs)
		}
	}
	before, _ := open(id)
	was := before.Verify()
	if err := AddRecipients(file, []age.Identity{later}, []string{later.Recipient().String()}); err == nil {
		t.Fatal("a stranger can add recipients")
	}
	if err := AddRecipients(file, []age.Identity{id}, []string{later.Recipient().String()}); err != nil {
		t.Fatal(err)
	}
	r, err := open(later)
	if err != nil {
		t.Fatal(err)
	}
	if now := r.Verify(); !now.OK || now.Seal.Hash != was.Seal.Hash || now.Root != was.Root {
		t.Errorf("adding a recipient changed what is hashed:\n%s%s", was, now)
	}
	if evs := collect(t, r); len(evs) != 5 {
		t.Errorf("%d events for the added recipient", len(evs))
	}
	look("with a recipient added")
}

// TestG9RecoverEncrypted is in TestG9CrashAtEveryStep; this one is about a
// recovered recording's own words.
func TestRecoveredSaysSo(t *testing.T) {
	m := newMemFS()
	d, err := OpenDir("", DirOptions{fs: m, Reserve: -1})
	if err != nil {
		t.Fatal(err)
	}
	w, err := d.Create(Header{Session: "S1"}, Options{Strict: true})
	if err != nil {
		t.Fatal(err)
	}
	record(t, w, everything())
	var leaves []SegmentInfo
	after, err := OpenDir("", DirOptions{fs: m, Reserve: -1, OnSegment: func(h Header, s SegmentInfo) error {
		leaves = append(leaves, s)
		return nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := after.Recover(context.Background(), "../etc/passwd"); err == nil {
		t.Error("a path was taken for a session")
	}
	s, err := after.Recover(context.Background(), "S1")
	if err != nil {
		t.Fatal(err)
	}
	if !s.Recovered || s.Outcome != "crashed" || s.Events != int64(len(everything())) || len(leaves) != 1 {
		t.Errorf("seal %+v, %d leaves", s, len(leaves))
	}
	again, err := after.Recover(context.Background(), "S1")
	if err != nil || again.Hash != s.Hash {
		t.Errorf("recovered once more: %+v, %v", again, err)
	}
	if _, err := after.Recover(context.Background(), "S2"); !errors.Is(err, ErrNotBegun) {
		t.Errorf("recovery of what never began: %v", err)
	}
	r, err := after.Open("S1")
	if err != nil {
		t.Fatal(err)
	}
	rep := r.Verify()
	if !rep.OK || !strings.Contains(rep.String(), `sealed`) || !strings.Contains(rep.String(), "after a crash") {
		t.Errorf("%s", rep)
	}
}
