// Package inventory holds what can be reached: SSH hosts and databases, with
// their labels, aliases, and how their identity is verified. It decides
// nothing about access.
package inventory

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"jit-gateway/internal/audit"
)

// Kind of target, and so of protocol handler.
type Kind string

const (
	SSH      Kind = "ssh"
	Postgres Kind = "postgres"
)

// Target is one SSH host or one database. Names and aliases are unique
// across kinds.
type Target struct {
	Name     string            `json:"name" yaml:"name"` // lower case, no trailing dot; also its identity
	Kind     Kind              `json:"kind" yaml:"kind"`
	Aliases  []string          `json:"aliases,omitempty" yaml:"aliases"`
	Labels   map[string]string `json:"labels,omitempty" yaml:"labels"`
	Owners   []string          `json:"owners,omitempty" yaml:"owners"` // group names that own the target
	Source   string            `json:"source,omitempty" yaml:"-"`      // "config", "store", or the file it came from; not hashed
	SSH      *SSHTarget        `json:"ssh,omitempty" yaml:"ssh"`
	Postgres *PostgresTarget   `json:"postgres,omitempty" yaml:"postgres"`
}

// SSHTarget says how to reach one sshd and how to know it.
type SSHTarget struct {
	Address  string   `json:"address" yaml:"address"` // host or host:port; port 22 if none
	Logins   []string `json:"logins" yaml:"logins"`   // allowed login names
	HostKeys []string `json:"host_keys,omitempty" yaml:"host_keys"`
	HostCAs  []string `json:"host_cas,omitempty" yaml:"host_cas"` // authorized_keys form; certificates must name HostName
	// HostName is the principal expected in a host certificate; Name if empty.
	HostName string `json:"host_name,omitempty" yaml:"host_name"`
	// Principals is "scoped" (login@target through AuthorizedPrincipalsFile,
	// the default) or "plain" (login; good on every host that trusts the CA).
	Principals string `json:"principals,omitempty" yaml:"principals"`
	Via        string `json:"via,omitempty" yaml:"via"`              // another SSH target to dial through
	Key        string `json:"key,omitempty" yaml:"key" secret:"ref"` // secret reference to a private key, for hosts without certificates
}

// PostgresTarget says how to reach one database and as whom.
type PostgresTarget struct {
	Address   string   `json:"address" yaml:"address"` // host or host:port, or a unix socket directory; port 5432 if none
	Database  string   `json:"database" yaml:"database"`
	Databases []string `json:"databases,omitempty" yaml:"databases"` // further databases reachable as target/database
	Roles     []string `json:"roles" yaml:"roles"`                   // allowed roles
	// Identity is how the gateway logs in for a session: "dynamic_role"
	// (default), "client_cert" or "static".
	Identity string `json:"identity,omitempty" yaml:"identity"`
	// TLS towards the database: "verify-full" (default), or "disable", which
	// is refused unless the address is loopback or a unix socket.
	TLS    string `json:"tls,omitempty" yaml:"tls"`
	CAFile string `json:"ca_file,omitempty" yaml:"ca_file"`
	// AdminUser creates and drops session roles (dynamic_role).
	AdminUser     string `json:"admin_user,omitempty" yaml:"admin_user"`
	AdminPassword string `json:"admin_password,omitempty" yaml:"admin_password" secret:"ref"` // secret reference
	AdminDatabase string `json:"admin_database,omitempty" yaml:"admin_database"`              // Database if empty
	// Static maps role to the secret reference of its password (static).
	Static map[string]string `json:"static,omitempty" yaml:"static" secret:"ref"`
	// AllowPreparedTransactions accepts max_prepared_transactions > 0.
	AllowPreparedTransactions bool `json:"allow_prepared_transactions,omitempty" yaml:"allow_prepared_transactions"`
}

// Logins returns the logins or roles that the target allows.
func (t Target) Logins() []string {
	switch {
	case t.SSH != nil:
		return t.SSH.Logins
	case t.Postgres != nil:
		return t.Postgres.Roles
	}
	return nil
}

// Allows reports whether the target has the login or role.
func (t Target) Allows(login string) bool { return slices.Contains(t.Logins(), login) }

// Hash is the SHA-256, in hex, of the definition: what a grant is bound to.
// Where the definition came from is not part of it.
func (t Target) Hash() string {
	t.Source = ""
	b, err := json.Marshal(t)
	if err != nil { // strings, slices and maps of strings always encode
		panic(fmt.Sprintf("encode target %q: %v", t.Name, err))
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// Normalize is the form in which names are looked up: lower case, without a
// trailing dot or the brackets of an IPv6 literal.
func Normalize(name string) string {
	name = strings.TrimSuffix(strings.ToLower(name), ".")
	return strings.TrimSuffix(strings.TrimPrefix(name, "["), "]")
}

// Inventory is the current set of targets. Implementations swap atomically on
// reload; a Target that was returned stays valid.
type Inventory interface {
	Target(name string) (Target, bool) // by name or alias, normalised
	Targets() []Target                 // by name
}

// Store keeps the targets that were added or imported rather than configured.
type Store interface {
	StoredTargets(ctx context.Context) ([]Target, error)
	PutTarget(ctx context.Context, t Target, ev audit.Event) error
	DeleteTarget(ctx context.Context, name string, ev audit.Event) error // store.ErrNotFound
}
