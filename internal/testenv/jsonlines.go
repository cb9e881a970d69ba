package testenv

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// Teller is a process that tells what happens to it as lines of JSON, the
// first of which is {"port": N}.
type Teller struct {
	t    testing.TB
	p    *Process
	Port int
}

// StartTeller starts one with Debian's own python3, and waits for its port. It
// ends with the test.
func StartTeller(t testing.TB, script string, args ...string) *Teller {
	t.Helper()
	c := Command{Name: filepath.Base(script), Args: append([]string{"/usr/bin/python3", script}, args...), Log: filepath.Join(t.TempDir(), "told")}
	p, err := c.Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Stop(syscall.SIGTERM) })
	s := &Teller{t: t, p: p}
	var first struct{ Port int }
	s.decode(s.Wait(1)[0], &first)
	s.Port = first.Port
	return s
}

// Lines are the whole lines told so far.
func (s *Teller) Lines() [][]byte {
	s.t.Helper()
	b, err := os.ReadFile(s.p.Log)
	if err != nil {
		s.t.Fatal(err)
	}
	lines := bytes.SplitAfter(b, []byte("\n"))
	return lines[:len(lines)-1] // the last one is not finished
}

// Wait waits until there are n lines, and returns all there are.
func (s *Teller) Wait(n int) [][]byte {
	s.t.Helper()
	for end := time.Now().Add(60 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		lines := s.Lines()
		if len(lines) >= n {
			return lines
		}
		select {
		case <-s.p.Done():
			s.t.Fatalf("%s ended: %v\n%s", s.p.Name, s.p.Err(), bytes.Join(s.Lines(), nil))
		default:
		}
		if time.Now().After(end) {
			s.t.Fatalf("%s told %d lines, want %d:\n%s", s.p.Name, len(lines), n, bytes.Join(lines, nil))
		}
	}
}

// Decode decodes line n, counted from 1 after that of the port.
func (s *Teller) Decode(n int, into any) {
	s.t.Helper()
	s.decode(s.Wait(n + 1)[n], into)
}

func (s *Teller) decode(line []byte, into any) {
	s.t.Helper()
	if err := json.Unmarshal(line, into); err != nil {
		s.t.Fatalf("%s told %q: %v", s.p.Name, line, err)
	}
}
