package inventory

import (
	"fmt"
	"net"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/crypto/ssh"
)

// A FieldError says which field of a definition is wrong and what would be
// right. Field is a YAML path below the target, such as "ssh.host_keys[0]".
type FieldError struct {
	Field string
	Msg   string
}

func (e *FieldError) Error() string { return e.Field + ": " + e.Msg }

var (
	nameRE  = regexp.MustCompile(`^[a-z0-9]([a-z0-9._-]{0,251}[a-z0-9])?$`)
	labelRE = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9._/-]{0,61}[A-Za-z0-9])?$`)
	// A login becomes part of a certificate's principal: no separator, space
	// or control may get there (CVE-2026-35414, CVE-2024-7594).
	loginRE = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_.-]{0,62}\$?$`)
)

// Validate returns every error of the definition, in field order.
func (t Target) Validate() []*FieldError {
	var errs []*FieldError
	bad := func(field, format string, args ...any) {
		errs = append(errs, &FieldError{field, fmt.Sprintf(format, args...)})
	}
	if !nameRE.MatchString(t.Name) {
		bad("name", "%q is not a host name: lower-case letters, digits, dots, hyphens and underscores", t.Name)
	}
	for i, a := range t.Aliases {
		if _, err := netip.ParseAddr(a); err != nil && !nameRE.MatchString(a) {
			bad(fmt.Sprintf("aliases[%d]", i), "%q is neither a host name in lower case nor an IP address", a)
		}
	}
	for k, v := range t.Labels {
		if !labelRE.MatchString(k) || (v != "" && !labelRE.MatchString(v)) {
			bad("labels."+k, "label %q: keys and values are letters, digits and ._/- , at most 63", k+"="+v)
		}
	}
	switch {
	case t.SSH == nil && t.Postgres == nil:
		bad("kind", "a target needs an ssh or a postgres block")
	case t.SSH != nil && t.Postgres != nil:
		bad("kind", "a target has either an ssh or a postgres block, not both")
	case t.SSH != nil:
		if t.Kind != SSH {
			bad("kind", "%q does not match the ssh block", t.Kind)
		}
		t.SSH.validate(bad)
	default:
		if t.Kind != Postgres {
			bad("kind", "%q does not match the postgres block", t.Kind)
		}
		t.Postgres.validate(bad)
	}
	return errs
}

type badFunc func(field, format string, args ...any)

func (s *SSHTarget) validate(bad badFunc) {
	if msg := checkAddress(s.Address); msg != "" {
		bad("ssh.address", "%s", msg)
	}
	checkLogins("ssh.logins", s.Logins, bad)
	if len(s.HostKeys) == 0 && len(s.HostCAs) == 0 {
		bad("ssh.host_keys", "pin the host's key (ssh-keyscan shows it; compare it on the host) or name its host_cas: the gateway never trusts on first use")
	}
	checkKeys("ssh.host_keys", s.HostKeys, bad)
	checkKeys("ssh.host_cas", s.HostCAs, bad)
	if s.HostName != "" && !nameRE.MatchString(s.HostName) {
		bad("ssh.host_name", "%q is not a host name", s.HostName)
	}
	if !slices.Contains([]string{"", "scoped", "plain"}, s.Principals) {
		bad("ssh.principals", `%q: say "scoped" (login@target, the default) or "plain"`, s.Principals)
	}
}

func (p *PostgresTarget) validate(bad badFunc) {
	socket := strings.HasPrefix(p.Address, "/")
	if !socket {
		if msg := checkAddress(p.Address); msg != "" {
			bad("postgres.address", "%s", msg)
		}
	}
	if p.Database == "" {
		bad("postgres.database", "name the database")
	}
	checkLogins("postgres.roles", p.Roles, bad)
	if !slices.Contains([]string{"", "verify-full", "disable"}, p.TLS) {
		bad("postgres.tls", `%q: say "verify-full" (the default) or "disable" (loopback and unix sockets only)`, p.TLS)
	}
	if p.TLS == "disable" && !socket && !loopback(p.Address) {
		bad("postgres.tls", "disable is only for loopback addresses and unix sockets; %s would be sent in clear", p.Address)
	}
	switch p.Identity {
	case "", "dynamic_role":
		if p.AdminUser == "" {
			bad("postgres.admin_user", "dynamic_role needs the login that creates session roles")
		}
	case "static":
		for _, r := range p.Roles {
			if p.Static[r] == "" {
				bad("postgres.static", "role %q has no password reference", r)
			}
		}
	case "client_cert":
		if p.TLS == "disable" {
			bad("postgres.tls", "client_cert needs TLS")
		}
		if p.AdminUser == "" {
			bad("postgres.admin_user", "client_cert needs the login that ends the backends of sessions")
		}
	default:
		bad("postgres.identity", `%q: say "dynamic_role", "client_cert" or "static"`, p.Identity)
	}
}

func checkLogins(field string, logins []string, bad badFunc) {
	if len(logins) == 0 {
		bad(field, "list at least one")
	}
	for i, l := range logins {
		if !loginRE.MatchString(l) {
			bad(fmt.Sprintf("%s[%d]", field, i), "%q is not a login name: letters, digits, dot, hyphen and underscore", l)
		}
	}
}

func checkKeys(field string, keys []string, bad badFunc) {
	for i, k := range keys {
		if _, _, _, rest, err := ssh.ParseAuthorizedKey([]byte(k)); err != nil || len(rest) > 0 {
			bad(fmt.Sprintf("%s[%d]", field, i), `not one public key: write it like "ssh-ed25519 AAAA…"`)
		}
	}
}

func checkAddress(a string) string {
	if a == "" {
		return "say host or host:port"
	}
	host, port, err := net.SplitHostPort(a)
	if err != nil {
		host = Normalize(a)
	} else if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return fmt.Sprintf("%q has no port from 1 to 65535 behind its colon", a)
	}
	if _, err := netip.ParseAddr(host); err != nil && !nameRE.MatchString(strings.ToLower(host)) {
		return fmt.Sprintf("%q is not host or host:port", a)
	}
	return ""
}

func loopback(address string) bool {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		host = Normalize(address)
	}
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || (err == nil && ip.IsLoopback())
}
