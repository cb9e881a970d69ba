package recording

import (
	"bytes"
	"context"
	"os"
	"testing"
)

// FuzzContainer: no file breaks the reader; what is not the file that was
// sealed is never called intact.
func FuzzContainer(f *testing.F) {
	whole, err := os.ReadFile(terminalSession(f, 60, Options{}, 3))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(whole, false)
	f.Add(whole, true)
	f.Add(whole[:len(whole)/2], true)
	f.Add([]byte(magic), false)
	f.Fuzz(func(t *testing.T, b []byte, mend bool) {
		if mend {
			b = mended(b)
		}
		r, err := NewReader(bytes.NewReader(b), int64(len(b)))
		if err != nil {
			return
		}
		n := 0
		for range r.Events() {
			if n++; n > 1<<16 {
				break
			}
		}
		r.Seek(r.Duration() / 2) //nolint:errcheck // it must not panic
		rep := r.Verify()
		if rep.OK != (len(rep.Problems) == 0) || rep.String() == "" {
			t.Fatalf("the report contradicts itself:\n%s", rep)
		}
		var out bytes.Buffer
		ExportText(r, &out, ExportOptions{}) //nolint:errcheck // likewise
	})
}

// mended puts right checksums into b, so that what is behind them is reached.
func mended(b []byte) []byte {
	b = bytes.Clone(b)
	var seed uint32
	for off := len(magic); off+headSize <= len(b); {
		h, ok := parseHead(b[off:])
		if !ok || int(h.length) > len(b)-off-headSize {
			break
		}
		block := b[off : off+headSize+int(h.length)]
		putHead(block, h.typ, h.flags, seed)
		if c, err := openContainer(bytes.NewReader(b), int64(len(b))); off == len(magic) && err == nil {
			seed = c.seed
		}
		off += len(block)
	}
	return b
}

// FuzzTail: whatever a crash leaves in the tail, recovery seals a recording
// that verifies and holds nothing that was not written by the recorder.
func FuzzTail(f *testing.F) {
	f.Add([]byte("JRC\x00"), uint16(0), true)
	f.Add([]byte{}, uint16(100), false)
	f.Fuzz(func(t *testing.T, garbage []byte, at uint16, cut bool) {
		m := newMemFS()
		d, err := OpenDir("", DirOptions{fs: m, Reserve: -1})
		if err != nil {
			t.Fatal(err)
		}
		w, err := d.Create(Header{Session: "S1"}, Options{Strict: true})
		if err != nil {
			t.Fatal(err)
		}
		for range 3 {
			if err := w.Output(1, 1, []byte("said")); err != nil {
				t.Fatal(err)
			}
		}
		m.mu.Lock()
		tail := m.files["S1"+tailSuffix]
		off := min(int(at), len(tail.now))
		tail.now = apply(tail.now, memOp{int64(off), append([]byte{}, garbage...)})
		if cut {
			tail.now = tail.now[:min(off+len(garbage), len(tail.now))]
		}
		m.mu.Unlock()
		after, err := OpenDir("", DirOptions{fs: m, Reserve: -1})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := after.Recover(context.Background(), "S1"); err != nil {
			t.Fatal(err)
		}
		for _, s := range dataOf(t, after, nil) {
			if s != "said" {
				t.Fatalf("recovery invented %q", s)
			}
		}
	})
}

// FuzzEvents: the decoder takes any chunk, and what it takes can be written
// and read again.
func FuzzEvents(f *testing.F) {
	var b []byte
	for _, ev := range everything() {
		if ev.Kind == "" {
			ev.Kind = ev.Payload.Kind()
		}
		var err error
		if b, err = appendEvent(b, 7, &ev); err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Add([]byte("{\"k\":\"x\",\"d\":1,\"p\":{\"a\":\"\\udc80\"}}\n"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		d := decoder{b: raw}
		for {
			ev, ok, err := d.next()
			if !ok || err != nil {
				return
			}
			if _, unknown := ev.Payload.(Unknown); unknown || ev.Kind == "" || bytes.ContainsAny([]byte(ev.Kind), "\"\\\n") || len(ev.Kind) > 40 {
				continue
			}
			again, err := appendEvent(nil, 0, &ev)
			if err != nil {
				continue // too long
			}
			d2 := decoder{b: again}
			if back, ok, err := d2.next(); !ok || err != nil || !bytes.Equal(back.Data, ev.Data) {
				t.Fatalf("%+v was written as %q and came back as %+v, %v", ev, again, back, err)
			}
		}
	})
}
