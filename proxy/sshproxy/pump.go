package sshproxy

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"hash"
	"io"
	"sync"

	"jit-gateway/proxy"
	"jit-gateway/recording"
	"jit-gateway/session"
)

// taps are what sees the three streams of a channel before they go on (G2).
type taps struct {
	in, out, err func(p []byte) error
	end          []func() error
	// inFilter replaces the plain copy towards the target where requests are
	// inspected before they go on, outFilter the one towards the client.
	inFilter, outFilter func(dst io.Writer) io.Writer
}

func (t taps) close() error {
	var errs []error
	for _, f := range t.end {
		errs = append(errs, f())
	}
	return errors.Join(errs...)
}

// bulkAfter is how much of a stream without a terminal is kept as content;
// the rest is recorded as size and SHA-256 (guarantee G2 names the figure).
const bulkAfter = 64 << 20

// bulkEvery is how often a long bulk stream is told of, so that a crash loses
// the digest of no more than that.
const bulkEvery = 256 << 20

// A keeper records one stream: content first, then size and hash.
type keeper struct {
	content  func(p []byte) error
	bulk     func(recording.Bulk) error
	keep     int64 // bytes of content, negative: all
	why      string
	stream   byte
	seen     int64
	sum      hash.Hash
	bulked   int64
	reported int64
}

func (k *keeper) take(p []byte) error {
	if k.keep < 0 || k.seen+int64(len(p)) <= k.keep {
		k.seen += int64(len(p))
		return k.content(p)
	}
	if rest := k.keep - k.seen; rest > 0 {
		k.seen += rest
		if err := k.content(p[:rest]); err != nil {
			return err
		}
		p = p[rest:]
	}
	if k.sum == nil {
		k.sum = sha256.New()
	}
	k.sum.Write(p)
	k.bulked += int64(len(p))
	if k.bulked-k.reported >= bulkEvery {
		k.reported = k.bulked
		return k.bulk(k.event())
	}
	return nil
}

func (k *keeper) event() recording.Bulk {
	return recording.Bulk{Stream: k.stream, Bytes: k.bulked, SHA256: hex.EncodeToString(k.sum.Sum(nil)), Why: k.why}
}

func (k *keeper) close() error {
	if k.bulked == k.reported {
		return nil
	}
	return k.bulk(k.event())
}

// keepers of a channel's three streams; keep is the content of each.
func (c *sessionChannel) keepers(keep int64, why string) (in, out, err *keeper) {
	rec := c.l.rec
	if c.l.recording().Content {
		keep = -1
	}
	bulk := func(b recording.Bulk) error { return c.record(b) }
	in = &keeper{keep: keep, why: why, bulk: bulk, stream: 0, content: func(p []byte) error { return rec.Input(c.id, p) }}
	out = &keeper{keep: keep, why: why, bulk: bulk, stream: 1, content: func(p []byte) error { return rec.Output(c.id, 1, p) }}
	err = &keeper{keep: keep, why: why, bulk: bulk, stream: 2, content: func(p []byte) error { return rec.Output(c.id, 2, p) }}
	return in, out, err
}

// contentTaps record everything that passes; what is typed at a terminal only
// where the rule says so, since its echo is in the output.
func contentTaps(c *sessionChannel) taps {
	in, out, err := c.keepers(bulkAfter, "beyond the first 64 MiB")
	t := taps{in: in.take, out: out.take, err: err.take, end: []func() error{in.close, out.close, err.close}}
	if c.pty {
		out.keep = -1
		if !c.l.recording().Input && !c.l.recording().Strict {
			t.in = func([]byte) error { return nil }
		}
	}
	return t
}

// execTaps know the commands that carry files.
func execTaps(c *sessionChannel, cmd string) taps {
	if sc, ok := parseSCP(cmd); ok && !c.pty {
		return scpTaps(c, sc)
	}
	if isRsync(cmd) && !c.pty {
		in, out, err := c.keepers(0, "rsync")
		err.keep = bulkAfter
		return taps{in: in.take, out: out.take, err: err.take, end: []func() error{in.close, out.close, err.close}}
	}
	return contentTaps(c)
}

// A flow is one of the three streams of a channel: what tap has seen goes on.
type flow struct {
	c    *sessionChannel
	dst  io.Writer
	src  io.Reader
	tap  func([]byte) error
	pass func()      // lets those go on who wait for the stream, whatever happens
	end  func(error) // unless it panics
}

// run copies the stream. Its frame rests while nothing comes, and so do those
// around it: they are kept small enough for the smallest stack there is.
func (f *flow) run() {
	defer f.pass()
	_, err := proxy.Copy(f.dst, f.src, f.tap)
	if err != nil {
		f.c.broken(err)
	}
	if f.end != nil {
		f.end(err)
	}
}

// broken ends the channel for what is no failure of a connection.
func (c *sessionChannel) broken(err error) {
	var tapErr *tapError
	if errors.As(err, &tapErr) {
		c.fail(tapErr.err)
	}
}

// A tapError is one of the recorder or of a parser, not of a connection.
type tapError struct{ err error }

func (e *tapError) Error() string { return e.err.Error() }

// inward is what the client sends.
func (c *sessionChannel) inward(t taps) *flow {
	dst := c.l.toTarget(c.up)
	if t.inFilter != nil {
		dst = t.inFilter(dst)
	}
	passed, passedAll := c.input.hold(), c.l.input.hold()
	return &flow{c: c, dst: busy{c.l.sess, dst}, src: c.down,
		tap: func(p []byte) error {
			c.l.sess.Count(int64(len(p)), 0)
			c.addIn(len(p))
			return wrapTap(t.in(p))
		},
		pass: func() { passed(); passedAll() },
		end: func(err error) {
			if err == nil {
				c.up.CloseWrite()
			}
		}}
}

// outward is what the target prints.
func (c *sessionChannel) outward(t taps) *flow {
	dst := c.l.toClient(c.down)
	if t.outFilter != nil {
		dst = t.outFilter(dst)
	}
	passed := c.output.hold()
	return &flow{c: c, dst: busy{c.l.sess, dst}, src: wholeReads{c.up}, tap: c.seen(t.out), pass: passed, end: func(error) {
		passed()
		c.endOutput()
	}}
}

// errors is what it prints on stderr.
func (c *sessionChannel) errors(t taps) *flow {
	passed := c.output.hold()
	return &flow{c: c, dst: busy{c.l.sess, c.stderr()}, src: c.up.Stderr(), tap: c.seen(t.err), pass: passed}
}

func (c *sessionChannel) seen(tap func([]byte) error) func([]byte) error {
	return func(p []byte) error {
		c.l.sess.Count(0, int64(len(p)))
		c.addOut(len(p))
		return wrapTap(tap(p))
	}
}

func wrapTap(err error) error {
	if err == nil {
		return nil
	}
	return &tapError{err}
}

func (c *sessionChannel) addIn(n int) {
	c.mu.Lock()
	c.in += int64(n)
	c.mu.Unlock()
}

func (c *sessionChannel) addOut(n int) {
	c.mu.Lock()
	c.to += int64(n)
	c.mu.Unlock()
}

// A busy writer keeps a session from being idle while a slow peer holds a
// write up: somebody waits for the rest.
type busy struct {
	sess *session.Session
	w    io.Writer
}

func (b busy) Write(p []byte) (int, error) {
	defer b.sess.Busy()()
	return b.w.Write(p)
}

// A lockedWriter is a writer that several goroutines share.
type lockedWriter struct {
	mu *sync.Mutex
	w  io.Writer
}

func (w lockedWriter) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.w.Write(p)
}
