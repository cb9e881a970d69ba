package sshproxy

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"path"
	"strconv"
	"strings"

	"jit-gateway/internal/dialogue"
)

// An scpCommand is the far end of a copy by the old scp protocol.
type scpCommand struct {
	Upload bool // scp -t: the client sends
	Path   string
}

func (c scpCommand) needs() string {
	if c.Upload {
		return "write"
	}
	return "read"
}

// parseSCP recognises `scp [-prdv] -t|-f path` with nothing around it. A
// command line that a shell would make more of is a command like any other.
func parseSCP(cmd string) (scpCommand, bool) {
	if strings.ContainsAny(cmd, ";&|<>`$(){}\n\r\x00") {
		return scpCommand{}, false
	}
	words, err := dialogue.Split(cmd)
	if err != nil || len(words) < 3 || words[0] != "scp" {
		return scpCommand{}, false
	}
	var c scpCommand
	direction := 0
	words = words[1:]
	for len(words) > 0 && strings.HasPrefix(words[0], "-") {
		w := words[0]
		words = words[1:]
		if w == "--" {
			break
		}
		for _, f := range w[1:] {
			switch f {
			case 't':
				c.Upload = true
				direction++
			case 'f':
				direction++
			case 'p', 'r', 'd', 'v', 'q':
			default:
				return scpCommand{}, false
			}
		}
	}
	if direction != 1 || len(words) != 1 {
		return scpCommand{}, false
	}
	c.Path = words[0]
	return c, true
}

// An scpFile is one file that passed.
type scpFile struct {
	Path   string
	Bytes  int64
	SHA256 string // empty if the file did not pass whole
	Result string
}

// maxSCPLine bounds a control line: a path of 4096 bytes and its numbers.
const maxSCPLine = 8192

// maxSCPDepth bounds nested directories.
const maxSCPDepth = 256

// An scpParser reads the sending direction of the old scp protocol beside the
// stream. It sees what passes and never holds it up.
type scpParser struct {
	dirs []string // the directory names entered
	base string   // the path on the command line
	line []byte
	name string
	size int64
	left int64 // bytes of the current file still to come
	tail bool  // the byte after a file's content, 0 for success
	sum  hash.Hash
	done func(scpFile) error
}

func newSCPParser(base string, done func(scpFile) error) *scpParser {
	return &scpParser{base: base, done: done, sum: sha256.New()}
}

// Write takes the next bytes of the sender. An error says that the stream is
// not scp.
func (p *scpParser) Write(b []byte) (int, error) {
	n := len(b)
	for len(b) > 0 {
		switch {
		case p.left > 0:
			k := min(int64(len(b)), p.left)
			p.sum.Write(b[:k])
			p.left -= k
			b = b[k:]
			p.tail = p.left == 0
		case p.tail:
			if b[0] == 0 {
				b = b[1:]
				if err := p.finish("ok"); err != nil {
					return n, err
				}
				continue
			}
			p.tail = false // an error line of the sender follows
			if err := p.finish("the sender reported an error"); err != nil {
				return n, err
			}
		default:
			i := bytes.IndexByte(b, '\n')
			part := b
			if i >= 0 {
				part = b[:i]
			}
			if len(p.line) == 0 && len(b) > 0 && b[0] == 0 { // an acknowledgement between files
				b = b[1:]
				continue
			}
			if len(p.line)+len(part) > maxSCPLine {
				return n, errors.New("scp: a control line is too long")
			}
			p.line = append(p.line, part...)
			if i < 0 {
				return n, nil
			}
			b = b[i+1:]
			line := string(p.line)
			p.line = p.line[:0]
			if err := p.control(line); err != nil {
				return n, err
			}
		}
	}
	return n, nil
}

func (p *scpParser) control(line string) error {
	if line == "" {
		return errors.New("scp: an empty control line")
	}
	switch line[0] {
	case 'C', 'D':
		f := strings.SplitN(line[1:], " ", 3)
		if len(f) != 3 || f[2] == "" {
			return errors.New("scp: a malformed control line")
		}
		size, err := strconv.ParseInt(f[1], 10, 64)
		if err != nil || size < 0 {
			return errors.New("scp: a malformed size")
		}
		if line[0] == 'D' {
			if len(p.dirs) >= maxSCPDepth {
				return errors.New("scp: directories too deep")
			}
			p.dirs = append(p.dirs, f[2])
			return nil
		}
		p.name, p.size, p.left = f[2], size, size
		p.tail = size == 0
		p.sum.Reset()
	case 'E':
		if len(p.dirs) == 0 {
			return errors.New("scp: the end of a directory that never began")
		}
		p.dirs = p.dirs[:len(p.dirs)-1]
	case 'T': // times
	case 1, 2: // a warning or an error of the sender
	default:
		return fmt.Errorf("scp: unknown control character %q", line[0])
	}
	return nil
}

func (p *scpParser) finish(result string) error {
	f := scpFile{Path: p.path(), Bytes: p.size, Result: result, SHA256: hex.EncodeToString(p.sum.Sum(nil))}
	p.name, p.tail = "", false
	return p.done(f)
}

// Close tells of a file that was cut off.
func (p *scpParser) Close() error {
	if p.name == "" {
		return nil
	}
	f := scpFile{Path: p.path(), Bytes: p.size - p.left, Result: "cut off"}
	p.name = ""
	return p.done(f)
}

// path is where the file is, as well as the protocol tells: below the path of
// the command line, which is the file itself or the directory it went to.
func (p *scpParser) path() string {
	dir := strings.Join(p.dirs, "/")
	if path.Base(p.base) == p.name && dir == "" {
		return p.base
	}
	return path.Join(p.base, dir, p.name)
}
