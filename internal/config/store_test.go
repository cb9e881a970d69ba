package config

import (
	"errors"
	"strings"
	"testing"
)

func TestPostgresStore(t *testing.T) {
	c, err := Parse("/etc/jit/f.yaml", []byte(good+"store:\n  postgres:\n    dsn: env:STORE\n"))
	if err != nil {
		t.Fatal(err)
	}
	if c.Store.Path != "" || c.Store.Postgres.DSN != "env:STORE" {
		t.Errorf("got %+v", c.Store)
	}
	if got := c.Store.Postgres.Wrong(errors.New("boom")).Error(); !strings.HasPrefix(got, "/etc/jit/f.yaml:2") || !strings.HasSuffix(got, ": store.postgres.dsn: boom") {
		t.Errorf("a bad connection string: %s", got)
	}
	for text, want := range map[string]string{
		"store:\n  postgres:\n    dsn: postgres://gw:secret@db/jit\n":  "store.postgres.dsn: secrets are not written here",
		"store:\n  postgres:\n    connections: 3\n":                    "store.postgres.dsn: say where",
		"store:\n  postgres:\n    dsn: env:X\n    connections: 1000\n": "store.postgres.connections: 1000",
		"store:\n  path: x.db\n  postgres:\n    dsn: env:X\n":          "store.path: there is store.postgres too",
		"store:\n  postgres:\n    dsn: env:X\n    sslmode: disable\n":  "store.postgres.sslmode: unknown field",
	} {
		_, err := Parse("f.yaml", []byte(good+text))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want …%s…", text, err, want)
		}
		if err != nil && strings.Contains(err.Error(), "gw:secret") {
			t.Errorf("the secret is in the error: %v", err)
		}
	}
}
