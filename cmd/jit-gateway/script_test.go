package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"jit-gateway/internal/testenv/stories"
)

// TestMain makes this test binary the program: stories run it as jit-gateway.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"jit-gateway": main})
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
