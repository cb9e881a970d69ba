package inventory

import (
	"strings"
	"testing"
)

const key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ1uXrVfW3yTnk4sVv9Yc6oGNYH3W0bP0Q9d8b6S8l3B"

func web01() Target {
	return Target{Name: "web01", Kind: SSH, SSH: &SSHTarget{Address: "127.0.0.1:22", Logins: []string{"deploy"}, HostKeys: []string{key}}}
}

func TestValidateNamesTheField(t *testing.T) {
	if errs := web01().Validate(); len(errs) > 0 {
		t.Fatalf("a good target was refused: %v", errs)
	}
	pg := Target{Name: "orders", Kind: Postgres, Postgres: &PostgresTarget{
		Address: "127.0.0.1", Database: "orders", Roles: []string{"orders_ro"}, AdminUser: "jit_admin", TLS: "disable"}}
	if errs := pg.Validate(); len(errs) > 0 {
		t.Fatalf("a good target was refused: %v", errs)
	}
	for field, change := range map[string]func(*Target){
		"name":             func(t *Target) { t.Name = "Web 01" },
		"ssh.address":      func(t *Target) { t.SSH.Address = "" },
		"ssh.logins":       func(t *Target) { t.SSH.Logins = nil },
		"ssh.logins[0]":    func(t *Target) { t.SSH.Logins = []string{"deploy,root"} },
		"ssh.host_keys":    func(t *Target) { t.SSH.HostKeys = nil },
		"ssh.host_keys[0]": func(t *Target) { t.SSH.HostKeys = []string{"nonsense"} },
		"ssh.principals":   func(t *Target) { t.SSH.Principals = "any" },
		"kind":             func(t *Target) { t.Kind = Postgres },
		"labels.role":      func(t *Target) { t.Labels = map[string]string{"role": "a b"} },
		"aliases[0]":       func(t *Target) { t.Aliases = []string{"A"} },
	} {
		target := web01()
		change(&target)
		errs := target.Validate()
		if len(errs) != 1 || errs[0].Field != field {
			t.Errorf("%s: got %v", field, errs)
		}
	}
	pg.Postgres.Address = "10.1.2.3"
	if errs := pg.Validate(); len(errs) != 1 || errs[0].Field != "postgres.tls" {
		t.Errorf("clear text to another host: got %v", errs)
	}
}

func TestLiveFindsByAliasAndRefusesCollisions(t *testing.T) {
	a, b := web01(), web01()
	a.Aliases = []string{"www"}
	b.Name = "web02"
	live, err := NewLive([]Target{b, a})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"web01", "WEB01", "web01.", "www"} {
		if got, ok := live.Target(name); !ok || got.Name != "web01" {
			t.Errorf("%q: got %q, %v", name, got.Name, ok)
		}
	}
	b.Aliases = []string{"www"}
	if err := live.Swap([]Target{a, b}); err == nil || !strings.Contains(err.Error(), `"www"`) {
		t.Errorf("collision: got %v", err)
	}
	if _, ok := live.Target("www"); !ok {
		t.Error("a refused swap changed the set")
	}
}

func TestHashIgnoresWhereItCameFrom(t *testing.T) {
	a, b := web01(), web01()
	b.Source = "elsewhere"
	if a.Hash() != b.Hash() {
		t.Error("the source changed the hash")
	}
	b.SSH.Logins = []string{"root"}
	if a.Hash() == b.Hash() {
		t.Error("another login kept the hash")
	}
}
