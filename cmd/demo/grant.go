package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"jit-gateway/internal/testenv/stack"
)

// grant is .demo/grant TARGET [MINUTES].
func grant(ctx context.Context, dir string, args []string) error {
	if len(args) < 1 || len(args) > 2 {
		return errors.New("usage: grant TARGET [MINUTES]")
	}
	minutes := 60
	if len(args) == 2 {
		var err error
		if minutes, err = strconv.Atoi(args[1]); err != nil || minutes < 1 {
			return fmt.Errorf("%q is not a number of minutes", args[1])
		}
	}
	s, err := running(dir)
	if err != nil {
		return err
	}
	target := withLogin(args[0])
	id, err := s.Grant(ctx, "alice", "bob", target, fmt.Sprintf("%dm", minutes), "asked for with .demo/grant")
	if err != nil {
		return err
	}
	fmt.Fprintf(os.Stderr, "grant %s: %s for %d min\n", id, target, minutes)
	if !strings.HasSuffix(target, "@orders") {
		return nil
	}
	token, err := s.Token(ctx, "alice", target)
	if err != nil {
		return err
	}
	fmt.Println(token)
	return nil
}

// code is .demo/code USER: the user's authenticator app.
func code(dir string, args []string) error {
	if len(args) != 1 {
		return errors.New("usage: code USER")
	}
	s, err := running(dir)
	if err != nil {
		return err
	}
	c, err := s.Code(args[0])
	if err == nil {
		fmt.Println(c)
	}
	return err
}

// running is the stack that up left running.
func running(dir string) (*stack.Stack, error) {
	s, err := stack.Load(dir)
	if err != nil {
		return nil, fmt.Errorf("nothing is set up here; run make up first (%w)", err)
	}
	if !s.Running() {
		return nil, errors.New("the demo's gateway is not running: run make up")
	}
	return s, nil
}

// withLogin adds the usual login to a bare name: the role that may write, so
// that any client can do all that it does.
func withLogin(target string) string {
	switch {
	case strings.Contains(target, "@"):
		return target
	case target == "orders":
		return "orders_rw@orders"
	}
	return "deploy@" + target
}
