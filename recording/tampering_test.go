package recording_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"jit-gateway/internal/audit"
	"jit-gateway/recording"
)

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
		{"a recording that was not sealed yet: its recorded events changed, and the checksum made to fit", func(t *testing.T, c court) {
			c.edit(t, "S3", func(b []byte, s []recording.SegmentInfo) []byte {
				b[s[1].Offset+70] ^= 1
				sum(t, b, s[1].Offset)
				return b
			})
		}, "S3", "xxx"},

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
		{"an event edited, all hashes made to fit, and the checkpoints over it filed under other numbers", func(t *testing.T, c court) {
			c.log(t, true, mallory, "UPDATE checkpoints SET size = size - 1")
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
