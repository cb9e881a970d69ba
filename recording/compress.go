package recording

import (
	"runtime"
	"sync"

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
	// bulk takes chunks that filled up within one interval: speed counts.
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

// compress appends the compressed raw to dst, or returns false if that is not
// worth it.
func compress(dst, raw []byte) ([]byte, bool) {
	if len(raw) < 64 || looksRandom(raw) {
		return dst, false
	}
	e := calmEncoder()
	if len(raw) >= chunkSize {
		e = bulkEncoder()
	}
	n := len(dst)
	dst = e.EncodeAll(raw, dst)
	return dst, len(dst)-n < len(raw)-len(raw)/32
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
