package sshproxy

import (
	"context"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"time"

	"jit-gateway/internal/inventory"
)

// addresses knows where targets are, so that a forward or a login that has
// one's address is recognised whatever name it uses.
type addresses struct {
	inv    inventory.Inventory
	lookup func(ctx context.Context, host string) ([]netip.Addr, error)
	mu     sync.Mutex
	hosts  map[string][]netip.Addr // of targets that are configured by name
}

const (
	refreshAddresses = time.Minute
	lookupTime       = 2 * time.Second
)

func newAddresses(inv inventory.Inventory) *addresses {
	return &addresses{inv: inv, hosts: map[string][]netip.Addr{}, lookup: func(ctx context.Context, host string) ([]netip.Addr, error) {
		ctx, cancel := context.WithTimeout(ctx, lookupTime)
		defer cancel()
		return net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	}}
}

// run keeps the addresses of named targets fresh until ctx is done.
func (a *addresses) run(ctx context.Context) {
	t := time.NewTicker(refreshAddresses)
	defer t.Stop()
	for {
		for _, target := range a.inv.Targets() {
			host, _ := hostPort(target)
			if _, err := netip.ParseAddr(host); err == nil || host == "" || strings.HasPrefix(host, "/") {
				continue
			}
			if ips, err := a.lookup(ctx, host); err == nil {
				a.mu.Lock()
				a.hosts[host] = ips
				a.mu.Unlock()
			}
		}
		select {
		case <-t.C:
		case <-ctx.Done():
			return
		}
	}
}

// hostPort is where a target is.
func hostPort(t inventory.Target) (host string, port uint16) {
	addr, def := "", uint16(22)
	switch {
	case t.SSH != nil:
		addr = t.SSH.Address
	case t.Postgres != nil:
		addr, def = t.Postgres.Address, 5432
	}
	h, p, err := net.SplitHostPort(addr)
	if err != nil {
		return strings.Trim(addr, "[]"), def
	}
	n, err := strconv.ParseUint(p, 10, 16)
	if err != nil {
		return h, def
	}
	return h, uint16(n)
}

// of returns the addresses of a target, as last seen.
func (a *addresses) of(t inventory.Target) []netip.Addr {
	host, _ := hostPort(t)
	if ip, err := netip.ParseAddr(host); err == nil {
		return []netip.Addr{ip.Unmap()}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.hosts[host]
}

// source returns the target that a login comes from. Loopback is nobody's.
func (a *addresses) source(ip netip.Addr) (inventory.Target, bool) {
	ip = ip.Unmap()
	if ip.IsLoopback() {
		return inventory.Target{}, false
	}
	for _, t := range a.inv.Targets() {
		for _, have := range a.of(t) {
			if have.Unmap() == ip {
				return t, true
			}
		}
	}
	return inventory.Target{}, false
}

// dest returns the target that a forward of a session on from would reach: by
// name or alias, by address and port as the gateway resolves the name, or as
// the loopback of from itself. Another port of a host that is a target is a
// destination like any other; a database's name means the database.
func (a *addresses) dest(ctx context.Context, from inventory.Target, host string, port uint32) (inventory.Target, bool) {
	var ips []netip.Addr
	local := false
	if t, ok := a.inv.Target(inventory.Normalize(host)); ok {
		if _, p := hostPort(t); t.Kind != inventory.SSH || port == 22 || port == uint32(p) {
			return t, true
		}
		ips, local = a.of(t), t.Name == from.Name
	}
	name := strings.TrimSuffix(strings.Trim(host, "[]"), ".")
	if ip, ok := parseAddress(name); ok {
		ips = append(ips, ip)
	} else if found, err := a.lookup(ctx, name); err == nil {
		ips = append(ips, found...)
	}
	local = local || strings.EqualFold(name, "localhost") || strings.HasSuffix(strings.ToLower(name), ".localhost")
	for i, ip := range ips {
		ips[i] = ip.Unmap()
		local = local || ips[i].IsLoopback() || ips[i].IsUnspecified()
	}
	_, fromPort := hostPort(from)
	for _, t := range a.inv.Targets() {
		_, p := hostPort(t)
		if uint32(p) != port {
			continue
		}
		have := a.of(t)
		if sharesAddress(have, ips) {
			return t, true
		}
		// The far end's own loopback: its sshd, or a database beside it.
		if local && (t.Name == from.Name && p == fromPort || sharesAddress(have, a.of(from))) {
			return t, true
		}
	}
	return inventory.Target{}, false
}

// parseAddress reads an address in every way that a host's resolver does:
// OpenSSH hands it the text as it came, and 127.1, 0x7f000001 and 017700000001
// are all the host itself to inet_aton(3).
func parseAddress(s string) (netip.Addr, bool) {
	if ip, err := netip.ParseAddr(s); err == nil {
		return ip.WithZone("").Unmap(), true
	}
	parts := strings.Split(s, ".")
	if len(parts) > 4 {
		return netip.Addr{}, false
	}
	var sum uint64
	for i, part := range parts {
		if strings.Contains(part, "_") || len(part) > 1 && strings.ContainsRune("bBoO", rune(part[1])) { // Go's own notations
			return netip.Addr{}, false
		}
		bits := 8
		if i == len(parts)-1 { // the last part fills what is left
			bits = 8 * (5 - len(parts))
		}
		n, err := strconv.ParseUint(part, 0, bits)
		if err != nil {
			return netip.Addr{}, false
		}
		sum = sum<<bits | n
	}
	return netip.AddrFrom4([4]byte{byte(sum >> 24), byte(sum >> 16), byte(sum >> 8), byte(sum)}), true
}

func sharesAddress(a, b []netip.Addr) bool {
	for _, x := range a {
		for _, y := range b {
			if x.Unmap() == y.Unmap() {
				return true
			}
		}
	}
	return false
}
