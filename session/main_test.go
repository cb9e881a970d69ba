package session_test

import (
	"fmt"
	"os"
	"strconv"
	"testing"

	"jit-gateway/internal/testenv/world"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv("SESSION_TEST_CRASH"); dir != "" {
		if n, err := strconv.ParseInt(os.Getenv("SESSION_TEST_KILL_AT"), 10, 64); err == nil {
			liveAndDie(dir, n) // does not return
		}
		crash(dir) // does not return
	}
	if err := world.Warm(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}
