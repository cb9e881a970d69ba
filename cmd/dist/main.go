// Command dist makes what is handed out: a tarball and a Debian package for
// this architecture, a bill of materials (CycloneDX), and their SHA-256.
//
// The same commit built with the same Go gives the same bytes: paths are
// trimmed, times are the commit's (SOURCE_DATE_EPOCH), owners are root, and
// nothing depends on the order of a directory.
package main

import (
	"crypto/sha256"
	"encoding/hex"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"
)

func main() {
	out := flag.String("out", "dist", "directory to write to")
	version := flag.String("version", "", "version; from git if empty")
	flag.Parse()
	if err := run(*out, *version); err != nil {
		fmt.Fprintln(os.Stderr, "dist:", err)
		os.Exit(1)
	}
}

func run(out, version string) error {
	if version == "" {
		v, err := git("describe", "--tags", "--always")
		if err != nil {
			return err
		}
		version = v
	}
	when, err := sourceDate()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(out, 0o755); err != nil {
		return err
	}
	work, err := os.MkdirTemp("", "jit-dist-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	binary := filepath.Join(work, "jit-gateway")
	if err := build(binary, version); err != nil {
		return err
	}
	files, err := contents(binary)
	if err != nil {
		return err
	}
	base := filepath.Join(out, fmt.Sprintf("jit-gateway_%s_%s", debVersion(version), runtime.GOARCH))
	made := []string{base + ".tar.gz", base + ".deb", base + ".cdx.json"}
	if err := writeTarball(made[0], "jit-gateway-"+version, files, when); err != nil {
		return err
	}
	libc, err := needsLibc(binary)
	if err != nil {
		return err
	}
	if err := writeDeb(made[1], debVersion(version), libc, files, when); err != nil {
		return err
	}
	if err := writeSBOM(made[2], binary, version, when); err != nil {
		return err
	}
	var sums strings.Builder
	for _, f := range made {
		b, err := os.ReadFile(f)
		if err != nil {
			return err
		}
		sum := sha256.Sum256(b)
		fmt.Fprintf(&sums, "%s  %s\n", hex.EncodeToString(sum[:]), filepath.Base(f))
	}
	fmt.Print(sums.String())
	return os.WriteFile(filepath.Join(out, "SHA256SUMS"), []byte(sums.String()), 0o644)
}

// build makes the program; cgo is for SQLite.
func build(binary, version string) error {
	cmd := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-tags=sqlite_fts5",
		"-ldflags", "-s -w -buildid= -X main.version="+version, "-o", binary, "./cmd/jit-gateway")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=1", "CGO_CFLAGS=-O2 -g0 -ffile-prefix-map="+mustAbs(".")+"=.")
	cmd.Stderr = os.Stderr
	return cmd.Run()
}

func mustAbs(p string) string {
	abs, err := filepath.Abs(p)
	if err != nil {
		return p
	}
	return abs
}

func git(args ...string) (string, error) {
	out, err := exec.Command("git", args...).Output()
	if err != nil {
		return "", fmt.Errorf("git %s: %w", strings.Join(args, " "), err)
	}
	return strings.TrimSpace(string(out)), nil
}

// sourceDate is SOURCE_DATE_EPOCH, else the time of the commit.
func sourceDate() (time.Time, error) {
	s := os.Getenv("SOURCE_DATE_EPOCH")
	if s == "" {
		var err error
		if s, err = git("log", "-1", "--format=%ct"); err != nil {
			return time.Time{}, err
		}
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		return time.Time{}, fmt.Errorf("SOURCE_DATE_EPOCH %q is not seconds since 1970", s)
	}
	return time.Unix(n, 0).UTC(), nil
}

// debVersion begins with a digit, as Debian wants it.
func debVersion(v string) string {
	v = strings.TrimPrefix(v, "v")
	v = strings.ReplaceAll(v, "-", "+")
	if v == "" || v[0] < '0' || v[0] > '9' || !strings.Contains(v, ".") {
		v = "0~" + v
	}
	return v
}

// file is one file of a package: where it goes, where it is.
type file struct {
	path string // from /
	from string
	mode int64
}

// contents are the files of both packages, in order.
func contents(binary string) ([]file, error) {
	files := []file{{"usr/bin/jit-gateway", binary, 0o755}, {"usr/lib/systemd/system/jit-gateway.service", "configs/jit-gateway.service", 0o644},
		{"usr/lib/systemd/system/jit-gateway.socket", "configs/jit-gateway.socket", 0o644}, {"usr/share/doc/jit-gateway/copyright", "LICENSE", 0o644}}
	for _, name := range []string{"README.md", "CHANGELOG.md", "SECURITY.md", "THIRD_PARTY.md"} {
		files = append(files, file{"usr/share/doc/jit-gateway/" + name, name, 0o644})
	}
	for from, to := range map[string]string{"docs": "usr/share/doc/jit-gateway/docs", "configs": "usr/share/jit-gateway/configs"} {
		err := filepath.WalkDir(from, func(path string, d os.DirEntry, err error) error {
			if err != nil || d.IsDir() || filepath.Ext(path) == ".png" {
				return err
			}
			rel, err := filepath.Rel(from, path)
			files = append(files, file{to + "/" + filepath.ToSlash(rel), path, 0o644})
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	slices.SortFunc(files, func(a, b file) int { return strings.Compare(a.path, b.path) })
	return files, nil
}
