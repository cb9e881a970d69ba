package audit

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
)

// Export writes the log as JSON Lines: each event's line is the exact bytes
// that its leaf hash covers, and each checkpoint is a line
// {"checkpoint":{…}} after the last event that it covers. Verify reads it
// back through File. It returns the number of events written.
func Export(ctx context.Context, log LogReader, w io.Writer) (int64, error) {
	b := bufio.NewWriterSize(w, 64<<10)
	var n int64
	for e, err := range log.Entries(ctx) {
		if err != nil {
			return n, err
		}
		switch {
		case e.Leaf != nil:
			if bytes.IndexByte(e.Leaf.Data, '\n') >= 0 {
				return n, fmt.Errorf("event %d has a line break in its bytes: it was changed", e.Leaf.Seq)
			}
			b.Write(e.Leaf.Data) // a bufio.Writer keeps its first error for Flush
			b.WriteByte('\n')
			n++
		case e.Checkpoint != nil:
			line, err := json.Marshal(checkpointLine{e.Checkpoint})
			if err != nil {
				return n, fmt.Errorf("export the checkpoint of %d events: %w", e.Checkpoint.Size, err)
			}
			b.Write(line)
			b.WriteByte('\n')
		}
	}
	if err := b.Flush(); err != nil {
		return n, fmt.Errorf("write the exported audit log: %w", err)
	}
	return n, nil
}

type checkpointLine struct {
	Checkpoint *Checkpoint `json:"checkpoint"`
}

// MaxLeaf bounds the bytes of one event.
const MaxLeaf = 1 << 20

// File reads an exported log. It can be read once.
type File struct{ R io.Reader }

// Entries implements LogReader.
func (f File) Entries(ctx context.Context) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		s := bufio.NewScanner(f.R)
		s.Buffer(make([]byte, 64<<10), MaxLeaf+maxCheckpoint)
		var seq int64
		for line := 1; s.Scan(); line++ {
			if ctx.Err() != nil {
				yield(Entry{}, context.Cause(ctx))
				return
			}
			e, err := parseLine(s.Bytes(), seq)
			if err != nil {
				yield(Entry{}, fmt.Errorf("exported audit log, line %d: %w", line, err))
				return
			}
			if e.Leaf != nil {
				seq = e.Leaf.Seq + 1
			}
			if !yield(e, nil) {
				return
			}
		}
		if err := s.Err(); err != nil {
			if errors.Is(err, bufio.ErrTooLong) {
				err = fmt.Errorf("a line after event %d is longer than an event can be", seq)
			}
			yield(Entry{}, fmt.Errorf("read the exported audit log: %w", err))
		}
	}
}

// parseLine reads one line. A line that is no JSON is given on as the leaf
// that should have come, so that the verifier names it.
func parseLine(line []byte, next int64) (Entry, error) {
	var l struct {
		Checkpoint *Checkpoint `json:"checkpoint"`
		Seq        *int64      `json:"seq"`
	}
	data := bytes.Clone(line)
	if err := json.Unmarshal(line, &l); err != nil {
		return Entry{Leaf: &Leaf{Seq: next, Data: data}}, nil
	}
	switch {
	case l.Checkpoint != nil && l.Seq == nil:
		return Entry{Checkpoint: l.Checkpoint}, nil
	case l.Seq != nil && l.Checkpoint == nil:
		return Entry{Leaf: &Leaf{Seq: *l.Seq, Data: data}}, nil
	}
	return Entry{}, errors.New("neither an event nor a checkpoint")
}
