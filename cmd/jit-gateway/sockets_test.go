package main

import (
	"net"
	"os/exec"
	"testing"
	"time"
)

// A successor that does not come up leaves the listeners as they were: they
// can be closed while nobody knocks.
func TestSocketsSurviveAFailedSuccessor(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &sockets{used: map[string]net.Listener{"ssh": ln}}
	files, names, err := s.files()
	if err != nil || len(files) != 1 || names[0] != "ssh" {
		t.Fatal(files, names, err)
	}
	cmd := exec.Command("false")
	cmd.ExtraFiles = files
	if cmd.Run() == nil {
		t.Fatal("false succeeded")
	}
	if err := files[0].Close(); err != nil {
		t.Error(err)
	}
	accepted := make(chan error, 2)
	go func() { // the first waits for the poller, the second asks the kernel
		for range 2 {
			c, err := ln.Accept()
			if err == nil {
				c.Close()
			}
			accepted <- err
		}
	}()
	c, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
	if err := <-accepted; err != nil {
		t.Fatal(err)
	}
	closed := make(chan error, 1)
	go func() {
		time.Sleep(50 * time.Millisecond) // most likely the second Accept waits by now
		closed <- ln.Close()
	}()
	select {
	case err := <-closed:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("the listener cannot be closed")
	}
	if <-accepted == nil {
		t.Error("a closed listener accepts")
	}
}
