package recording

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"time"
)

// sealStalls is how many times Options.Stall the last writes and syncs of a
// recording may take together.
const sealStalls = 3

// Seal ends the recording: what was handed over, then the footer, then the
// disk. It can be called again and returns the same. After a failure it seals
// what can still be had; if that does not work either, the files stay as they
// are and Dir.Recover can seal them later.
func (w *Writer) Seal(outcome string) (Seal, error) {
	w.sealing.Lock()
	defer w.sealing.Unlock()
	if w.done != nil {
		return *w.done, w.doneErr
	}
	w.mu.Lock()
	w.sealed = true
	// What the worker has begun it finishes; the rest becomes the last chunk
	// below, without a detour through the tail.
	for (w.running || w.committing) && !w.stalled {
		w.wake.Wait()
	}
	stopTimer(w.commitTimer)
	stopTimer(w.ageTimer)
	stalled, broken, failure := w.stalled, w.broken, w.err
	w.final = true
	w.mu.Unlock()
	if stalled {
		return w.leave(failure, w.jobs.Wait)
	}
	w.jobs.Wait()

	var s Seal
	err := failure
	if !broken {
		ended := make(chan struct{})
		err = within(sealStalls*w.o.Stall, func() (err error) {
			defer close(ended)
			s, err = w.finish(outcome)
			return err
		}, nil)
		if err != nil {
			w.mu.Lock()
			w.fail(err)
			err = w.err
			w.mu.Unlock()
			broken = true
		}
		select {
		case <-ended:
		default:
			return w.leave(err, func() { <-ended })
		}
	}
	w.mu.Lock()
	if !broken && err == nil {
		w.durable = w.seq
	}
	w.dismiss()
	w.wake.Broadcast()
	w.mu.Unlock()
	w.closeFiles()
	w.dir.forget(w)
	if broken {
		recovered := make(chan Seal, 1)
		rerr := within(sealStalls*w.o.Stall, func() error {
			s, err := w.dir.recover(w.h.Session, outcome, w.onSegment(), w.onSealed())
			recovered <- s
			return err
		}, nil)
		if rerr != nil {
			s, err = Seal{}, fmt.Errorf("%w; what the disk has is kept for recovery (%v)", err, rerr)
		} else {
			s, err = <-recovered, nil // sealed to the last durable event; Err still tells of the failure
		}
	} else if err == nil {
		if f := w.onSealed(); f != nil {
			err = f(w.h, s)
		}
	}
	w.done, w.doneErr = &s, err
	return s, err
}

// leave gives a recording up whose disk does not answer: its files may be
// written to for as long as the system call lasts, so that it stays live until
// then, and recovery comes later.
func (w *Writer) leave(failure error, wait func()) (Seal, error) {
	w.mu.Lock()
	w.dismiss()
	w.mu.Unlock()
	go func() {
		wait()
		w.closeFiles()
		w.dir.forget(w)
	}()
	w.done, w.doneErr = &Seal{}, failure
	return Seal{}, failure
}

func stopTimer(t *time.Timer) {
	if t != nil {
		t.Stop()
	}
}

func (w *Writer) closeFiles() {
	w.main.Close()
	if w.tail != nil {
		w.tail.Close()
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.cur, w.full, w.screens = nil, nil, screens{}
}

func (w *Writer) onSegment() func(Header, SegmentInfo) error {
	if f := w.o.OnSegment; f != nil {
		return func(_ Header, s SegmentInfo) error { return f(s) }
	}
	return w.dir.o.OnSegment
}

func (w *Writer) onSealed() func(Header, Seal) error {
	if f := w.o.OnSealed; f != nil {
		return func(_ Header, s Seal) error { return f(s) }
	}
	return w.dir.o.OnSealed
}

// finish does the worker's last round in the caller's goroutine.
func (w *Writer) finish(outcome string) (Seal, error) {
	w.mu.Lock()
	w.cut()
	t := task{full: w.full, watches: w.watches, parse: w.terminal || len(w.watches) > 0, closing: true}
	w.full, w.spent = nil, false
	w.mu.Unlock()
	if err := w.do(&t); err != nil {
		return Seal{}, err
	}
	if err := w.sync(); err != nil {
		return Seal{}, err
	}
	s := newSeal(w.h.Session, outcome, w.o.Now(), w.segments, w.root)
	size, err := w.dir.writeFooter(w.main, w.end, w.seed, w.segments, w.root, &s)
	if err != nil {
		return Seal{}, err
	}
	w.end = size
	if w.tail == nil { // nothing ever went there
		return s, nil
	}
	return s, dropTail(w.dir.fs, w.h.Session)
}

func newSeal(session, outcome string, at time.Time, segments []segment, root [32]byte) Seal {
	s := Seal{Session: session, Outcome: outcome, Ended: at.UTC(), Segments: len(segments), Root: hex.EncodeToString(root[:])}
	for _, seg := range segments {
		s.Events += int64(seg.events)
		s.Raw += int64(seg.raw)
		s.Duration = max(s.Duration, seg.to)
	}
	return s
}

// writeFooter appends footer and end at off, and makes them durable.
func (d *Dir) writeFooter(f file, off int64, seed uint32, segments []segment, root [32]byte, s *Seal) (int64, error) {
	text, err := json.Marshal(s)
	if err != nil {
		return 0, fmt.Errorf("encode the seal: %w", err)
	}
	p := le.AppendUint32(nil, uint32(len(text)))
	p = append(p, text...)
	p = le.AppendUint32(p, uint32(len(segments)))
	for _, seg := range segments {
		p = seg.append(p)
	}
	sum := footerHash(root, p)
	b := newBlock(blockFooter, p, seed)
	b = append(b, endBlock(off, sum, seed)...)
	if _, err := d.writeAt(f, b, off); err != nil {
		return 0, err
	}
	if err := f.Sync(); err != nil {
		return 0, err
	}
	s.Hash, s.Size = hex.EncodeToString(sum[:]), off+int64(len(b))
	return s.Size, nil
}

func footerHash(root [32]byte, payload []byte) [32]byte {
	h := sha256.New()
	h.Write(root[:])
	h.Write(payload)
	return [32]byte(h.Sum(nil))
}

func endBlock(footer int64, sum [32]byte, seed uint32) []byte {
	p := le.AppendUint64(nil, uint64(footer))
	p = append(p, sum[:]...)
	return newBlock(blockEnd, append(p, endMagic...), seed)
}

// dropTail removes the tail once everything is in the recording.
func dropTail(fsys filesystem, session string) error {
	if err := fsys.Remove(session + tailSuffix); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove the tail: %w", err)
	}
	return fsys.SyncDir()
}
