package source

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"strconv"
	"strings"

	"jit-gateway/internal/inventory"
)

// ansibleGroup is one group of `ansible-inventory --list`.
type ansibleGroup struct {
	Hosts    []string `json:"hosts"`
	Children []string `json:"children"`
}

// hostVars are the variables that are read; all others are somebody else's.
type hostVars struct {
	Host     string            `json:"ansible_host"`
	Port     json.Number       `json:"ansible_port"`
	User     string            `json:"ansible_user"`
	Logins   []string          `json:"jit_logins"`
	Labels   map[string]string `json:"jit_labels"`
	Aliases  []string          `json:"jit_aliases"`
	Owners   []string          `json:"jit_owners"`
	HostKeys []string          `json:"jit_host_keys"`
	HostName string            `json:"jit_host_name"`
}

// parseAnsible reads the JSON of `ansible-inventory --list`. Each host becomes
// an SSH target with a label group/NAME=true for every group that it is in,
// directly or through children.
func parseAnsible(raw []byte) ([]inventory.Target, error) {
	var doc map[string]json.RawMessage
	if err := json.Unmarshal(raw, &doc); err != nil {
		return nil, fmt.Errorf("this is not what `ansible-inventory --list` prints: %w", err)
	}
	var meta struct {
		HostVars map[string]json.RawMessage `json:"hostvars"`
	}
	if m, ok := doc["_meta"]; !ok {
		return nil, errors.New("this is not what `ansible-inventory --list` prints: _meta is missing")
	} else if err := json.Unmarshal(m, &meta); err != nil {
		return nil, fmt.Errorf("_meta: %w", err)
	}
	delete(doc, "_meta")
	groups := map[string]ansibleGroup{}
	for name, g := range doc {
		var group ansibleGroup
		if err := json.Unmarshal(g, &group); err != nil {
			return nil, fmt.Errorf("group %q: %w", name, err)
		}
		groups[name] = group
	}
	in := map[string]map[string]bool{} // host to groups
	for name := range groups {
		for h := range members(groups, name, map[string]bool{}) {
			if in[h] == nil {
				in[h] = map[string]bool{}
			}
			in[h][name] = true
		}
	}
	for h := range meta.HostVars {
		if in[h] == nil {
			in[h] = map[string]bool{}
		}
	}
	var out []inventory.Target
	for _, h := range slices.Sorted(maps.Keys(in)) {
		var v hostVars
		if raw := meta.HostVars[h]; raw != nil {
			dec := json.NewDecoder(bytes.NewReader(raw))
			if err := dec.Decode(&v); err != nil {
				return nil, fmt.Errorf("host %q: %w", h, err)
			}
		}
		t, err := ansibleTarget(h, v, in[h])
		if err != nil {
			return nil, fmt.Errorf("host %q: %w", h, err)
		}
		out = append(out, t)
	}
	return out, nil
}

func ansibleTarget(name string, v hostVars, groups map[string]bool) (inventory.Target, error) {
	t := inventory.Target{Name: name, Aliases: v.Aliases, Owners: v.Owners, Labels: map[string]string{}, SSH: &inventory.SSHTarget{
		Address: v.Host, Logins: v.Logins, HostKeys: v.HostKeys, HostName: v.HostName}}
	for g := range groups {
		if g != "all" && g != "ungrouped" {
			t.Labels["group/"+g] = "true"
		}
	}
	maps.Copy(t.Labels, v.Labels)
	if len(t.SSH.Logins) == 0 && v.User != "" {
		t.SSH.Logins = []string{v.User}
	}
	if v.Port != "" {
		if n, err := strconv.Atoi(v.Port.String()); err != nil || n < 1 || n > 65535 {
			return t, fmt.Errorf("ansible_port %q is not a port", v.Port)
		}
		host := v.Host
		if host == "" {
			host = name
		}
		t.SSH.Address = net.JoinHostPort(strings.Trim(host, "[]"), v.Port.String())
	}
	return t, nil
}

// members are the hosts of a group and of its children; a circle ends.
func members(groups map[string]ansibleGroup, name string, seen map[string]bool) map[string]bool {
	out := map[string]bool{}
	if seen[name] {
		return out
	}
	seen[name] = true
	g := groups[name]
	for _, h := range g.Hosts {
		out[h] = true
	}
	for _, c := range g.Children {
		maps.Copy(out, members(groups, c, seen))
	}
	return out
}
