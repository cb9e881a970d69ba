package sshproxy

import (
	"encoding/binary"
	"path"

	"jit-gateway/approval/policy"
)

// An sftpRule inspects requests before they go on. Path prefixes compare
// text: a symbolic link on the target that leads out of a prefix is followed,
// which is why links cannot be made under one.
type sftpRule struct {
	read, write bool
	paths       []string
}

// sftpRuleOf returns nil where everything is allowed.
func sftpRuleOf(c policy.Channels) *sftpRule {
	if c.SFTP == "both" && len(c.SFTPPaths) == 0 {
		return nil
	}
	return &sftpRule{
		read:  c.SFTP == "read" || c.SFTP == "both",
		write: c.SFTP == "write" || c.SFTP == "both",
		paths: c.SFTPPaths,
	}
}

// An sftpRequest is what a rule needs to know of a packet.
type sftpRequest struct {
	paths         []string
	reads, writes bool
	links         bool
	unknown       bool
}

// refuses returns why a request is refused, or nothing.
func (s *sftpRule) refuses(r sftpRequest, home string) string {
	switch {
	case r.unknown:
		return "the rule does not allow that kind of request"
	case r.reads && !s.read:
		return "the rule does not allow reading files"
	case r.writes && !s.write:
		return "the rule does not allow changing files"
	case len(s.paths) == 0:
		return ""
	case r.links:
		return "the rule allows no links"
	}
	for _, p := range r.paths {
		if !path.IsAbs(p) && home != "" {
			p = path.Join(home, p)
		}
		if !underPrefix(s.paths, p) {
			return "the rule does not allow that path"
		}
	}
	return ""
}

// statusPacket is an SSH_FXP_STATUS.
func statusPacket(id, code uint32, text string) []byte {
	b := make([]byte, 4, 64)
	b = append(b, fxStatus)
	b = binary.BigEndian.AppendUint32(b, id)
	b = binary.BigEndian.AppendUint32(b, code)
	b = binary.BigEndian.AppendUint32(b, uint32(len(text)))
	b = append(b, text...)
	b = binary.BigEndian.AppendUint32(b, 0) // language
	binary.BigEndian.PutUint32(b, uint32(len(b)-4))
	return b
}
