package main

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"jit-gateway/internal/config"
	"jit-gateway/internal/notify"
)

// A first start needs no editing: init, and what it says.
func TestInit(t *testing.T) {
	dir := t.TempDir()
	conf, data := filepath.Join(dir, "jit-gateway.yaml"), filepath.Join(dir, "data")
	gateway := func(want int, args ...string) string {
		t.Helper()
		var out bytes.Buffer
		if code := run(t.Context(), append([]string{"--config", conf}, args...), strings.NewReader(""), &out, &out); code != want {
			t.Fatalf("%q: status %d, want %d\n%s", args, code, want, out.String())
		}
		return out.String()
	}
	first := gateway(0, "init", "--data", data, "--admin", "dora")
	if !regexp.MustCompile(`enroll@jit-gateway enroll [0-9A-Z]{26}\n`).MatchString(first) || strings.Count(first, "SHA256:") != 2 {
		t.Errorf("the first init says\n%s", first)
	}
	if again := gateway(0, "init", "--data", data, "--admin", "dora"); !strings.Contains(again, "There are users already") {
		t.Errorf("the second init says\n%s", again)
	}
	gateway(0, "config", "check")

	// Nobody else may read a key, and init does not look away.
	keys, err := filepath.Glob(filepath.Join(data, "keys", "ca", "*.key"))
	if err != nil || len(keys) < 5 {
		t.Fatalf("keys: %v, %v", keys, err)
	}
	for _, path := range append(keys, filepath.Join(data, "keys", "seal.key"), filepath.Join(data, "keys", "audit.key"), filepath.Join(data, "jit-gateway.db")) {
		if st, err := os.Stat(path); err != nil || st.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", path, st.Mode(), err)
		}
	}
	check(t, os.Chmod(keys[0], 0o640))
	if text := gateway(1, "init", "--data", data, "--admin", "dora"); !strings.Contains(text, keys[0]+" can be read by others (mode 0640): make it 0600") {
		t.Errorf("a key that others can read: %s", text)
	}
	check(t, os.Chmod(keys[0], 0o600))
	check(t, os.Chmod(data, 0o755))
	if text := gateway(1, "init", "--data", data, "--admin", "dora"); !strings.Contains(text, "chmod 700 "+data) {
		t.Errorf("a data directory that others can read: %s", text)
	}
}

// What the first configuration has as comments is good as it stands, once the
// comment signs are taken away and the key is a key.
func TestInitCommentsHold(t *testing.T) {
	text := strings.NewReplacer("{{.Name}}", "jit.example.org", "{{.Data}}", "/var/lib/jit-gateway", "targets: []", "targets:", "rules: []", "rules:",
		"ssh-ed25519 AAAA…", "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIF1pgVriediQYeWzWA/M7pVfo/qqKFwNYndb26ZxN2FM").Replace(configTemplate)
	commented := regexp.MustCompile(`(?m)^# (\s|\w+:)`)
	if n := len(commented.FindAllString(text, -1)); n < 40 {
		t.Fatalf("only %d lines are commented", n)
	}
	text = commented.ReplaceAllString(text, "$1")
	c, err := config.Parse("jit-gateway.yaml", []byte(text))
	check(t, err)
	if len(c.Targets) != 2 || len(c.Rules) != 1 || c.OIDC == nil || c.SCIM == nil || c.Tickets == nil || c.TLS.ACME == nil || len(c.Notify.Channels) != 1 || len(c.Machines.Issuers) != 1 || c.Public.SSHPort != 22 {
		t.Errorf("not everything was taken: %+v", c)
	}
}

// The configuration's errors name what channels can be limited to; what there
// is, is elsewhere.
func TestChannelsAreAboutWhatThereIs(t *testing.T) {
	var want []string
	for _, a := range notify.Abouts {
		want = append(want, string(a))
	}
	if got := config.Abouts(); !slices.Equal(got, want) {
		t.Errorf("the configuration takes %q, messages are about %q", got, want)
	}
}
