package recording

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"jit-gateway/internal/display"
)

// Report is what a verification found, in words through String.
type Report struct {
	Session  string        `json:"session"`
	OK       bool          `json:"ok"`
	Sealed   bool          `json:"sealed"`
	Locked   bool          `json:"locked,omitempty"` // encrypted, and no identity was given: only hashes were checked
	Segments []SegmentInfo `json:"segments"`
	Events   int64         `json:"events"`
	Duration time.Duration `json:"duration"`
	Root     string        `json:"root"` // as computed
	Seal     Seal          `json:"seal"`
	Problems []Damage      `json:"problems,omitempty"`
}

// maxProblems bounds a report: a file of noise has one at every step.
const maxProblems = 100

func (r *Report) add(off int64, seg int, at time.Duration, format string, args ...any) {
	if len(r.Problems) < maxProblems {
		r.Problems = append(r.Problems, Damage{off, seg, at, fmt.Sprintf(format, args...)})
	}
}

// String says in a few lines what was found, the first problem first.
func (r Report) String() string {
	var b strings.Builder
	word := "intact"
	if !r.OK {
		word = "NOT INTACT"
	}
	fmt.Fprintf(&b, "recording of session %s: %s\n", display.Line(r.Session, 80), word)
	fmt.Fprintf(&b, "  segments: %d, events: %d, length %s", len(r.Segments), r.Events, clock(r.Duration))
	if r.Sealed {
		fmt.Fprintf(&b, "; sealed %s as %q", r.Seal.Ended.UTC().Format(time.DateTime+" UTC"), display.Line(r.Seal.Outcome, 80))
		if r.Seal.Recovered {
			b.WriteString(" after a crash")
		}
	} else {
		b.WriteString("; not sealed")
	}
	fmt.Fprintf(&b, "\n  chain ends in %s\n", r.Root)
	if r.Locked {
		b.WriteString("  encrypted: hashes and structure were checked, the events were not opened\n")
	}
	for _, p := range r.Problems {
		fmt.Fprintf(&b, "  byte %d, segment %d, after %s: %s\n", p.Offset, p.Segment, clock(p.From), display.Line(p.What, 0))
	}
	return b.String()
}

// Verify reads the whole file and checks every byte of it: checksums, the hash
// chain, the footer, and, unless it is locked, that every event decodes and
// the counts are right. It proves that the file is as it was sealed only
// together with the audit log, which has the hashes: see Compare.
func (r *Reader) Verify() Report {
	rep := Report{Session: r.header.Session, Locked: r.locked() != nil, Sealed: r.sealed, Seal: r.seal}
	l, err := r.scan(checkAll)
	if err != nil {
		rep.add(0, 0, 0, "%v", err)
		return rep
	}
	rep.Problems = append(rep.Problems, l.damage[:min(len(l.damage), maxProblems)]...)
	rep.Sealed, rep.Seal = l.sealed, l.seal
	root, off := r.root, r.body
	if r.header.Encrypted() {
		if h, err := readHead(r.r, off, r.size); err == nil && h.typ == blockWraps {
			off += headSize + int64(h.length)
		} else {
			rep.add(off, 0, 0, "the wrapped key of an encrypted recording is missing")
		}
	}
	for i, s := range l.segments {
		root, off = r.verifySegment(&rep, i, s, root, off)
		rep.Segments = append(rep.Segments, s.info(r.header.Session, i))
		rep.Events += int64(s.events)
		rep.Duration = max(rep.Duration, s.to)
	}
	if l.open != nil {
		rep.Events += int64(l.open.events)
		rep.Duration = max(rep.Duration, l.open.to)
		rep.add(l.open.offset, len(l.segments), l.open.from, "the last segment has no trailer")
	}
	rep.Root = hex.EncodeToString(root[:])
	r.verifyFooter(&rep, l, root, off)
	slices.SortStableFunc(rep.Problems, func(a, b Damage) int { return cmp.Compare(a.Offset, b.Offset) })
	rep.OK = len(rep.Problems) == 0
	return rep
}

// verifySegment checks one segment and returns the chain's next hash.
func (r *Reader) verifySegment(rep *Report, i int, s segment, root [32]byte, off int64) ([32]byte, int64) {
	if s.length == 0 {
		rep.add(off, i, s.from, "the segment, or its trailer, is missing")
		return root, off
	}
	end := s.offset + s.length
	if s.offset != off {
		rep.add(off, i, s.from, "the segment begins at byte %d instead of %d", s.offset, off)
	}
	if s.offset > end || s.offset < off {
		return s.hash, end
	}
	h := sha256.New()
	h.Write(root[:])
	b := body{r: r, segment: i, at: s.from, reuse: true}
	var events, raw uint64
	var chunks uint32
	last := s.from
	visit := func(off int64, hd head, block []byte) error {
		if hd.typ == blockTrailer {
			t, _ := parseTrailer(block[headSize:])
			h.Write(block[headSize : len(block)-32])
			if t.chunks != chunks || t.events != events || t.raw != raw || t.to != last || t.offset != s.offset || int(t.segment) != i {
				rep.add(off, i, last, "the trailer does not fit the segment")
			}
			return nil
		}
		h.Write(block)
		if hd.typ == blockChunk {
			p, ok := parsePrelude(block[headSize:])
			if missing := b.next(p); ok && missing != "" {
				rep.add(off, i, b.at, "%s", missing)
			}
			if p.piece <= 1 {
				chunks++
			}
			events, raw, last = events+uint64(p.events), raw+uint64(p.raw), max(last, p.last)
		}
		if rep.Locked {
			return nil
		}
		data, p, err := b.open(hd, block)
		if err == nil && (hd.typ == blockChunk || hd.typ == blockScreens) {
			err = count(data, p)
		}
		if err != nil {
			rep.add(off, i, b.at, "%v", err)
		}
		b.at = max(b.at, p.last)
		return nil
	}
	gap := func(from, to int64, why error) error { // the scan has told of it
		buf := make([]byte, min(to-from, 1<<20))
		for from < to {
			n := min(int64(len(buf)), to-from)
			if _, err := r.r.ReadAt(buf[:n], from); err != nil {
				return err
			}
			h.Write(buf[:n])
			from += n
		}
		return nil
	}
	if err := r.walk(s.offset, end, checkAll, visit, gap); err != nil {
		rep.add(s.offset, i, s.from, "%v", err)
	}
	if !bytes.Equal(h.Sum(nil), s.hash[:]) {
		rep.add(s.offset, i, s.from, "the segment does not fit its hash: it, or one before it, was changed")
	}
	return s.hash, end
}

// count decodes all events of a data block and compares with its prelude.
func count(data []byte, p prelude) error {
	d := decoder{b: data, t: p.base}
	n := uint32(0)
	for {
		_, ok, err := d.next()
		if err != nil {
			return err
		}
		if !ok {
			break
		}
		n++
	}
	if n != p.events || d.t != p.last && n > 0 {
		return errors.New("a chunk has not the events that it claims")
	}
	return nil
}

func (r *Reader) verifyFooter(rep *Report, l *layout, root [32]byte, off int64) {
	if !l.sealed {
		rep.add(l.fileEnd, len(l.segments), rep.Duration, "there is no footer: the session is live, or its recording was cut off or not yet recovered")
		return
	}
	if l.footer != off && l.open == nil {
		rep.add(l.footer, len(l.segments), rep.Duration, "%d bytes are between the last segment and the footer", l.footer-off)
	}
	s := l.seal
	want := newSeal(r.header.Session, s.Outcome, s.Ended, l.segments, root)
	if s.Session != want.Session || s.Segments != want.Segments || s.Events != want.Events || s.Raw != want.Raw || s.Root != want.Root || s.Duration != want.Duration {
		rep.add(l.footer, len(l.segments), rep.Duration, "the footer tells of %d segments, %d events and root %s; the file has %d, %d and %s",
			s.Segments, s.Events, clip(s.Root, 16), want.Segments, want.Events, clip(want.Root, 16))
		return
	}
	for i, seg := range l.segments {
		if i < len(r.segments) && seg != r.segments[i] {
			rep.add(l.footer, i, seg.from, "the footer's entry does not fit the segment")
			return
		}
	}
}

// Compare checks a report against the hashes that the audit log has for the
// session: a removed tail or an exchanged file is intact in itself.
func (r Report) Compare(leaves []SegmentInfo, sealHash string) []Damage {
	var out []Damage
	for _, leaf := range leaves {
		switch {
		case leaf.Index >= len(r.Segments):
			out = append(out, Damage{Segment: leaf.Index, From: leaf.From, What: "the audit log has this segment; the recording ends before it"})
		case leaf.Hash != r.Segments[leaf.Index].Hash:
			out = append(out, Damage{Offset: r.Segments[leaf.Index].Offset, Segment: leaf.Index, From: leaf.From, What: "the segment is not the one that the audit log has"})
		}
	}
	if sealHash != "" && sealHash != r.Seal.Hash {
		out = append(out, Damage{Segment: len(r.Segments), From: r.Duration, What: "the seal is not the one that the audit log has"})
	}
	return out
}
