package objects

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/minio/minio-go/v7"
)

// A reader's memory: the blocks kept, and how far one request reads ahead of
// somebody who reads on. Seeking touches a handful of blocks.
const (
	blockSize = 256 << 10
	keptMax   = 24 // blocks: 6 MiB
	aheadMax  = 16 // blocks of one request: 4 MiB
)

// Reader reads one version of an object at any offset.
type Reader struct {
	b       *Bucket
	ctx     context.Context
	stop    context.CancelFunc
	key     string
	version string
	size    int64

	mu    sync.Mutex
	kept  map[int64][]byte // by block number
	order []int64          // of use, oldest first
	next  int64            // the block behind the last one read: whoever asks for it reads on
	ahead int64
}

// Open opens a version of an object; the newest if version is empty. The
// error wraps fs.ErrNotExist if there is none.
func (b *Bucket) Open(ctx context.Context, key, version string) (*Reader, error) {
	o, err := b.Stat(ctx, key, version)
	if err != nil {
		return nil, err
	}
	ctx, stop := context.WithCancel(ctx)
	return &Reader{b: b, ctx: ctx, stop: stop, key: key, version: o.Version, size: o.Size, kept: map[int64][]byte{}, next: -1, ahead: 1}, nil
}

// Size of the object.
func (r *Reader) Size() int64 { return r.size }

// Close ends what is being read.
func (r *Reader) Close() error {
	r.stop()
	return nil
}

// ReadAt implements io.ReaderAt.
func (r *Reader) ReadAt(p []byte, off int64) (n int, err error) {
	if off < 0 {
		return 0, errors.New("a negative offset")
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for n < len(p) && off < r.size {
		b, err := r.block(off / blockSize)
		if err != nil {
			return n, err
		}
		m := copy(p[n:], b[off%blockSize:])
		n, off = n+m, off+int64(m)
	}
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// block returns a block, from memory or the store.
func (r *Reader) block(i int64) ([]byte, error) {
	if b, ok := r.kept[i]; ok {
		r.used(i)
		return b, nil
	}
	// One block for who jumps, more and more for who reads on.
	count := int64(1)
	if i == r.next {
		r.ahead = min(r.ahead*2, aheadMax)
		count = r.ahead
	} else {
		r.ahead = 1
	}
	last := (r.size - 1) / blockSize
	count = min(count, last-i+1)
	from, to := i*blockSize, min((i+count)*blockSize, r.size)
	buf := make([]byte, to-from)
	if err := r.fetch(buf, from); err != nil {
		return nil, err
	}
	for j := int64(0); j < count; j++ {
		for len(r.order) >= keptMax {
			delete(r.kept, r.order[0])
			r.order = r.order[1:]
		}
		b := buf[j*blockSize : min((j+1)*blockSize, to-from)]
		if count > 1 {
			b = append([]byte(nil), b...) // or one block would keep all of them
		}
		r.kept[i+j] = b
		r.order = append(r.order, i+j)
	}
	r.next = i + count
	return r.kept[i], nil
}

func (r *Reader) used(i int64) {
	for k, n := range r.order {
		if n == i {
			copy(r.order[k:], r.order[k+1:])
			r.order[len(r.order)-1] = i
			return
		}
	}
}

// tries of one range: what a store hiccups over comes the second time.
const tries = 3

func (r *Reader) fetch(buf []byte, off int64) (err error) {
	for try := range tries {
		if try > 0 {
			select {
			case <-r.ctx.Done():
				return r.ctx.Err()
			case <-time.After(200 * time.Millisecond << try):
			}
		}
		if err = r.once(buf, off); err == nil {
			return nil
		}
	}
	return r.b.fail(fmt.Sprintf("read bytes %d to %d of", off, off+int64(len(buf))), r.key, err)
}

func (r *Reader) once(buf []byte, off int64) error {
	o := minio.GetObjectOptions{VersionID: r.version}
	if err := o.SetRange(off, off+int64(len(buf))-1); err != nil {
		return err
	}
	body, _, _, err := r.b.core.GetObject(r.ctx, r.b.o.Bucket, r.key, o)
	if err != nil {
		return err
	}
	defer body.Close()
	_, err = io.ReadFull(body, buf)
	return err
}
