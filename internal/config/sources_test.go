package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestSourcesAndTrust(t *testing.T) {
	const ca = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIF1pgVriediQYeWzWA/M7pVfo/qqKFwNYndb26ZxN2FM"
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "known_hosts"), []byte("[192.0.2.9]:2222 "+ca+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := Parse(filepath.Join(dir, "jit-gateway.yaml"), []byte(`name: gw
targets:
  - name: web01.prod.example
    ssh: {address: 192.0.2.1, logins: [deploy]}
  - name: lab
    ssh: {address: "192.0.2.9:2222", logins: [deploy]}
sources:
  - {name: fleet, kind: files, path: targets.d/*.yaml}
  - name: cmdb
    kind: https
    url: https://cmdb.example/targets
    token: env:CMDB
    every: 1m
    defaults:
      ssh: {logins: [deploy], principals: scoped}
      postgres: {address: "{name}.db.example", admin_user: jit, admin_password: env:DB, ca_file: db-ca.pem}
trust:
  - match: ["*.prod.example"]
    host_cas: ["`+ca+`"]
  - known_hosts: known_hosts
`))
	if err != nil {
		t.Fatal(err)
	}
	if c.Targets[0].SSH.HostCAs[0] != ca || c.Targets[1].SSH.HostKeys[0] != ca {
		t.Errorf("trust did not fill: %+v, %+v", *c.Targets[0].SSH, *c.Targets[1].SSH)
	}
	if c.Sources[0].Path != filepath.Join(dir, "targets.d/*.yaml") || c.Sources[1].Defaults.Postgres.CAFile != filepath.Join(dir, "db-ca.pem") {
		t.Errorf("paths are not relative to the file: %+v", c.Sources)
	}
	for text, want := range map[string]string{
		"sources:\n  - {name: a, kind: ldap}\n":                                            ":3: sources[0].kind",
		"sources:\n  - {name: a, kind: csv, path: x}\n  - {name: a, kind: csv, path: y}\n": ":4: sources[1].name",
		"sources:\n  - {name: a, kind: https, url: https://x/, token: hunter2}\n":          "sources[0].token: secrets are not written here",
		"trust:\n  - {match: [\"*\"], known_hosts: x}\n":                                   "trust[0].match[0]",
		"trust:\n  - {known_hosts: not-there}\n":                                           "trust: read known_hosts",
		"targets:\n  - name: web\n    ssh: {address: a, logins: [b]}\n":                    "never trusts on first use",
	} {
		if _, err := Parse(filepath.Join(dir, "x.yaml"), []byte("name: gw\n"+text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		} else if strings.Contains(err.Error(), "hunter2") {
			t.Errorf("the error shows a secret: %v", err)
		}
	}
}
