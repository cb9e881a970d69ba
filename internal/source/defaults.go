package source

import (
	"errors"
	"maps"
	"strings"

	"jit-gateway/internal/inventory"
)

// fill completes an entry with the defaults of its source. What the entry
// says stays; labels are merged.
func fill(t *inventory.Target, d inventory.Target) {
	t.Name = inventory.Normalize(t.Name)
	if len(d.Labels) > 0 {
		labels := maps.Clone(d.Labels)
		maps.Copy(labels, t.Labels)
		t.Labels = labels
	}
	if len(t.Owners) == 0 {
		t.Owners = d.Owners
	}
	if t.SSH == nil && t.Postgres == nil { // an entry of a name alone is what the defaults are
		switch {
		case d.SSH != nil:
			t.SSH = &inventory.SSHTarget{}
		case d.Postgres != nil:
			t.Postgres = &inventory.PostgresTarget{}
		}
	}
	switch {
	case t.SSH != nil:
		t.Kind = inventory.SSH
		own := *t.SSH // the entry may share its block with others
		t.SSH = &own
		if d.SSH != nil {
			fillSSH(t.SSH, *d.SSH, t.Name)
		}
		if t.SSH.Address == "" {
			t.SSH.Address = t.Name
		}
	case t.Postgres != nil:
		t.Kind = inventory.Postgres
		own := *t.Postgres
		t.Postgres = &own
		if d.Postgres != nil {
			fillPostgres(t.Postgres, *d.Postgres, t.Name)
		}
		if t.Postgres.Database == "" {
			t.Postgres.Database = t.Name
		}
	}
}

func fillSSH(s *inventory.SSHTarget, d inventory.SSHTarget, name string) {
	or(&s.Address, named(d.Address, name))
	list(&s.Logins, d.Logins)
	if len(s.HostKeys) == 0 && len(s.HostCAs) == 0 {
		s.HostKeys, s.HostCAs = d.HostKeys, d.HostCAs
	}
	or(&s.HostName, named(d.HostName, name))
	or(&s.Principals, d.Principals)
	or(&s.Via, d.Via)
	or(&s.Key, d.Key)
}

func fillPostgres(p *inventory.PostgresTarget, d inventory.PostgresTarget, name string) {
	or(&p.Address, named(d.Address, name))
	or(&p.Database, named(d.Database, name))
	list(&p.Databases, d.Databases)
	list(&p.Roles, d.Roles)
	or(&p.Identity, d.Identity)
	or(&p.TLS, d.TLS)
	or(&p.CAFile, d.CAFile)
	or(&p.AdminUser, d.AdminUser)
	or(&p.AdminPassword, d.AdminPassword)
	or(&p.AdminDatabase, d.AdminDatabase)
	if p.Static == nil {
		p.Static = d.Static
	}
	p.AllowPreparedTransactions = p.AllowPreparedTransactions || d.AllowPreparedTransactions
}

func or(s *string, d string) {
	if *s == "" {
		*s = d
	}
}

func list(s *[]string, d []string) {
	if len(*s) == 0 {
		*s = d
	}
}

// named puts the entry's name into a template such as db-{name}.internal:5432.
func named(template, name string) string { return strings.ReplaceAll(template, "{name}", name) }

var errSecret = errors.New("a source names no secrets: put the reference into its defaults, in the configuration")

// limit takes from an entry what its source is not trusted with: whoever can
// write the source could have a secret of the gateway sent to a server of
// theirs, or have a host of theirs believed.
func limit(t inventory.Target, s Source) error {
	if t.SSH != nil && t.SSH.Key != "" {
		return errSecret
	}
	if p := t.Postgres; p != nil && (p.AdminPassword != "" || len(p.Static) > 0) {
		return errSecret
	}
	if t.Postgres != nil && t.Postgres.CAFile != "" && s.Kind != Files {
		return errors.New("ca_file is a file of the gateway: name it in the source's defaults, in the configuration")
	}
	if s.Kind == HTTPS && !s.Pins && t.SSH != nil && len(t.SSH.HostKeys)+len(t.SSH.HostCAs) > 0 {
		return errors.New("host keys from the network are not believed: `pins: true` says that this source may name them")
	}
	return nil
}
