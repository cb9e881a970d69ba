package sshproxy

import (
	"context"
	"errors"
	"net/netip"
	"testing"

	"jit-gateway/internal/inventory"
)

func TestForwardsAreMatchedToTargets(t *testing.T) {
	inv, err := inventory.NewLive([]inventory.Target{
		{Name: "web01", Aliases: []string{"www"}, Kind: inventory.SSH, SSH: &inventory.SSHTarget{Address: "10.0.0.1", Logins: []string{"d"}, HostKeys: []string{"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl"}}},
		{Name: "orders", Kind: inventory.Postgres, Postgres: &inventory.PostgresTarget{Address: "db.internal:6432", Database: "o", Roles: []string{"r"}, Identity: "static", Static: map[string]string{"r": "env:X"}}},
		{Name: "local", Kind: inventory.Postgres, Postgres: &inventory.PostgresTarget{Address: "10.0.0.1:5432", Database: "o", Roles: []string{"r"}, Identity: "static", Static: map[string]string{"r": "env:X"}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	a := newAddresses(inv)
	a.lookup = func(_ context.Context, host string) ([]netip.Addr, error) {
		switch host {
		case "db.internal", "alias.example":
			return []netip.Addr{netip.MustParseAddr("10.0.0.2")}, nil
		case "localhost":
			return []netip.Addr{netip.MustParseAddr("127.0.0.1")}, nil
		}
		return nil, errors.New("unknown")
	}
	a.hosts["db.internal"] = []netip.Addr{netip.MustParseAddr("10.0.0.2")}
	web, _ := inv.Target("web01")
	for _, c := range []struct {
		host string
		port uint32
		want string
	}{
		{"WEB01.", 22, "web01"}, {"www", 22, "web01"}, {"web01", 8080, ""}, {"web01", 5432, "local"}, {"ORDERS", 1, "orders"}, {"10.0.0.1", 22, "web01"}, {"10.0.0.1", 80, ""}, {"::ffff:10.0.0.1", 22, "web01"},
		{"alias.example", 6432, "orders"}, {"10.0.0.2", 6432, "orders"}, {"10.0.0.2", 5432, ""},
		{"localhost", 22, "web01"}, {"127.0.0.1", 5432, "local"}, {"[::1]", 22, "web01"}, {"0.0.0.0", 22, "web01"}, {"localhost", 80, ""}, {"elsewhere", 22, ""},
		// What inet_aton takes, sshd's resolver takes.
		{"127.1", 22, "web01"}, {"0x7f000001", 22, "web01"}, {"017700000001", 22, "web01"}, {"2130706433", 5432, "local"}, {"0", 22, "web01"}, {"0x7F.1", 22, "web01"}, {"0x7f00000b", 22, "web01"},
		{"10.1", 22, "web01"}, {"012.0.0.1", 22, "web01"}, {"167772162", 6432, "orders"}, {"::ffff:127.0.0.1", 22, "web01"}, {"10.0.0.1.", 22, "web01"}, {"::", 22, "web01"},
		{"10.0.1.1", 22, ""}, {"10.256", 22, ""}, {"0b1", 22, ""}, {"0o1", 22, ""}, {"1_0.1", 22, ""}, {"10..1", 22, ""}, {"1.2.3.4.5", 22, ""},
	} {
		got, ok := a.dest(context.Background(), web, c.host, c.port)
		if ok != (c.want != "") || got.Name != c.want {
			t.Errorf("%s:%d: %q, want %q", c.host, c.port, got.Name, c.want)
		}
	}
	for ip, want := range map[string]bool{"10.0.0.1": true, "10.0.0.2": true, "10.0.0.3": false, "127.0.0.1": false, "::ffff:10.0.0.1": true} {
		if _, is := a.source(netip.MustParseAddr(ip)); is != want {
			t.Errorf("source %s: %v", ip, is)
		}
	}
}
