// Command demo sets up a gateway on this machine with a real sshd and a real
// PostgreSQL behind it, all on loopback and below .demo, and shows what it is
// for. `make demo`, `make up` and `make down` call it.
//
// Usage:
//
//	demo demo                     set up, walk the whole story, stop
//	demo up                       set up and leave it running
//	demo down                     stop what up left running
//	demo grant TARGET [MINUTES]   open a window: alice asks, bob approves, alice's code activates
//	demo code USER                what the user's authenticator shows, each code once
//	demo picture FILE.svg         draw alice's terminal in a real run, for the README
//
// JIT_DEMO_DIR is used instead of .demo. Start reading at up.go; walk.go tells
// the story.
package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"jit-gateway/internal/testenv/stack"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:])
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	if len(args) == 0 {
		args = []string{"help"}
	}
	dir, err := demoDir()
	if err != nil {
		return err
	}
	switch args[0] {
	case "demo":
		return demo(ctx, dir)
	case "up":
		return up(ctx, dir)
	case "down":
		return down(dir)
	case "grant":
		return grant(ctx, dir, args[1:])
	case "code":
		return code(dir, args[1:])
	case "picture":
		if len(args) != 2 {
			return errors.New("say picture FILE.svg")
		}
		return picture(ctx, dir, args[1])
	}
	return errors.New("say demo, up, down, grant TARGET [MINUTES], or code USER")
}

func demoDir() (string, error) {
	dir := ".demo"
	if d := os.Getenv("JIT_DEMO_DIR"); d != "" {
		dir = d
	}
	dir, err := filepath.Abs(dir)
	if err == nil && strings.ContainsAny(dir, " \t\"'%") {
		err = fmt.Errorf("%s: in sshd_config blanks, quotes and percent signs do not stand for themselves; set JIT_DEMO_DIR to a plain path", dir)
	}
	return dir, err
}

// program finds the gateway beside this one.
func program() (string, error) {
	self, err := os.Executable()
	if err != nil {
		return "", err
	}
	path := filepath.Join(filepath.Dir(self), "jit-gateway")
	if _, err := os.Stat(path); err != nil {
		return "", fmt.Errorf("the gateway is not built: %w; run make build", err)
	}
	return path, nil
}

// clear stops what an earlier run left, also one that crashed, and removes it.
func clear(dir string) error {
	old, err := stack.Load(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil: // unreadable: nothing can be said about its processes
	default:
		if old.Running() {
			fmt.Println("Stopping the gateway that was left running.")
		}
		if err := old.Down(); err != nil {
			return err
		}
	}
	return stack.Remove(dir)
}

func down(dir string) error {
	s, err := stack.Load(dir)
	if errors.Is(err, fs.ErrNotExist) {
		fmt.Println("Nothing is running here.")
		return nil
	}
	if err != nil {
		return err
	}
	was := s.Running()
	if err := s.Down(); err != nil {
		return err
	}
	if was {
		fmt.Printf("Stopped. Recordings and logs are in %s until the next start.\n", rel(dir))
	} else {
		fmt.Println("Nothing is running here.")
	}
	return nil
}

// rel is a path as a person at the prompt would write it.
func rel(path string) string {
	wd, err := os.Getwd()
	if err != nil {
		return path
	}
	if r, err := filepath.Rel(wd, path); err == nil && len(r) < len(path) {
		return r
	}
	return path
}

const setupLimit = 90 * time.Second
