package pgproxy

import (
	"bytes"
	"encoding/binary"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgproto3"

	"jit-gateway/approval/policy"
	"jit-gateway/recording"
)

// quiet is a tracker that records nowhere.
func quiet() *tracker {
	var now time.Duration
	return newTracker(func(*recording.SQL) error { return nil }, func() time.Duration { now += time.Millisecond; return now })
}

// through sends a stream through a scanner in pieces, as the pump does, and
// returns what would be forwarded.
func through(b []byte, piece int, f frames) (out []byte, err error) {
	var s scanner
	var carry []byte
	for len(b) > 0 {
		n := min(piece, len(b))
		chunk := append(carry, b[:n]...)
		b = b[n:]
		left, err := s.scan(chunk, f)
		if err != nil {
			return out, err
		}
		carry = bytes.Clone(chunk[len(chunk)-left:])
		at := 0
		for _, c := range s.cuts {
			out = append(append(out, chunk[at:c.from]...), c.with...)
			at = c.to
		}
		out = append(out, chunk[at:len(chunk)-left]...)
	}
	return out, nil
}

func encode(msgs ...interface{ Encode([]byte) ([]byte, error) }) (b []byte) {
	for _, m := range msgs {
		b, _ = m.Encode(b)
	}
	return b
}

func clientSeeds() [][]byte {
	return [][]byte{
		encode(&pgproto3.Query{String: "SELECT 1"}),
		encode(&pgproto3.Parse{Name: "s", Query: "SELECT $1", ParameterOIDs: []uint32{23}},
			&pgproto3.Describe{ObjectType: 'S', Name: "s"}, &pgproto3.Bind{PreparedStatement: "s", ParameterFormatCodes: []int16{1}, Parameters: [][]byte{{0, 0, 0, 7}, nil}},
			&pgproto3.Execute{}, &pgproto3.Close{ObjectType: 'S', Name: "s"}, &pgproto3.Sync{}),
		encode(&pgproto3.CopyData{Data: []byte("1\t2\n")}, &pgproto3.CopyDone{}, &pgproto3.CopyFail{Message: "no"}, &pgproto3.Flush{}, &pgproto3.Terminate{}),
		encode(&pgproto3.FunctionCall{Function: 1, Arguments: [][]byte{{1}}, ArgFormatCodes: []uint16{1}}),
		{'B', 0, 0, 0, 4}, {'Q', 0xff, 0xff, 0xff, 0xff}, {'P', 0, 0, 0, 5, 0}, {'E', 0, 0, 0, 6, 0, 0}, {0, 0, 3, 0, 0},
	}
}

func serverSeeds() [][]byte {
	return [][]byte{
		encode(&pgproto3.RowDescription{}, &pgproto3.DataRow{Values: [][]byte{[]byte("1")}}, &pgproto3.CommandComplete{CommandTag: []byte("SELECT 1")}, &pgproto3.ReadyForQuery{TxStatus: 'I'}),
		encode(&pgproto3.ParseComplete{}, &pgproto3.ParameterDescription{ParameterOIDs: []uint32{23}}, &pgproto3.BindComplete{}, &pgproto3.CloseComplete{}, &pgproto3.NoData{}, &pgproto3.PortalSuspended{}, &pgproto3.EmptyQueryResponse{}),
		encode(&pgproto3.ErrorResponse{Severity: "ERROR", Code: "57014", Message: "canceled"}, &pgproto3.ReadyForQuery{TxStatus: 'E'}),
		encode(&pgproto3.CopyInResponse{}, &pgproto3.CopyOutResponse{}, &pgproto3.CopyData{Data: []byte("x")}, &pgproto3.CopyDone{}, &pgproto3.FunctionCallResponse{Result: []byte{1}}),
		encode(&pgproto3.NotificationResponse{PID: 1, Channel: "c"}, &pgproto3.NoticeResponse{Message: "n"}, &pgproto3.ParameterStatus{Name: "a", Value: "b"}),
		{'Z', 0, 0, 0, 4}, {'D', 0, 0, 0, 3}, {'E', 0, 0, 0, 5, 'M'}, {'t', 0, 0, 0, 6, 0xff, 0xff}, {'C', 0, 0, 0, 5, 'x'}, {'R', 0, 0, 0, 8, 0, 0, 0, 0},
	}
}

// What the client sends is forwarded as it is, however it is cut, or ends the
// session; the tracker never panics.
func FuzzClientFrames(f *testing.F) {
	seeds := clientSeeds()
	if len(seeds) == 0 {
		f.Fatal("no seeds")
	}
	for _, s := range seeds {
		f.Add(s, uint8(3))
	}
	f.Fuzz(func(t *testing.T, b []byte, piece uint8) {
		tr := quiet()
		out, err := through(b, int(piece)+1, &fromClient{tracker: tr})
		if !bytes.HasPrefix(b, out) {
			t.Fatalf("%q became %q", b, out)
		}
		if err == nil && len(b)-len(out) >= headerSize {
			t.Fatalf("%d bytes are held back", len(b)-len(out))
		}
		whole, errWhole := through(b, len(b)+1, &fromClient{tracker: quiet()})
		if (err == nil) != (errWhole == nil) || err == nil && !bytes.Equal(out, whole) {
			t.Fatalf("in pieces: %q %v, at once: %q %v", out, err, whole, errWhole)
		}
	})
}

// The same for a server that lies, with statements of the client in flight.
func FuzzServerFrames(f *testing.F) {
	seeds := serverSeeds()
	if len(seeds) == 0 {
		f.Fatal("no seeds")
	}
	for _, s := range seeds {
		f.Add(s, uint8(3), true)
	}
	var asked []byte
	for _, s := range clientSeeds()[:4] {
		asked = append(asked, s...)
	}
	f.Fuzz(func(t *testing.T, b []byte, piece uint8, limited bool) {
		tr := quiet()
		if _, err := through(asked, 1000, &fromClient{tracker: tr}); err != nil {
			t.Fatal(err)
		}
		if limited {
			tr.budget = new(budgets).open("G", "gw", policy.Budget{Rows: 1, Bytes: 10}, policy.Budget{})
		}
		out, _ := through(b, int(piece)+1, &fromServer{tracker: tr})
		if !limited && !bytes.HasPrefix(b, out) {
			t.Fatalf("%q became %q", b, out)
		}
		// Whatever is forwarded is whole messages, but for the last.
		for len(out) >= headerSize {
			n := int(binary.BigEndian.Uint32(out[1:])) + 1
			if n < headerSize {
				t.Fatalf("a forwarded message has length %d", n)
			}
			if n > len(out) {
				break
			}
			out = out[n:]
		}
	})
}

func FuzzStartup(f *testing.F) {
	f.Add(uint32(protocol30), []byte(aliceStartup))
	f.Add(uint32(protocol32), []byte("user\x00a\x00_pq_.x\x00y\x00replication\x00off\x00\x00"))
	f.Add(uint32(codeCancel), []byte("\x00\x00\x00\x01abcd"))
	f.Fuzz(func(t *testing.T, version uint32, b []byte) {
		if c, err := parseCancel(b); err == nil && len(c.secret)+4 != len(b) {
			t.Fatal("bytes of a cancel key are lost")
		}
		s, err := parseStartup(version, b)
		if err != nil {
			if _, ok := errors.AsType[*pgError](err); !ok {
				t.Fatalf("an error that is no answer: %v", err)
			}
			return
		}
		if s.user == "" || s.database == "" || strings.ContainsRune(s.user, 0) {
			t.Fatalf("accepted %+v", s)
		}
		for _, p := range s.params {
			if p.name == "replication" {
				t.Fatal("replication went through")
			}
		}
		s.negotiate()
	})
}

func FuzzSCRAM(f *testing.F) {
	f.Add([]byte("n,,n=,r=0123456789abcdef"), []byte("c=biws,r=x,p=AAAA"), false)
	f.Add([]byte("p=tls-server-end-point,,n=,r=0123456789abcdef"), []byte("c=,r=,p="), true)
	f.Add([]byte("y,,n=,r=0123456789abcdef"), []byte(""), true)
	f.Fuzz(func(t *testing.T, first, final []byte, plus bool) {
		s := &scramServer{}
		if plus {
			s.endPoint = []byte("end point")
		}
		s.plus = plus && bytes.HasPrefix(first, []byte("p="))
		if s.firstMessage(first) != nil {
			return
		}
		s.serverFirst([]byte("salt"), 4096)
		if _, proof, err := s.clientFinal(final); err == nil && len(proof) != 32 {
			t.Fatal("a proof of another length")
		}
	})
}

func FuzzDecodeBinary(f *testing.F) {
	f.Add(uint32(oidNumeric), []byte{0, 1, 0, 0, 0, 0, 0, 0, 0, 1})
	f.Add(uint32(1007), []byte{0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 23, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 4, 0, 0, 0, 9})
	f.Add(uint32(oidInet), []byte{2, 32, 0, 4, 10, 0, 0, 1})
	f.Fuzz(func(t *testing.T, oid uint32, b []byte) {
		if text, ok := decodeBinary(oid, b); ok && len(text) > 40*len(b)+5000 {
			t.Fatalf("%d bytes became %d", len(b), len(text))
		}
	})
}
