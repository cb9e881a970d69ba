package sshproxy

import (
	"net"
	"net/netip"
	"path"
	"slices"
	"strings"

	"jit-gateway/approval/policy"
)

// anyGlob reports whether s matches one of the patterns.
func anyGlob(patterns []string, s string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool { return policy.Glob(p, s) })
}

// mayForward reports whether one of the patterns allows a destination or a
// listener. Where the host of a pattern is the beginning of an address, only
// addresses match it: 10.0.0.* is not 10.0.0.example.com. 10.0.0.0/8:443 is a
// network, and sockets are for patterns that say unix:, or everything.
func mayForward(patterns []string, dest string) bool {
	host, port, err := net.SplitHostPort(dest)
	ip, ipErr := netip.ParseAddr(host)
	socket := strings.HasPrefix(dest, "unix:")
	return slices.ContainsFunc(patterns, func(p string) bool {
		if p == "*" || socket {
			return p == "*" || strings.HasPrefix(p, "unix:") && policy.Glob(p, dest)
		}
		i := strings.LastIndexByte(p, ':')
		if err != nil || i < 0 {
			return false
		}
		if network, err := netip.ParsePrefix(strings.Trim(p[:i], "[]")); err == nil {
			return ipErr == nil && network.Contains(ip.Unmap()) && policy.Glob(p[i+1:], port)
		}
		return policy.Glob(p, dest) && (ipErr == nil || !addressGlob(p[:i]))
	})
}

// addressGlob reports whether a host pattern is about IPv4 addresses. (No name
// has a colon, so those of IPv6 need no such care.)
func addressGlob(host string) bool {
	return strings.ContainsAny(host, "0123456789") && strings.Trim(host, "0123456789.*?") == ""
}

// shellMeta are the characters with which one command line becomes two, or
// reads or writes what its pattern does not show.
const shellMeta = ";&|<>`$(){}[]*?!~#\\\n\r\x00'\""

// hasMeta reports whether a command line is more than words.
func hasMeta(cmd string) bool { return strings.ContainsAny(cmd, shellMeta) }

// execAllowed decides a command line: by the patterns where the rule has some,
// and then never with shell metacharacters. A copy by scp is also allowed
// where the rule allows sftp in that direction.
func execAllowed(c policy.Channels, cmd string) (ok bool, why string) {
	if copyCmd, is := parseSCP(cmd); is && (!c.Exec || len(c.ExecPatterns) > 0) {
		if need := copyCmd.needs(); c.SFTP == "both" || c.SFTP == need {
			// A shell finds /srv/.?/etc below no prefix.
			globs := len(c.SFTPPaths) > 0 && strings.ContainsAny(copyCmd.Path, "*?[")
			if !globs && underPrefix(c.SFTPPaths, copyCmd.Path) {
				return true, ""
			}
			return false, "the rule allows no copy to or from that path"
		}
	}
	switch {
	case !c.Exec:
		return false, "the rule allows no commands"
	case len(c.ExecPatterns) == 0:
		return true, ""
	case hasMeta(cmd):
		return false, "the rule allows plain commands only, without quotes, pipes, variables and the like"
	case !anyGlob(c.ExecPatterns, cmd):
		return false, "the rule does not allow that command"
	}
	return true, ""
}

// underPrefix reports whether p lies below one of the prefixes, by its text
// alone: the target's symbolic links are not ours to know.
func underPrefix(prefixes []string, p string) bool {
	if len(prefixes) == 0 {
		return true
	}
	if !path.IsAbs(p) {
		return false // relative to a home that we do not know
	}
	p = path.Clean(p)
	for _, prefix := range prefixes {
		prefix = path.Clean(prefix)
		if p == prefix || prefix == "/" || strings.HasPrefix(p, prefix+"/") {
			return true
		}
	}
	return false
}
