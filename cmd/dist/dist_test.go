package main

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestPackagesAreReproducibleAndReadable(t *testing.T) {
	t.Chdir("../..")
	self, err := os.Executable() // any Go program does, and this one is built already
	if err != nil {
		t.Fatal(err)
	}
	files, err := contents("Makefile") // in place of the program, which takes long to compress
	if err != nil {
		t.Fatal(err)
	}
	when := time.Unix(1_700_000_000, 0).UTC()
	write := func(dir string) map[string][]byte {
		t.Helper()
		out := map[string][]byte{}
		for name, f := range map[string]func(string) error{
			"x.deb":    func(p string) error { return writeDeb(p, "1.0", "2.34", files, when) },
			"x.tar.gz": func(p string) error { return writeTarball(p, "jit-gateway-1.0", files, when) },
			"x.json":   func(p string) error { return writeSBOM(p, self, "1.0", when) },
		} {
			path := filepath.Join(dir, name)
			if err := f(path); err != nil {
				t.Fatal(err)
			}
			b, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			out[name] = b
		}
		return out
	}
	dir := t.TempDir()
	first, second := write(dir), write(t.TempDir())
	for name, b := range first {
		if !bytes.Equal(b, second[name]) {
			t.Errorf("%s differs between two runs", name)
		}
	}
	run := func(name string, args ...string) string {
		t.Helper()
		out, err := exec.Command(name, args...).CombinedOutput()
		if err != nil {
			t.Fatalf("%s %v: %v: %s", name, args, err, out)
		}
		return string(out)
	}
	info := run("dpkg-deb", "--info", filepath.Join(dir, "x.deb"))
	list := run("dpkg-deb", "--contents", filepath.Join(dir, "x.deb"))
	for text, want := range map[string]string{info: "Package: jit-gateway", list: "-rwxr-xr-x root/root"} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not in %s", want, text)
		}
	}
	root := filepath.Join(dir, "root")
	run("dpkg-deb", "-x", filepath.Join(dir, "x.deb"), root)
	for _, f := range []string{"usr/bin/jit-gateway", "usr/lib/systemd/system/jit-gateway.service", "usr/share/doc/jit-gateway/copyright", "usr/share/jit-gateway/configs/small-team.yaml", "usr/share/doc/jit-gateway/docs/rules.md"} {
		if _, err := os.Stat(filepath.Join(root, f)); err != nil {
			t.Error(err)
		}
	}
	if out := run("tar", "-tzf", filepath.Join(dir, "x.tar.gz")); !strings.Contains(out, "jit-gateway-1.0/jit-gateway\n") || !strings.Contains(out, "jit-gateway-1.0/README.md\n") || !strings.Contains(out, "jit-gateway-1.0/LICENSE\n") {
		t.Errorf("the tarball has %s", out)
	}
	var b bom
	if err := json.Unmarshal(first["x.json"], &b); err != nil || b.Format != "CycloneDX" || len(b.Components) < 1 {
		t.Errorf("the bill of materials: %v, %d components", err, len(b.Components))
	}
}

// TestMaintainerScripts: they are what a shell can run, and removing the package
// stops the gateway, while an upgrade does not.
func TestMaintainerScripts(t *testing.T) {
	t.Chdir("../..")
	dir := t.TempDir()
	files, err := contents("Makefile")
	if err != nil {
		t.Fatal(err)
	}
	deb := filepath.Join(dir, "x.deb")
	if err := writeDeb(deb, "1.0", "2.34", files, time.Unix(1_700_000_000, 0)); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("dpkg-deb", "-e", deb, filepath.Join(dir, "ctl")).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for _, name := range []string{"postinst", "prerm", "postrm"} {
		path := filepath.Join(dir, "ctl", name)
		if out, err := exec.Command("sh", "-n", path).CombinedOutput(); err != nil {
			t.Errorf("%s: %v: %s", name, err, out)
		}
		// What it would do on a machine with systemd: every program is an echo.
		script, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		test := strings.ReplaceAll(string(script), "/run/systemd/system", dir)
		for arg, stops := range map[string]bool{"remove": name == "prerm", "upgrade": false} {
			cmd := exec.Command("sh", "-c", "systemctl() { echo systemctl \"$@\"; }\n"+test, name, arg)
			out, err := cmd.CombinedOutput()
			if err != nil || strings.Contains(string(out), "disable --now") != stops {
				t.Errorf("%s %s: %v: %s", name, arg, err, out)
			}
		}
	}
}

func TestNeedsLibc(t *testing.T) {
	if compareVersions("2.4", "2.34") >= 0 || compareVersions("2.34", "2.3.4") <= 0 || compareVersions("2.2.5", "2.2.5") != 0 {
		t.Error("versions of glibc are compared as text")
	}
	sh, err := exec.LookPath("sh")
	if err != nil {
		t.Fatal(err)
	}
	if v, err := needsLibc(sh); err != nil || compareVersions(v, "2.2") < 0 {
		t.Errorf("%s needs glibc %q, %v", sh, v, err)
	}
}

func TestDebianVersions(t *testing.T) {
	for in, want := range map[string]string{"v1.2.3": "1.2.3", "v1.2.3-4-gabc": "1.2.3+4+gabc", "a972a63": "0~a972a63", "7c73b74": "0~7c73b74"} {
		if got := debVersion(in); got != want {
			t.Errorf("%s is %s, want %s", in, got, want)
		}
	}
}
