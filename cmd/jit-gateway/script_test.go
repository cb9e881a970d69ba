package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"jit-gateway/internal/testenv/stories"
)

// TestMain makes this test binary the program: stories run it as jit-gateway.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"jit-gateway": program})
}

// program is main with a clock that a test can move: JIT_TEST_CLOCK names a
// file that says by how much, such as 1h.
func program() {
	if file := os.Getenv("JIT_TEST_CLOCK"); file != "" {
		now = func() time.Time {
			text, _ := os.ReadFile(file)
			off, _ := time.ParseDuration(strings.TrimSpace(string(text)))
			return time.Now().UTC().Add(off)
		}
	}
	main()
}

// TestStories tells each file of testdata/script with the real ssh, sshd, psql
// and PostgreSQL. Package stories says which commands they have beyond
// testscript's own.
func TestStories(t *testing.T) {
	for _, program := range []string{"ssh", "scp", "sftp", "rsync", "psql", "/usr/sbin/sshd"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Fatalf("the stories need %s: %v; testdata/deps.sh test installs it", program, err)
		}
	}
	dir := filepath.Join("..", "..", "testdata", "script")
	if files, err := os.ReadDir(dir); err != nil || len(files) == 0 {
		t.Fatalf("no stories in %s: %v", dir, err)
	}
	testscript.Run(t, testscript.Params{Dir: dir, Setup: stories.Setup, Cmds: stories.Commands(), RequireExplicitExec: true, RequireUniqueNames: true})
}
