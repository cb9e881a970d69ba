package config

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestEveryExampleLoads holds configs/ to the code.
func TestEveryExampleLoads(t *testing.T) {
	files, err := filepath.Glob("../../configs/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no example configuration found: %v", err)
	}
	for _, f := range files {
		if strings.Contains(f, "prometheus") {
			continue // alert rules for Prometheus, not ours to read
		}
		if _, err := Load(f); err != nil {
			t.Errorf("%s: %v", f, err)
		}
	}
}

const hostKey = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIF1pgVriediQYeWzWA/M7pVfo/qqKFwNYndb26ZxN2FM"

const good = `name: jit-gateway
data_dir: data
targets:
  - name: web01
    ssh:
      address: 127.0.0.1:22
      logins: [deploy]
      host_keys: ["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIF1pgVriediQYeWzWA/M7pVfo/qqKFwNYndb26ZxN2FM"]
  - name: orders
    postgres:
      address: 127.0.0.1
      database: orders
      roles: [orders_ro]
      tls: disable
      admin_user: jit
      admin_password: env:ORDERS
rules:
  - name: all
    groups: [sre]
    max_duration: 8h
    approve: [{groups: [leads]}]
`

func TestPathsAreRelativeToTheFile(t *testing.T) {
	c, err := Parse("/etc/jit/jit-gateway.yaml", []byte(good))
	if err != nil {
		t.Fatal(err)
	}
	if c.DataDir != "/etc/jit/data" || c.Store.Path != "/etc/jit/data/jit-gateway.db" || c.Recording.Dir != "/etc/jit/data/recordings" {
		t.Errorf("got %q, %q, %q", c.DataDir, c.Store.Path, c.Recording.Dir)
	}
	if c.Targets[0].Kind != "ssh" || c.Targets[1].Kind != "postgres" || c.Targets[1].Source != "config" {
		t.Errorf("kinds were not completed: %+v", c.Targets)
	}
}

// TestErrorsNameFileLineAndField: each case changes one line of the good file.
func TestErrorsNameFileLineAndField(t *testing.T) {
	for _, c := range []struct{ old, new, want string }{
		{"name: jit-gateway", "nam: jit-gateway", `f.yaml:1: nam: unknown field; did you mean "name"?`},
		{"data_dir: data", "data_dir: [data]", "f.yaml:2: data_dir: needs text, not a list"},
		{"logins: [deploy]", "logins: deploy", `f.yaml:7: targets[0].ssh.logins: needs a list such as [a, b], not "deploy"`},
		{"logins: [deploy]", "logins: [\"a b\"]", `f.yaml:7: targets[0].ssh.logins[0]: "a b" is not a login name`},
		{"max_duration: 8h", "max_duration: 8 hours", `f.yaml:20: rules[0].max_duration: `},
		{"max_duration: 8h", "max_duration: -1h", `f.yaml:20: rules[0].max_duration: `},
		{"    approve: [{groups: [leads]}]\n", "", `rules[0].approve: `},
		{"admin_password: env:ORDERS", "admin_password: hunter2", "f.yaml:16: targets[1].postgres.admin_password: secrets are not written here"},
		{"  - name: orders", "  - name: web01", `f.yaml:9: targets[1]: "web01" is already a name or alias of "web01"`},
		{"tls: disable", "tls: maybe", `f.yaml:14: targets[1].postgres.tls: "maybe"`},
		{"data_dir: data", "data_dir: data\nlimits: {connections: 0}", "f.yaml:3: limits.connections: must be at least 1"},
		{"data_dir: data", "data_dir: data\nlimits: {connections: many}", `f.yaml:3: limits.connections: "many" is not a whole number`},
		{"data_dir: data", "data_dir: data\nlimits: {wait: 15}", `f.yaml:3: limits.wait: "15" is not a duration`},
		{"data_dir: data", "data_dir: data\nlisten: {ssh: 2222}", `f.yaml:3: listen.ssh: "2222" is not host:port`},
		{"data_dir: data", "data_dir: data\negress: [here]", `f.yaml:3: egress[0]: `},
		{"data_dir: data", "data_dir: data\npublic: {host_pattern: '*'}", `f.yaml:3: public.host_pattern: "*" covers every host`},
		{"data_dir: data", "data_dir: data\ndata_dir: other", "f.yaml:3: data_dir: given twice, first on line 2"},
		{"data_dir: data", "data_dir: data\nsinks: [{name: a, kind: carrier-pigeon}]", `f.yaml:3: sinks[0].kind: "carrier-pigeon"`},
		{"data_dir: data", "data_dir: data\nsinks: [{name: a, kind: webhook, url: 'http://siem.example/x', secret: env:X}]", "f.yaml:3: sinks[0].url: "},
		{"data_dir: data", "data_dir: data\nsinks: [{name: a, kind: webhook, url: 'https://siem.example/x', secret: abc}]", "f.yaml:3: sinks[0].secret: secrets are not"},
		{"data_dir: data", "data_dir: data\nproxy_from: [here]", `f.yaml:3: proxy_from[0]: "here" is not a network such as 192.0.2.0/24`},
		{"data_dir: data", "data_dir: data\nlisten: {ssh: ':22', web: ':22'}", `f.yaml:3: listen.web: ":22" is taken by listen.ssh`},
		{"data_dir: data", "data_dir: data\nlimits: {drain: -1s}", `f.yaml:3: limits.drain: -1s`},
		{"data_dir: data", "data_dir: data\nroles: {admins: []}", `f.yaml:3: roles.admins: name a group`},
		{"address: 127.0.0.1:22", "address: 127.0.0.1:99999", `f.yaml:6: targets[0].ssh.address: "127.0.0.1:99999" has no port`},
		{"address: 127.0.0.1:22", "address: 'web01:'", `f.yaml:6: targets[0].ssh.address: "web01:" has no port`},
		{"targets:\n", "targets:\n  - {name: a, ssh: {address: a, logins: [x], via: b, host_keys: [" + hostKey + "]}}\n  - {name: b, ssh: {address: b, logins: [x], via: a, host_keys: [" + hostKey + "]}}\n",
			`f.yaml:4: targets[0].ssh.via: "b" leads back`},
		{"data_dir: data", "data_dir: /" + strings.Repeat("x", 92), "f.yaml:2: data_dir: /xxx"},
		{"data_dir: data", "data_dir: 'data", "f.yaml:"},
		{"data_dir: data", "data_dir: data\n\tlisten: x", "f.yaml:2: found a tab"},
		{"data_dir: data", "data_dir: data\n---\nrules: []", "f.yaml:3: a second document begins here"},
	} {
		text := strings.Replace(good, c.old, c.new, 1)
		if text == good {
			t.Fatalf("%q is not in the good file", c.old)
		}
		_, err := Parse("f.yaml", []byte(text))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s:\n got %v\nwant %s", c.new, err, c.want)
		}
	}
}

// One address is a network, too.
func TestAddressesAreNetworks(t *testing.T) {
	c, err := Parse("f.yaml", []byte("proxy_from: [192.0.2.7, '2001:db8::1', 198.51.100.0/24]\n"))
	if err != nil || fmt.Sprint(c.ProxyFrom) != "[192.0.2.7/32 2001:db8::1/128 198.51.100.0/24]" {
		t.Errorf("%v, %v", c, err)
	}
}

// TestG8InlineSecretIsNotRepeated: a refused secret must not reach a log.
func TestG8InlineSecretIsNotRepeated(t *testing.T) {
	_, err := Parse("f.yaml", []byte(strings.Replace(good, "env:ORDERS", "hunter2", 1)))
	if err == nil || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("got %v", err)
	}
}

func TestAllErrorsAtOnce(t *testing.T) {
	_, err := Parse("f.yaml", []byte("nam: x\ndata: y\n"))
	var first *Error
	if !errors.As(err, &first) || strings.Count(err.Error(), "unknown field") != 2 {
		t.Errorf("got %v", err)
	}
}

func TestSecretReferences(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "password")
	if err := os.WriteFile(path, []byte("s3cret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err := Secret("file:" + path); err != nil || got != "s3cret" {
		t.Errorf("file: got %q, %v", got, err)
	}
	t.Setenv("JIT_TEST_SECRET", "from-env")
	if got, err := Secret("env:JIT_TEST_SECRET"); err != nil || got != "from-env" {
		t.Errorf("env: got %q, %v", got, err)
	}
	t.Setenv("CREDENTIALS_DIRECTORY", dir)
	if got, err := Secret("credential:password"); err != nil || got != "s3cret" {
		t.Errorf("credential: got %q, %v", got, err)
	}
	for _, ref := range []string{"credential:../password", "file:" + path + "x", "env:JIT_NOT_SET", "s3cret", ""} {
		if got, err := Secret(ref); err == nil {
			t.Errorf("%q: got %q, want an error", ref, got)
		} else if strings.Contains(err.Error(), "s3cret") && ref != "s3cret" {
			t.Errorf("%q: the error shows the secret", ref)
		}
	}
}

// TestG8SecretFilesThatOthersMayReadAreRefused: the sealing key is one of them.
func TestG8SecretFilesThatOthersMayReadAreRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "seal.key")
	if err := os.WriteFile(path, []byte("s3cret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, mode := range []os.FileMode{0o640, 0o604, 0o620, 0o601} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		if _, err := Secret("file:" + path); err == nil || !strings.Contains(err.Error(), "chmod 600 "+path) || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("mode %04o: got %v", mode, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(good))
	f.Add([]byte("rules: [{when: 1, hours: {days: [x]}}]"))
	f.Add([]byte("targets: {a: b}"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		if c, err := Parse("f.yaml", raw); (c == nil) == (err == nil) {
			t.Errorf("got %v and %v", c, err)
		}
	})
}

func TestPolicyCases(t *testing.T) {
	dir := t.TempDir()
	write := func(text string) string {
		p := filepath.Join(dir, "cases.yaml")
		if err := os.WriteFile(p, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return p
	}
	cases, err := LoadCases(write("cases:\n  - {user: alice, groups: [sre], target: web01, want: allow, at: '2026-03-29T02:30:00+01:00'}\n"))
	if err != nil || len(cases) != 1 || cases[0].Line != 2 {
		t.Fatalf("got %+v, %v", cases, err)
	}
	for text, want := range map[string]string{
		"cases: []\n": "there are none",
		"cases:\n  - {user: alice, target: web01, want: yes}\n":                 ":2: cases[0].want:",
		"cases:\n  - {user: alice, want: deny}\n":                               "needs user and target",
		"cases:\n  - {user: alice, target: web01, want: deny, at: tomorrow}\n":  "cases[0].at",
		"cases:\n  - {user: alice, target: web01, want: deny, durration: 1h}\n": `did you mean "duration"`,
	} {
		if _, err := LoadCases(write(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want %s", text, err, want)
		}
	}
}
