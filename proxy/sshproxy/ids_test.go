package sshproxy

import (
	"context"
	"testing"
	"testing/synctest"
)

// An id is known as long as its connection lives, however many others come.
func TestSessionIDsLiveWithTheirConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var ids sessionIDs
		ctx, cancel := context.WithCancel(t.Context())
		ids.hold(ctx, []byte("mine"))
		for i := range 1 << 17 {
			ids.hold(t.Context(), []byte{byte(i >> 16), byte(i >> 8), byte(i)})
		}
		if !ids.has([]byte("mine")) || ids.has([]byte("other")) {
			t.Error("a live id was forgotten, or one made up")
		}
		cancel()
		synctest.Wait()
		if ids.has([]byte("mine")) {
			t.Error("kept after its end")
		}
	})
}
