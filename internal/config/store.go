package config

import (
	"fmt"

	"go.yaml.in/yaml/v3"
)

// StorePostgres is a store in a PostgreSQL database, which several gateways
// may share.
type StorePostgres struct {
	DSN         string `yaml:"dsn" secret:"ref"` // URL or key=value; sslmode=verify-full unless on this machine
	Connections int    `yaml:"connections"`      // that read at once: 8 if zero

	file string
	line int // of dsn, for what is found wrong with the connection string
}

// Wrong is an error about the connection string: it lies outside the file, so
// it is read only when the store is opened.
func (s *StorePostgres) Wrong(err error) error {
	return fmt.Errorf("%s:%d: store.postgres.dsn: %w", s.file, s.line, err)
}

func (d *decoder) checkStore(c *Config, doc *yaml.Node, bad func(string, string, ...any)) {
	pg := c.Store.Postgres
	if pg == nil {
		return
	}
	pg.file, pg.line = d.file, locate(doc, "store.postgres.dsn").Line
	if c.Store.Path != "" {
		bad("store.path", "there is store.postgres too: a gateway has one store")
	}
	if pg.DSN == "" {
		bad("store.postgres.dsn", "say where the connection string is kept, such as file:/etc/jit-gateway/store.dsn")
	}
	if pg.Connections < 0 || pg.Connections > 200 {
		bad("store.postgres.connections", "%d: from 1 to 200", pg.Connections)
	}
}
