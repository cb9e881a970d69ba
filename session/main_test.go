package session_test

import (
	"fmt"
	"os"
	"testing"

	"jit-gateway/internal/testenv/world"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv("SESSION_TEST_CRASH"); dir != "" {
		crash(dir) // does not return
	}
	if err := world.Warm(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}
