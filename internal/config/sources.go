package config

import (
	"fmt"
	"path/filepath"

	"go.yaml.in/yaml/v3"

	"jit-gateway/internal/source"
)

// trust checks sources and trust, and gives the file's targets the host
// identities that trust knows, so that what is missing then is an error.
func (d *decoder) trust(c *Config, doc *yaml.Node) {
	bad := func(field, format string, args ...any) { d.fail(locate(doc, field), field, format, args...) }
	before := len(d.errs)
	names := map[string]bool{}
	for i, s := range c.Sources {
		at := fmt.Sprintf("sources[%d].", i)
		for _, e := range s.Validate() {
			bad(at+e.Field, "%s", e.Msg)
		}
		if names[s.Name] {
			bad(at+"name", "%q: each source has a name of its own", s.Name)
		}
		names[s.Name] = true
	}
	for i, t := range c.Trust {
		for _, e := range t.Validate() {
			bad(fmt.Sprintf("trust[%d].%s", i, e.Field), "%s", e.Msg)
		}
	}
	if len(d.errs) > before {
		return
	}
	var err error
	if c.truster, err = source.NewTruster(c.Trust); err != nil {
		bad("trust", "%v", err)
		return
	}
	for i := range c.Targets {
		c.truster.Fill(&c.Targets[i])
	}
}

// Truster knows hosts by trust; never nil after Load.
func (c *Config) Truster() *source.Truster { return c.truster }

// completeSources makes the paths absolute; they are relative to the file.
func (c *Config) completeSources(abs func(string) string) {
	for i := range c.Sources {
		s := &c.Sources[i]
		s.Path, s.CAFile = abs(s.Path), abs(s.CAFile)
		if p := s.Defaults.Postgres; p != nil {
			p.CAFile = abs(p.CAFile)
		}
	}
	for i := range c.Trust {
		c.Trust[i].KnownHosts = abs(c.Trust[i].KnownHosts)
	}
}

// SourceDir is where what sources last gave is kept.
func (c *Config) SourceDir() string { return filepath.Join(c.DataDir, "sources") }
