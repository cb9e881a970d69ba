package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// sockets are the listening sockets that this process was given, by name:
// from systemd (LISTEN_FDS, sd_listen_fds(3)) or from the process that it
// takes over from. What nobody gave is opened.
type sockets struct {
	given map[string]net.Listener
	used  map[string]net.Listener
}

// firstFD is the first descriptor that is passed (SD_LISTEN_FDS_START).
const firstFD = 3

// givenSockets reads what the environment says, once: children of this
// process must not read it again.
func givenSockets() (*sockets, error) {
	s := &sockets{given: map[string]net.Listener{}, used: map[string]net.Listener{}}
	count, pid, names := os.Getenv("LISTEN_FDS"), os.Getenv("LISTEN_PID"), strings.Split(os.Getenv("LISTEN_FDNAMES"), ":")
	for _, v := range []string{"LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES"} {
		os.Unsetenv(v)
	}
	if count == "" || (pid != strconv.Itoa(os.Getpid()) && pid != handedOver) {
		return s, nil
	}
	n, err := strconv.Atoi(count)
	if err != nil || n < 0 || n > 32 {
		return nil, fmt.Errorf("LISTEN_FDS is %q: not a number of sockets", count)
	}
	for i := range n {
		name := ""
		if i < len(names) {
			name = strings.TrimSuffix(names[i], ".socket")
		}
		unix.CloseOnExec(firstFD + i)
		f := os.NewFile(uintptr(firstFD+i), name)
		ln, err := net.FileListener(f)
		if err := errors.Join(err, f.Close()); err != nil { // the listener has a copy
			return nil, fmt.Errorf("use the socket %q that was passed on descriptor %d: %w", name, firstFD+i, err)
		}
		if s.given[name] != nil {
			return nil, fmt.Errorf("two sockets called %q were passed: FileDescriptorName= in the socket units says which is ssh, postgres, web or metrics", name)
		}
		s.given[name] = ln
	}
	return s, nil
}

// listen returns the socket of that name: the one that was passed, or a new one.
func (s *sockets) listen(name, addr string) (net.Listener, error) {
	ln := s.given[name]
	if ln == nil {
		var err error
		if ln, err = net.Listen("tcp", addr); err != nil {
			return nil, err
		}
	}
	delete(s.given, name)
	s.used[name] = ln
	return ln, nil
}

// rest closes what was passed and is not configured, and names it.
func (s *sockets) rest() []string {
	var names []string
	for name, ln := range s.given {
		ln.Close()
		names = append(names, name)
	}
	clear(s.given)
	return names
}

// files are copies of the sockets in use, for the process that takes over,
// and their names.
func (s *sockets) files() (files []*os.File, names []string, err error) {
	for name, ln := range s.used {
		f, err := copyOf(ln, name)
		if err != nil {
			for _, f := range files {
				f.Close()
			}
			return nil, nil, fmt.Errorf("pass the socket %s on: %w", name, err)
		}
		files, names = append(files, f), append(names, name)
	}
	return files, names, nil
}

// copyOf is a second descriptor of a listening socket. Not by its File method:
// os/exec would make that one block, and the listener with it, since both share
// their flags. Where the successor then fails, Accept would sit in the kernel,
// and Close wait for it until somebody knocks.
func copyOf(ln net.Listener, name string) (*os.File, error) {
	c, ok := ln.(syscall.Conn)
	if !ok {
		return nil, errors.New("it is no socket")
	}
	raw, err := c.SyscallConn()
	if err != nil {
		return nil, err
	}
	var fd int
	var failed error
	if err := raw.Control(func(s uintptr) { fd, failed = unix.FcntlInt(s, unix.F_DUPFD_CLOEXEC, 0) }); err != nil {
		return nil, err
	}
	if failed != nil {
		return nil, os.NewSyscallError("fcntl", failed)
	}
	return os.NewFile(uintptr(fd), name), nil
}
