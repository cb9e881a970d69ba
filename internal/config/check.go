package config

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"jit-gateway/approval/policy"
	"jit-gateway/internal/inventory"
)

var hostRE = regexp.MustCompile(`^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$`)

// maxDataDir leaves room for the names of sockets: sun_path has 108 bytes.
const maxDataDir = 92

// check finds impossible values. doc gives their lines.
func (d *decoder) check(c *Config, doc *yaml.Node) {
	bad := func(field, format string, args ...any) {
		d.fail(locate(doc, field), field, format, args...)
	}
	if !hostRE.MatchString(c.Name) {
		bad("name", "%q is not a host name in lower case", c.Name)
	}
	if n := len(c.DataDir); n > maxDataDir {
		bad("data_dir", "%s is %d bytes long; at most %d, since the gateway's sockets lie in it and the kernel cuts their paths short", c.DataDir, n, maxDataDir)
	}
	checkListen(c, bad)
	if c.Listen.SSH == "" {
		bad("listen.ssh", "the gateway cannot work without its ssh listener: everybody asks through it")
	}
	for field, p := range map[string]int{"public.ssh_port": c.Public.SSHPort, "public.postgres_port": c.Public.PostgresPort} {
		if p < 0 || p > 65535 {
			bad(field, "%d is not a port", p)
		}
	}
	if u, err := url.Parse(c.Public.URL); c.Public.URL != "" && (err != nil || u.Scheme != "https" || u.Host == "") {
		bad("public.url", "%q is not an https:// address", c.Public.URL)
	}
	if p := c.Public.HostPattern; p == "*" || strings.ContainsAny(p, ", \t") {
		bad("public.host_pattern", "%q covers every host or is not one pattern: name your own domain, such as *.prod.example", p)
	}
	for field, dur := range map[string]time.Duration{"limits.pre_auth": c.Limits.PreAuth, "limits.wait": c.Limits.Wait,
		"limits.store_grace": c.Limits.StoreGrace, "recording.interval": c.Recording.Interval} {
		if dur <= 0 {
			bad(field, "must be longer than nothing")
		}
	}
	if c.Limits.Drain < 0 {
		bad("limits.drain", "%v: 0s ends live sessions at once, 30s gives them that long", c.Limits.Drain)
	}
	if len(c.Roles.Admins) == 0 {
		bad("roles.admins", "name a group: without one nobody is an administrator, not even whom `init` invites")
	}
	if c.Recording.Interval > time.Second {
		bad("recording.interval", "%v: at most 1s, since what is not yet on disk is lost in a crash", c.Recording.Interval)
	}
	if c.Limits.Connections < 1 {
		bad("limits.connections", "must be at least 1")
	}
	if c.Limits.ConnectionsPerSource < 1 {
		bad("limits.connections_per_source", "must be at least 1")
	}
	if (c.TLS.Cert == "") != (c.TLS.Key == "") {
		bad("tls", "cert and key go together")
	}
	d.checkStore(c, doc, bad)
	checkACME(c, bad)
	checkSinks(c, bad)
	checkIdentities(c, bad)
	checkS3(c, bad)
	checkNotify(c, bad)
	checkTickets(c, bad)
	d.checkTargets(c, bad)
	d.checkRules(c, bad)
}

func checkListen(c *Config, bad func(string, string, ...any)) {
	first := map[string]string{}
	for _, l := range []struct{ field, addr string }{{"listen.ssh", c.Listen.SSH}, {"listen.postgres", c.Listen.Postgres},
		{"listen.web", c.Listen.Web}, {"listen.metrics", c.Listen.Metrics}} {
		if l.addr == "" {
			continue
		}
		if _, port, err := net.SplitHostPort(l.addr); err != nil {
			bad(l.field, `%q is not host:port; all addresses are ":2222", loopback is "127.0.0.1:2222"`, l.addr)
		} else if n, err := strconv.Atoi(port); err != nil || n < 0 || n > 65535 {
			bad(l.field, "port %q is not a number from 0 to 65535", port)
		} else if first[l.addr] != "" && n != 0 {
			bad(l.field, "%q is taken by %s: each listener has an address of its own", l.addr, first[l.addr])
		}
		first[l.addr] = l.field
	}
}

func checkACME(c *Config, bad func(string, string, ...any)) {
	a := c.TLS.ACME
	if a == nil {
		return
	}
	if c.TLS.Cert != "" {
		bad("tls.acme", "a certificate comes from files or from an ACME server, not from both")
	}
	if !a.AcceptTerms {
		bad("tls.acme.accept_terms", "say true if you accept the terms of %s", a.Directory)
	}
	if u, err := url.Parse(a.Directory); err != nil || u.Scheme != "https" || u.Host == "" {
		bad("tls.acme.directory", "%q is not an https:// address", a.Directory)
	}
	names := c.TLS.Names
	if u, err := url.Parse(c.Public.URL); len(names) == 0 && err == nil && u.Hostname() != "" {
		names = []string{u.Hostname()}
	} else if len(names) == 0 {
		names = []string{c.Name}
	}
	for _, n := range names {
		if !hostRE.MatchString(n) || !strings.Contains(n, ".") || net.ParseIP(n) != nil {
			bad("tls.names", "%q: an ACME server certifies full host names only", n)
		}
	}
}

func checkSinks(c *Config, bad func(string, string, ...any)) {
	names := map[string]bool{}
	for i, s := range c.Sinks {
		at := fmt.Sprintf("sinks[%d].", i)
		if s.Name == "" || names[s.Name] {
			bad(at+"name", "%q: each sink has a name of its own", s.Name)
		}
		names[s.Name] = true
		if s.Format != "" && s.Format != "native" && s.Format != "ocsf" {
			bad(at+"format", `%q: say "native" or "ocsf"`, s.Format)
		}
		switch s.Kind {
		case "file":
			if s.Path == "" {
				bad(at+"path", "a file sink needs a path")
			}
		case "syslog":
			if _, _, err := net.SplitHostPort(s.Address); err != nil {
				bad(at+"address", "%q is not host:port; syslog over TLS is on port 6514 by custom", s.Address)
			}
		case "webhook":
			if u, err := url.Parse(s.URL); err != nil || u.Host == "" || (u.Scheme != "https" && u.Scheme != "http") {
				bad(at+"url", "%q is not an http(s) address", s.URL)
			} else if u.Scheme == "http" && u.Hostname() != "localhost" && u.Hostname() != "127.0.0.1" {
				bad(at+"url", "the audit log does not go over plain http to another host")
			}
			if s.Secret == "" {
				bad(at+"secret", "a webhook needs a secret to sign with")
			}
		default:
			bad(at+"kind", `%q: say "file", "syslog" or "webhook"`, s.Kind)
		}
	}
}

func (d *decoder) checkTargets(c *Config, bad func(string, string, ...any)) {
	owner := map[string]int{}
	for i, t := range c.Targets {
		at := fmt.Sprintf("targets[%d]", i)
		for _, e := range t.Validate() {
			bad(at+"."+e.Field, "%s", e.Msg)
		}
		for _, n := range append([]string{t.Name}, t.Aliases...) {
			n = inventory.Normalize(n)
			if first, taken := owner[n]; taken {
				bad(at, "%q is already a name or alias of %q", n, c.Targets[first].Name)
			}
			owner[n] = i
		}
	}
	for i, t := range c.Targets {
		if t.SSH == nil || t.SSH.Via == "" {
			continue
		}
		hop, ok := owner[inventory.Normalize(t.SSH.Via)]
		if !ok || c.Targets[hop].SSH == nil || hop == i {
			bad(fmt.Sprintf("targets[%d].ssh.via", i), "%q is not another ssh target of this file", t.SSH.Via)
			continue
		}
		for seen := map[int]bool{i: true}; ok && c.Targets[hop].SSH != nil; hop, ok = owner[inventory.Normalize(c.Targets[hop].SSH.Via)] {
			if seen[hop] {
				bad(fmt.Sprintf("targets[%d].ssh.via", i), "%q leads back to a host on the way: the via hosts form a circle", t.SSH.Via)
				break
			}
			seen[hop] = true
		}
	}
}

func (d *decoder) checkRules(c *Config, bad func(string, string, ...any)) {
	_, err := policy.NewSet(c.Rules)
	for _, e := range split(err) {
		var fe *policy.FieldError
		if errors.As(e, &fe) {
			bad(fmt.Sprintf("rules[%d].%s", fe.Index, fe.Field), "%s", fe.Msg)
		} else {
			bad("rules", "%v", e)
		}
	}
}

// split undoes errors.Join.
func split(err error) []error {
	if err == nil {
		return nil
	}
	if j, ok := err.(interface{ Unwrap() []error }); ok {
		return j.Unwrap()
	}
	return []error{err}
}

var stepRE = regexp.MustCompile(`([^.\[\]]+)|\[(\d+)\]`)

// locate finds the node of a field path, or its nearest ancestor.
func locate(doc *yaml.Node, field string) *yaml.Node {
	at := doc
	if len(doc.Content) > 0 {
		at = doc.Content[0]
	}
	for _, m := range stepRE.FindAllStringSubmatch(field, -1) {
		next := child(at, m[1], m[2])
		if next == nil {
			break
		}
		at = next
	}
	return at
}

func child(n *yaml.Node, key, index string) *yaml.Node {
	if index != "" {
		i, err := strconv.Atoi(index)
		if err != nil || n.Kind != yaml.SequenceNode || i >= len(n.Content) {
			return nil
		}
		return n.Content[i]
	}
	if n.Kind != yaml.MappingNode {
		return nil
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == key {
			return n.Content[i+1]
		}
	}
	return nil
}
