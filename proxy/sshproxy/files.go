package sshproxy

import (
	"fmt"
	"io"
	"path"
	"strings"
	"sync"

	"jit-gateway/approval/policy"
	"jit-gateway/internal/dialogue"
	"jit-gateway/recording"
)

// isRsync recognises the far end of an rsync, with nothing around it.
func isRsync(cmd string) bool {
	if strings.ContainsAny(cmd, ";&|<>`$(){}\n\r\x00") {
		return false
	}
	words, err := dialogue.Split(cmd)
	return err == nil && len(words) > 2 && words[0] == "rsync" && words[1] == "--server"
}

// isSFTPServer recognises a forced command that makes a host a file store.
func isSFTPServer(cmd string) bool {
	words := strings.Fields(cmd)
	return len(words) > 0 && (words[0] == "internal-sftp" || path.Base(words[0]) == "sftp-server")
}

// scpTaps follow the old scp protocol: files as path, size and SHA-256. A
// stream that turns out to be something else is recorded as content from
// there on.
func scpTaps(c *sessionChannel, sc scpCommand) taps {
	in, out, errs := c.keepers(bulkAfter, "beyond the first 64 MiB")
	direction := "download"
	sender, other := out, in
	if sc.Upload {
		direction, sender, other = "upload", in, out
	}
	p := newSCPParser(sc.Path, func(f scpFile) error {
		return c.record(recording.File{Via: "scp", Direction: direction, Path: f.Path, Bytes: f.Bytes, SHA256: f.SHA256, Partial: f.SHA256 == "", Result: f.Result})
	})
	broken, content := false, c.l.recording().Content
	tap := func(b []byte) error {
		if broken || content {
			if err := sender.take(b); err != nil || broken {
				return err
			}
		}
		if _, err := p.Write(b); err != nil {
			broken = true
			if err := c.record(recording.Marker{Text: "this is not scp: recorded as it is from here on"}); err != nil {
				return err
			}
			if content {
				return nil
			}
			return sender.take(b)
		}
		return nil
	}
	t := taps{err: errs.take, end: []func() error{p.Close, in.close, out.close, errs.close}}
	if sc.Upload {
		t.in, t.out = tap, other.take
	} else {
		t.in, t.out = other.take, tap
	}
	return t
}

// sftpTaps follow SFTP. Under a rule that restricts it, requests are
// inspected before they go on, and refusals are answered here.
func sftpTaps(c *sessionChannel, may policy.Channels) taps {
	pace := newPace()
	emit := func(op sftpOp) error {
		ev := recording.SFTP{Op: op.Op, Path: op.Path, Bytes: op.Bytes, SHA256: op.SHA256, Result: op.Result}
		if op.Op == "open" {
			ev.Flags = op.To
		} else {
			ev.To = op.To
		}
		if why, denied := strings.CutPrefix(op.Result, "refused: "); denied {
			ev.Denied = true
			if err := pace.Wait(c.l.ctx); err != nil {
				return err
			}
			c.l.denied("sftp "+op.Op, why)
		}
		return c.record(ev)
	}
	rule := sftpRuleOf(may)
	tr := newSFTPTracker(emit, rule)
	_, _, errs := c.keepers(bulkAfter, "beyond the first 64 MiB")
	t := taps{in: tr.toTarget.feed, out: tr.toClient.feed, err: errs.take, end: []func() error{tr.end, errs.close}}
	if rule != nil {
		g := &sftpGuard{tr: tr}
		tr.refuse = g.refuse
		nothing := func([]byte) error { return nil }
		t.in, t.out = nothing, nothing
		t.inFilter, t.outFilter = g.toTarget, g.toClient
		return t
	}
	if c.l.recording().Content { // the packets themselves, besides what they mean
		t.in = both(tr.toTarget.feed, func(p []byte) error { return c.l.rec.Input(c.id, p) })
		t.out = both(tr.toClient.feed, func(p []byte) error { return c.l.rec.Output(c.id, 1, p) })
	}
	return t
}

func both(a, b func([]byte) error) func([]byte) error {
	return func(p []byte) error {
		if err := a(p); err != nil {
			return err
		}
		return b(p)
	}
}

// maxRefusals bounds answers of ours that wait for the end of a packet.
const maxRefusals = 1 << 20

// An sftpGuard stands in an SFTP stream: whole requests pass or are answered
// here, between two packets of the target.
type sftpGuard struct {
	tr     *sftpTracker
	mu     sync.Mutex
	client io.Writer
	queued []byte
}

type writerFunc func(p []byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

func (g *sftpGuard) toTarget(dst io.Writer) io.Writer {
	g.tr.toTarget.pass = func(p []byte) error { _, err := dst.Write(p); return err }
	return writerFunc(func(p []byte) (int, error) {
		if err := g.tr.toTarget.feed(p); err != nil {
			return 0, wrapTap(err)
		}
		return len(p), nil
	})
}

func (g *sftpGuard) toClient(dst io.Writer) io.Writer {
	g.mu.Lock()
	g.client = dst
	g.mu.Unlock()
	return writerFunc(func(p []byte) (int, error) {
		g.mu.Lock()
		defer g.mu.Unlock()
		if err := g.tr.toClient.feed(p); err != nil {
			return 0, wrapTap(err)
		}
		if _, err := dst.Write(p); err != nil {
			return 0, err
		}
		if len(g.queued) > 0 && g.tr.toClient.boundary() {
			_, err := dst.Write(g.queued)
			g.queued = nil
			return len(p), err
		}
		return len(p), nil
	})
}

// refuse answers a request in the target's place.
func (g *sftpGuard) refuse(id, code uint32, text string) error {
	b := statusPacket(id, code, text)
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.client != nil && g.tr.toClient.boundary() {
		_, err := g.client.Write(b)
		return err
	}
	if g.queued = append(g.queued, b...); len(g.queued) > maxRefusals {
		return fmt.Errorf("sftp: too many refused requests without reading the answers")
	}
	return nil
}
