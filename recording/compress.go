package recording

import (
	"errors"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/klauspost/compress/s2"
	"github.com/klauspost/compress/zstd"
)

// Chunks are compressed whole, by encoders that all sessions share: there is
// no compressor state per session, so an idle one costs nothing.

const (
	// chunkSize is when gathered events become a chunk.
	chunkSize = 256 << 10
	// pieceMax is the most that is kept in the tail: what waits longer than a
	// commit interval and is larger becomes a chunk at once.
	pieceMax = 128 << 10
	// pooled is the capacity of shared buffers: a chunk, one more event, the head.
	pooled = chunkSize + maxData + 1024
)

var (
	// bulk takes chunks that filled up within seconds: speed counts.
	// calm takes the others: their size counts, and there are few.
	bulkEncoder = sync.OnceValue(func() *zstd.Encoder { return newEncoder(zstd.SpeedFastest) })
	calmEncoder = sync.OnceValue(func() *zstd.Encoder { return newEncoder(zstd.SpeedBetterCompression) })
	decoders    = sync.OnceValue(func() *zstd.Decoder {
		d, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(0), zstd.WithDecoderMaxMemory(maxRaw), zstd.WithDecoderLowmem(true))
		if err != nil {
			panic(err) // only for impossible options
		}
		return d
	})
)

func newEncoder(level zstd.EncoderLevel) *zstd.Encoder {
	e, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(level), zstd.WithEncoderConcurrency(runtime.GOMAXPROCS(0)),
		zstd.WithEncoderCRC(false), zstd.WithLowerEncoderMem(true), zstd.WithWindowSize(512<<10))
	if err != nil {
		panic(err) // only for impossible options
	}
	return e
}

// From how many bytes in a second on the processor's time counts for more than
// size: then a chunk is packed by the fast encoder, or, in a torrent, by Snappy.
const (
	stream  = 16 << 10
	torrent = 10 << 20
)

// compress appends the compressed raw to dst and returns the flag that says
// how, or 0 if it is not worth it. took is how long the events took to come.
func compress(dst, raw []byte, took time.Duration) ([]byte, byte) {
	if len(raw) < 64 || looksRandom(raw) {
		return dst, 0
	}
	n, flag := len(dst), byte(flagZstd)
	rate := int64(len(raw)) * int64(time.Second) / int64(max(took, time.Millisecond))
	switch {
	case len(raw) < pieceMax || rate < stream:
		dst = calmEncoder().EncodeAll(raw, dst)
	case rate > torrent:
		// A third of zstd's time, and not quite twice its size.
		flag = flagSnappy
		dst = slices.Grow(dst, s2.MaxEncodedLen(len(raw)))
		dst = dst[:n+len(s2.EncodeSnappy(dst[n:cap(dst)], raw))]
	default:
		dst = bulkEncoder().EncodeAll(raw, dst)
	}
	if len(dst)-n >= len(raw)-len(raw)/32 {
		return dst, 0
	}
	return dst, flag
}

// decompress returns the size bytes that data was made of, in dst if they fit.
func decompress(dst, data []byte, flags byte, size int) ([]byte, error) {
	if flags&flagSnappy == 0 {
		return decoders().DecodeAll(data, dst[:0])
	}
	if n, err := s2.DecodedLen(data); err != nil || n != size {
		return nil, errors.New("its length is not the one that it claims")
	}
	return s2.Decode(dst[:cap(dst)], data)
}

// looksRandom samples raw and reports whether its bytes are spread as evenly
// as random ones: encrypted or compressed already, so trying costs a second
// per GiB and gains nothing.
func looksRandom(raw []byte) bool {
	const runs, run = 8, 512
	if len(raw) < runs*run*2 {
		return false
	}
	var count [256]int
	step := len(raw) / runs
	for i := range runs {
		from := i*step + step/3 // not where equal packets begin: that is a line of JSON
		for _, c := range raw[from : from+run] {
			count[c]++
		}
	}
	sum := 0
	for _, c := range count {
		sum += c * c
	}
	// Random bytes give n²/256+n = 69,632 ± 360, a line of JSON among them a
	// few thousand more; base64 gives 260,000.
	return sum < 90000
}

var buffers = sync.Pool{New: func() any { b := make([]byte, 0, pooled); return &b }}

func getBuffer() []byte { return (*buffers.Get().(*[]byte))[:0] }

func putBuffer(b []byte) {
	if cap(b) >= pooled && cap(b) <= 2*pooled {
		buffers.Put(&b)
	}
}
