package recording

import (
	"bufio"
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"
)

// castOutput is one event of an asciicast v2 file.
type castOutput struct {
	t time.Duration
	p []byte
}

func readCast(t testing.TB, name string) (cols, rows uint32, evs []castOutput) {
	t.Helper()
	f, err := os.Open(filepath.Join("testdata", "casts", name))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	s := bufio.NewScanner(f)
	s.Buffer(nil, 1<<20)
	var head struct{ Width, Height uint32 }
	if !s.Scan() || json.Unmarshal(s.Bytes(), &head) != nil {
		t.Fatalf("%s has no header", name)
	}
	for s.Scan() {
		var ev [3]any
		if err := json.Unmarshal(s.Bytes(), &ev); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		at, _ := ev[0].(float64)
		data, _ := ev[2].(string)
		evs = append(evs, castOutput{time.Duration(at * float64(time.Second)), []byte(data)})
	}
	if err := s.Err(); err != nil || len(evs) == 0 {
		t.Fatalf("%s: %d events, %v", name, len(evs), err)
	}
	return head.Width, head.Height, evs
}

// TestCastsAreSmall plays three sessions in their own time, with commits when
// they are due, and compares the whole file with the bytes that were printed.
func TestCastsAreSmall(t *testing.T) {
	for _, e := range []any{calmEncoder(), bulkEncoder(), decoders()} { // made outside the bubbles
		_ = e
	}
	compress(nil, bytes.Repeat([]byte("warm"), chunkSize), time.Second)
	compress(nil, bytes.Repeat([]byte("warm"), 100), time.Second)
	for _, name := range []string{"shell.cast", "fullscreen.cast", "build.cast"} {
		for _, strict := range []bool{false, true} {
			cols, rows, evs := readCast(t, name)
			synctest.Test(t, func(t *testing.T) {
				d, _ := testDir(t, DirOptions{})
				w, err := d.Create(Header{Session: "S1", User: "alice", Login: "deploy", Target: "web01"}, Options{Strict: strict})
				if err != nil {
					t.Fatal(err)
				}
				if err := w.Resize(1, cols, rows); err != nil {
					t.Fatal(err)
				}
				begin, raw := time.Now(), 0
				for _, ev := range evs {
					time.Sleep(ev.t - time.Since(begin))
					if err := w.Output(1, 1, ev.p); err != nil {
						t.Fatal(err)
					}
					raw += len(ev.p)
				}
				s, err := w.Seal("logout")
				if err != nil {
					t.Fatal(err)
				}
				t.Logf("%s strict=%v: %d events over %v, %d bytes of output in %d bytes, %d segments: %.1f to 1",
					name, strict, s.Events, s.Duration.Round(time.Second), raw, s.Size, s.Segments, float64(raw)/float64(s.Size))
				if s.Size*10 > int64(raw) {
					t.Errorf("%s: %d bytes of output take %d bytes; at most a tenth is allowed", name, raw, s.Size)
				}
				r, err := d.Open("S1")
				if err != nil {
					t.Fatal(err)
				}
				defer r.Close()
				var got, want bytes.Buffer
				for _, ev := range collect(t, r) {
					got.Write(ev.Data)
				}
				for _, ev := range evs {
					want.Write(ev.p)
				}
				if !bytes.Equal(got.Bytes(), want.Bytes()) {
					t.Error("the bytes that came back are not those that were printed")
				}
			})
		}
	}
}
