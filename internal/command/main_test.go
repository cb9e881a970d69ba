package command

import (
	"fmt"
	"os"
	"testing"

	testworld "jit-gateway/internal/testenv/world"
)

// TestMain starts what the packages below share and start once, outside of
// any bubble.
func TestMain(m *testing.M) {
	if err := testworld.Warm(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}
