package source

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"net"
	"os"
	"path"
	"slices"
	"strings"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"

	"jit-gateway/internal/inventory"
)

// Trust gives hosts their identity by name: CAs by pattern, or the pins of a
// known_hosts file. It applies to SSH targets that name neither keys nor CAs.
type Trust struct {
	Match      []string `yaml:"match"`       // patterns of target or host names, such as *.prod.example
	HostCAs    []string `yaml:"host_cas"`    // authorized_keys form
	KnownHosts string   `yaml:"known_hosts"` // a file in sshd(8)'s form; hashed names and @cert-authority lines work
}

// Validate returns what cannot work, by field.
func (t Trust) Validate() []*inventory.FieldError {
	var errs []*inventory.FieldError
	bad := func(field, format string, args ...any) {
		errs = append(errs, &inventory.FieldError{Field: field, Msg: fmt.Sprintf(format, args...)})
	}
	if len(t.HostCAs) == 0 && t.KnownHosts == "" {
		bad("host_cas", "say whom to trust: host_cas, or a known_hosts file")
	}
	if len(t.HostCAs) > 0 && len(t.Match) == 0 {
		bad("match", "say for which hosts, such as *.prod.example")
	}
	for i, m := range t.Match {
		if _, err := path.Match(m, ""); err != nil || m == "" || m == "*" {
			bad(fmt.Sprintf("match[%d]", i), "%q covers every host or is not a pattern: name your own domain, such as *.prod.example", m)
		}
	}
	for i, k := range t.HostCAs {
		if _, _, _, _, err := ssh.ParseAuthorizedKey([]byte(k)); err != nil {
			bad(fmt.Sprintf("host_cas[%d]", i), `not a public key: write it like "ssh-ed25519 AAAA…"`)
		}
	}
	return errs
}

// A Truster is a list of Trust whose files were read.
type Truster struct {
	entries []trustEntry
	nobody  ssh.PublicKey // a key that no host has: known_hosts then says which ones it would have
}

type trustEntry struct {
	Trust
	known ssh.HostKeyCallback
	cas   []caLine // @cert-authority lines of the known_hosts file
}

type caLine struct {
	hosts []string
	key   string
}

// NewTruster reads the known_hosts files.
func NewTruster(list []Trust) (*Truster, error) {
	pub, _, err := ed25519.GenerateKey(nil)
	if err != nil {
		return nil, err
	}
	nobody, err := ssh.NewPublicKey(pub)
	if err != nil {
		return nil, err
	}
	t := &Truster{nobody: nobody}
	for _, tr := range list {
		e := trustEntry{Trust: tr}
		if tr.KnownHosts != "" {
			if e.known, err = knownhosts.New(tr.KnownHosts); err != nil {
				return nil, fmt.Errorf("read known_hosts: %w", err)
			}
			raw, err := os.ReadFile(tr.KnownHosts)
			if err != nil {
				return nil, fmt.Errorf("read known_hosts: %w", err)
			}
			if e.cas, err = authorities(raw); err != nil {
				return nil, fmt.Errorf("read %s: %w", tr.KnownHosts, err)
			}
		}
		t.entries = append(t.entries, e)
	}
	return t, nil
}

func authorities(raw []byte) ([]caLine, error) {
	var out []caLine
	for len(raw) > 0 {
		marker, hosts, key, _, rest, err := ssh.ParseKnownHosts(raw)
		if err != nil {
			if len(rest) == 0 { // io.EOF: only comments were left
				return out, nil
			}
			return nil, err
		}
		if marker == "cert-authority" {
			out = append(out, caLine{hosts, strings.TrimSpace(string(ssh.MarshalAuthorizedKey(key)))})
		}
		raw = rest
	}
	return out, nil
}

// Fill gives an SSH target that has neither keys nor CAs those of the first
// entry that knows it: by host name, target name, or address.
func (t *Truster) Fill(target *inventory.Target) {
	if t == nil || target.SSH == nil || len(target.SSH.HostKeys)+len(target.SSH.HostCAs) > 0 {
		return
	}
	s := target.SSH
	address, port := s.Address, "22"
	if host, p, err := net.SplitHostPort(s.Address); err == nil {
		address, port = host, p
	}
	names := slices.DeleteFunc([]string{s.HostName, target.Name, address}, func(n string) bool { return n == "" })
	for _, e := range t.entries {
		if len(e.Match) > 0 && !matches(e.Match, names) {
			continue
		}
		if len(e.HostCAs) > 0 {
			s.HostCAs = e.HostCAs
			return
		}
		for _, n := range names {
			if s.HostKeys = e.pins(n, port, t.nobody); len(s.HostKeys) > 0 {
				return
			}
		}
		for _, ca := range e.cas {
			if matches(ca.hosts, names) {
				s.HostCAs = append(s.HostCAs, ca.key)
			}
		}
		if len(s.HostCAs) > 0 {
			return
		}
	}
}

// pins are the keys that a known_hosts file has for a host.
func (e trustEntry) pins(host, port string, nobody ssh.PublicKey) []string {
	if e.known == nil {
		return nil
	}
	var wrong *knownhosts.KeyError
	err := e.known(net.JoinHostPort(host, port), &net.TCPAddr{}, nobody)
	if !errors.As(err, &wrong) {
		return nil
	}
	var out []string
	for _, k := range wrong.Want {
		line := strings.TrimSpace(string(ssh.MarshalAuthorizedKey(k.Key)))
		// knownhosts lists the CAs of @cert-authority lines too: no host has such a key.
		isCA := slices.ContainsFunc(e.cas, func(ca caLine) bool { return ca.key == line })
		if !isCA && !slices.Contains(out, line) {
			out = append(out, line)
		}
	}
	return out
}

// matches is sshd(8)'s pattern list, without the port: a ! pattern that
// matches refuses.
func matches(patterns, names []string) bool {
	hit := false
	for _, p := range patterns {
		p, negated := strings.CutPrefix(strings.ToLower(p), "!")
		for _, n := range names {
			if ok, err := path.Match(p, strings.ToLower(n)); err == nil && ok {
				if negated {
					return false
				}
				hit = true
			}
		}
	}
	return hit
}
