package command

import (
	"context"
	"fmt"
	"os"
	"testing"

	testworld "jit-gateway/internal/testenv/world"
)

// TestMain is the local client where a test wants one in a terminal. Otherwise
// it starts what the packages below share and start once, outside of any bubble.
func TestMain(m *testing.M) {
	if path := os.Getenv("COMMAND_TEST_SOCKET"); path != "" { // this is the local client, in a terminal
		os.Exit(Call(context.Background(), path, os.Args[1:], Stdio{In: os.Stdin, Out: os.Stdout, Err: os.Stderr}))
	}
	if err := testworld.Warm(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}
