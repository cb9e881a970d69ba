package proxy

import (
	"fmt"
	"io"
	"runtime/debug"
	"sync"
)

// Sizes of pooled buffers, each four times the one before: an idle session
// holds the smallest, a bulk transfer the largest, and the step between costs
// a transfer four short reads.
const (
	size0 = 256
	size1 = 1 << 10
	size2 = 4 << 10
	size3 = 16 << 10
	size4 = 64 << 10
	size5 = 256 << 10
)

var sizes = [...]int{size0, size1, size2, size3, size4, size5}

// MaxBuffer is the largest pooled buffer.
const MaxBuffer = size5

// The pools hold pointers to arrays, so that giving back allocates nothing.
var pools = [...]sync.Pool{
	{New: func() any { return new([size0]byte) }},
	{New: func() any { return new([size1]byte) }},
	{New: func() any { return new([size2]byte) }},
	{New: func() any { return new([size3]byte) }},
	{New: func() any { return new([size4]byte) }},
	{New: func() any { return new([size5]byte) }},
}

// GetBuffer returns a pooled buffer of at least n bytes, whose length is the
// nearest of a quarter, 1, 4, 16, 64 and 256 KiB; 256 KiB is the most there is.
func GetBuffer(n int) []byte {
	for i, size := range sizes {
		if n <= size || i == len(sizes)-1 {
			return get(i)
		}
	}
	panic("unreachable")
}

func get(class int) []byte {
	switch b := pools[class].Get().(type) {
	case *[size0]byte:
		return b[:]
	case *[size1]byte:
		return b[:]
	case *[size2]byte:
		return b[:]
	case *[size3]byte:
		return b[:]
	case *[size4]byte:
		return b[:]
	case *[size5]byte:
		return b[:]
	}
	panic("unreachable")
}

// PutBuffer returns a buffer of GetBuffer, however it was sliced from its
// start, to the pool. The caller MUST NOT use it afterwards.
func PutBuffer(b []byte) {
	switch cap(b) {
	case size0:
		pools[0].Put((*[size0]byte)(b[:size0]))
	case size1:
		pools[1].Put((*[size1]byte)(b[:size1]))
	case size2:
		pools[2].Put((*[size2]byte)(b[:size2]))
	case size3:
		pools[3].Put((*[size3]byte)(b[:size3]))
	case size4:
		pools[4].Put((*[size4]byte)(b[:size4]))
	case size5:
		pools[5].Put((*[size5]byte)(b[:size5]))
	}
}

// sizer picks the next buffer from how the last ones were filled.
type sizer struct {
	class int
	small int // short reads in a row
}

// next is told that n bytes came into a buffer of the class, and reports
// whether another class fits better. One that is full but for a little is
// full: its reader may take whole packets alone.
func (s *sizer) next(n int) (changed bool) {
	switch {
	case n >= sizes[s.class]-sizes[s.class]/64:
		s.small = 0
		if s.class < len(sizes)-1 {
			s.class++
			return true
		}
	case s.class > 0 && n <= sizes[s.class-1]:
		if s.small++; s.small >= 4 { // one pause does not end a bulk transfer
			s.small = 0
			s.class--
			return true
		}
	default:
		s.small = 0
	}
	return false
}

// Copy moves bytes from src to dst until src ends, through pooled buffers
// that grow from 256 bytes to 256 KiB while reads fill them. tap, if not nil, sees
// every chunk before it is written (G2: record, then forward); its error ends
// the copy. io.EOF is not an error. It neither closes nor half-closes.
//
// Of a source that is ahead of us the next chunk is read and tapped while the
// one before is written: hashing takes half as long as sealing and sending,
// and a single transfer can use a second processor for it.
func Copy(dst io.Writer, src io.Reader, tap func([]byte) error) (written int64, err error) {
	var s sizer
	w := &behind{dst: dst}
	defer func() {
		if late := w.wait(); err == nil {
			err = late
		}
		written = w.written
	}()
	for {
		buf := get(s.class)
		n, readErr := src.Read(buf)
		if n > 0 && tap != nil {
			err = tap(buf[:n])
		}
		if err == nil {
			err = w.wait()
		}
		if n == 0 || err != nil {
			PutBuffer(buf)
		} else if n > size3 {
			w.start(buf, n)
		} else {
			err = w.write(buf, n)
		}
		switch {
		case err != nil:
			return 0, err
		case readErr == io.EOF:
			return 0, nil
		case readErr != nil:
			return 0, readErr
		}
		s.next(n)
	}
}

// behind writes one chunk at a time, beside the caller or not.
type behind struct {
	dst     io.Writer
	done    chan error // nil: nothing was ever started
	pending bool
	written int64
}

// write writes n bytes of buf, and gives it back.
func (w *behind) write(buf []byte, n int) error {
	m, err := w.dst.Write(buf[:n])
	w.written += int64(m)
	PutBuffer(buf)
	return err
}

// start is write in a goroutine of its own.
func (w *behind) start(buf []byte, n int) {
	if w.done == nil {
		w.done = make(chan error, 1)
	}
	w.pending = true
	go func() {
		defer func() {
			if v := recover(); v != nil {
				w.done <- &PanicError{Value: v, Stack: debug.Stack()}
			}
		}()
		w.done <- w.write(buf, n)
	}()
}

// wait returns how the write that was started went; a panic in it goes on here.
func (w *behind) wait() error {
	if !w.pending {
		return nil
	}
	w.pending = false
	err := <-w.done
	if p, ok := err.(*PanicError); ok { // the caller's, who contains it
		panic(fmt.Sprintf("%v, beside the copy: %s", p.Value, p.Stack))
	}
	return err
}
