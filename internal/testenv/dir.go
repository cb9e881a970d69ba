package testenv

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

// Dir returns a new directory that fixtures of every user can reach, removed
// with the test. t.TempDir will not do: as root, sshd's logins and PostgreSQL
// are other users, and every directory above theirs must let them through.
func Dir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "jit-test-")
	if err != nil {
		t.Fatalf("make a fixture directory: %v", err)
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatalf("open the fixture directory to its users: %v", err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Errorf("remove the fixture directory: %v", err)
		}
	})
	return dir
}

// Reachable reports whether any user may walk to path: whether every
// directory down to it has the execute bit for others.
func Reachable(path string) bool {
	path, err := filepath.Abs(path)
	if err != nil {
		return false
	}
	for {
		fi, err := os.Stat(path)
		if err == nil && fi.IsDir() && fi.Mode()&0o001 == 0 {
			return false
		}
		parent := filepath.Dir(path)
		if parent == path {
			return true
		}
		path = parent
	}
}

func writeFiles(dir string, mode os.FileMode, files map[string]string) error {
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(path, []byte(text), mode); err != nil {
			return fmt.Errorf("write fixture file: %w", err)
		}
	}
	return nil
}
