// Package config is the only reader of YAML: one file for the gateway, its
// targets and its rules.
//
// Every error names file, line and field and says what would be right; an
// unknown field is an error; a secret written inline is an error. Load returns
// all errors at once. Rules and targets can be swapped in a running gateway,
// all else needs a restart: see NeedRestart.
package config

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"time"

	"jit-gateway/approval/policy"
	"jit-gateway/internal/inventory"
	"jit-gateway/internal/source"
)

// Config is the file.
type Config struct {
	Path string `yaml:"-"` // where it was read from

	Name      string             `yaml:"name"`     // the host name that people use for the gateway
	Node      string             `yaml:"node"`     // this machine among several gateways; its host name if empty
	DataDir   string             `yaml:"data_dir"` // relative to the file
	Listen    Listen             `yaml:"listen"`
	Public    Public             `yaml:"public"`
	Roles     Roles              `yaml:"roles"`
	Limits    Limits             `yaml:"limits"`
	Egress    []netip.Addr       `yaml:"egress"`     // addresses that targets see: source-address of certificates
	ProxyFrom []netip.Prefix     `yaml:"proxy_from"` // balancers that send PROXY protocol v2
	SealKey   string             `yaml:"seal_key" secret:"ref"`
	TLS       TLS                `yaml:"tls"`
	Recording Recording          `yaml:"recording"`
	Store     Store              `yaml:"store"`
	Sinks     []Sink             `yaml:"sinks"` // where the audit log is copied to
	Notify    Notify             `yaml:"notify"`
	Tickets   *Tickets           `yaml:"tickets"`
	OIDC      *OIDC              `yaml:"oidc"`     // people sign in elsewhere
	SCIM      *SCIM              `yaml:"scim"`     // accounts are managed elsewhere
	Machines  Machines           `yaml:"machines"` // CI systems that vouch for their jobs
	Accounts  Accounts           `yaml:"accounts"` // when accounts end by themselves
	Targets   []inventory.Target `yaml:"targets"`
	Sources   []source.Source    `yaml:"sources"` // targets that are kept elsewhere
	Trust     []source.Trust     `yaml:"trust"`   // host CAs by pattern, pins from known_hosts
	Rules     []policy.Rule      `yaml:"rules"`

	// CAPassphrase opens the key files of the CAs, once `seal-keys` sealed them.
	CAPassphrase string `yaml:"ca_passphrase" secret:"ref"`

	truster *source.Truster
}

// Listen holds listening addresses, host:port; one that is empty or left out
// is off, but for SSH.
type Listen struct {
	SSH      string `yaml:"ssh"`
	Postgres string `yaml:"postgres"`
	Web      string `yaml:"web"`
	Metrics  string `yaml:"metrics"` // /metrics, /healthz, /readyz; keep it private
}

// Public says how people reach the gateway, where that differs from Listen.
type Public struct {
	Host         string `yaml:"host"` // address, if name does not resolve for everybody
	SSHPort      int    `yaml:"ssh_port"`
	PostgresPort int    `yaml:"postgres_port"`
	URL          string `yaml:"url"` // of the page, https://…
	// HostPattern is what @cert-authority lines cover, such as *.prod.example;
	// target names and aliases one by one if empty. Never a bare *.
	HostPattern string `yaml:"host_pattern"`
}

// Roles names the groups whose members administer and audit.
type Roles struct {
	Admins   []string `yaml:"admins"`
	Auditors []string `yaml:"auditors"`
}

// Limits bounds what strangers can take.
type Limits struct {
	Connections          int           `yaml:"connections"`            // per listener
	ConnectionsPerSource int           `yaml:"connections_per_source"` // per listener and address
	PreAuth              time.Duration `yaml:"pre_auth"`               // time to authenticate
	Wait                 time.Duration `yaml:"wait"`                   // how long an in-band request is waited for
	StoreGrace           time.Duration `yaml:"store_grace"`            // without the store, sessions end after this
	Drain                time.Duration `yaml:"drain"`                  // how long SIGTERM waits for live sessions
}

// TLS of the page and of the PostgreSQL port: files, an ACME server, or the
// gateway's own CA.
type TLS struct {
	Cert  string   `yaml:"cert"`
	Key   string   `yaml:"key"`
	Names []string `yaml:"names"` // DNS names, and addresses for a certificate from the own CA
	ACME  *ACME    `yaml:"acme"`
}

// ACME gets and renews the certificate by itself. The server must reach port
// 443 of each name, and that must lead to listen.web.
type ACME struct {
	Directory   string `yaml:"directory"`    // Let's Encrypt if empty
	Email       string `yaml:"email"`        // for what the server has to say; optional
	AcceptTerms bool   `yaml:"accept_terms"` // of the server
	CAFile      string `yaml:"ca_file"`      // who may sign the server itself; system roots if empty
}

// Recording says where recordings are kept.
type Recording struct {
	Dir      string        `yaml:"dir"`      // DataDir/recordings if empty
	Interval time.Duration `yaml:"interval"` // at most this far behind without strict
	S3       *S3           `yaml:"s3"`       // where sealed ones go; they stay in Dir if it is left out
}

// Store says where state is kept: SQLite below DataDir, or PostgreSQL.
type Store struct {
	Path     string         `yaml:"path"`     // DataDir/jit-gateway.db if empty
	Postgres *StorePostgres `yaml:"postgres"` // instead of a file: shared by several gateways
}

// Sink is one receiver of the audit log.
type Sink struct {
	Name     string         `yaml:"name"`
	Kind     string         `yaml:"kind"`                // file, syslog, webhook
	Format   string         `yaml:"format"`              // native (default), ocsf
	Path     string         `yaml:"path"`                // file: JSON Lines, appended
	Address  string         `yaml:"address"`             // syslog: host:port, over TLS
	CAFile   string         `yaml:"ca_file"`             // syslog: who may sign the receiver; system roots if empty
	URL      string         `yaml:"url"`                 // webhook: https://…
	Secret   string         `yaml:"secret" secret:"ref"` // webhook: signs by the Standard Webhooks scheme
	Allow    []netip.Prefix `yaml:"allow"`               // webhook: inner networks that it may be in
	Required bool           `yaml:"required"`            // while it is behind, nobody is admitted
}

// Default is the configuration that a file changes.
func Default() Config {
	return Config{
		Name:    "jit-gateway",
		Listen:  Listen{SSH: ":2222"}, // the rest listens only where the file says so
		Roles:   Roles{Admins: []string{"admins"}, Auditors: []string{"auditors"}},
		SealKey: "",
		Limits: Limits{Connections: 4096, ConnectionsPerSource: 256, PreAuth: 30 * time.Second, Wait: 15 * time.Minute,
			StoreGrace: time.Minute, Drain: 30 * time.Second},
		Recording: Recording{Interval: 200 * time.Millisecond},
		Notify:    Notify{Expiring: 10 * time.Minute},
	}
}

// Error is one thing wrong in the file.
type Error struct {
	File  string
	Line  int
	Field string
	Msg   string
}

func (e *Error) Error() string {
	where := e.File
	if e.Line > 0 {
		where += fmt.Sprintf(":%d", e.Line)
	}
	if e.Field != "" {
		where += ": " + e.Field
	}
	return where + ": " + e.Msg
}

// maxSize of a configuration file: 5,000 targets take about 2 MB.
const maxSize = 16 << 20

// Load reads and checks the file. The error joins every *Error found.
func Load(path string) (*Config, error) {
	st, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("read configuration: %w; `jit-gateway init --data DIR` writes one", err)
	}
	if st.Size() > maxSize {
		return nil, fmt.Errorf("read configuration %s: %d bytes, at most %d", path, st.Size(), maxSize)
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read configuration: %w", err)
	}
	return Parse(path, raw)
}

// Parse is Load of bytes; path is for messages and for relative paths.
func Parse(path string, raw []byte) (*Config, error) {
	doc, err := parseYAML(path, raw)
	if err != nil {
		return nil, err
	}
	c := Default()
	c.Path = path
	d := &decoder{file: path}
	if len(doc.Content) > 0 {
		d.value(doc.Content[0], reflect.ValueOf(&c).Elem(), "", false)
	}
	shape := len(d.errs)
	c.complete()
	d.trust(&c, doc)
	d.check(&c, doc)
	d.forget(shape)
	if len(d.errs) > 0 {
		return nil, d.joined()
	}
	return &c, nil
}

// complete fills what follows from other fields.
func (c *Config) complete() {
	dir := filepath.Dir(c.Path)
	abs := func(p string) string {
		if p == "" || filepath.IsAbs(p) {
			return p
		}
		return filepath.Join(dir, p)
	}
	if c.DataDir == "" {
		c.DataDir = "."
	}
	c.DataDir = abs(c.DataDir)
	c.TLS.Cert, c.TLS.Key = abs(c.TLS.Cert), abs(c.TLS.Key)
	if a := c.TLS.ACME; a != nil {
		a.CAFile = abs(a.CAFile)
		if a.Directory == "" {
			a.Directory = "https://acme-v02.api.letsencrypt.org/directory"
		}
	}
	if c.Recording.Dir = abs(c.Recording.Dir); c.Recording.Dir == "" {
		c.Recording.Dir = filepath.Join(c.DataDir, "recordings")
	}
	if c.Store.Path = abs(c.Store.Path); c.Store.Path == "" && c.Store.Postgres == nil {
		c.Store.Path = filepath.Join(c.DataDir, "jit-gateway.db")
	}
	for i := range c.Sinks {
		c.Sinks[i].Path, c.Sinks[i].CAFile = abs(c.Sinks[i].Path), abs(c.Sinks[i].CAFile)
	}
	for i := range c.Notify.Channels {
		c.Notify.Channels[i].CAFile = abs(c.Notify.Channels[i].CAFile)
	}
	if c.Tickets != nil {
		c.Tickets.CAFile = abs(c.Tickets.CAFile)
	}
	c.completeS3(abs)
	c.completeIdentities(abs)
	if c.SealKey == "" {
		c.SealKey = "file:" + filepath.Join(c.DataDir, "keys", "seal.key")
	}
	c.completeSources(abs)
	for i := range c.Targets {
		t := &c.Targets[i]
		t.Source = "config"
		inferKind(t)
		if t.Postgres != nil {
			t.Postgres.CAFile = abs(t.Postgres.CAFile)
		}
	}
}
