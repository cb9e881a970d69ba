package ca

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"
	"unicode"

	"golang.org/x/crypto/ssh"

	"jit-gateway/approval"
	"jit-gateway/internal/inventory"
)

// UserCertLife is how long a user certificate lives at most: long enough to
// log in, which happens at once.
const UserCertLife = 2 * time.Minute

// UserCertOptions narrow a user certificate.
type UserCertOptions struct {
	Session string // id of the session, for the key id
	// SourceAddresses are the gateway's egress addresses as CIDR or address;
	// at least one, because a certificate is never good from everywhere.
	SourceAddresses []string
	ForceCommand    string
	// Extensions such as permit-pty, without values; none by default.
	Extensions []string
}

// extensions that sshd knows and a rule may ask for.
var extensions = []string{"permit-pty", "permit-agent-forwarding", "permit-port-forwarding", "permit-X11-forwarding", "permit-user-rc"}

// UserCert is step 8: it signs pub as the admission's login on its target.
// The certificate has exactly one principal and is valid from two minutes ago
// to the earlier of in two minutes and the grant's end.
func (a *Authority) UserCert(adm approval.Admission, pub ssh.PublicKey, o UserCertOptions) (*ssh.Certificate, error) {
	now := a.now()
	if err := adm.Check(now); err != nil {
		return nil, fmt.Errorf("mint user certificate: %w", err)
	}
	target := adm.Target()
	if target.SSH == nil {
		return nil, fmt.Errorf("mint user certificate: %q is not an SSH host", target.Name)
	}
	principal, err := userPrincipal(target, adm.Login())
	if err != nil {
		return nil, fmt.Errorf("mint user certificate: %w", err)
	}
	critical, err := criticalOptions(o)
	if err != nil {
		return nil, fmt.Errorf("mint user certificate: %w", err)
	}
	// Whole seconds, rounded towards now: never past the grant's end.
	until := now.Add(UserCertLife)
	if adm.End().Before(until) {
		until = adm.End()
	}
	if until.Unix() <= now.Unix() {
		return nil, errors.New("mint user certificate: less than a second is left of the grant")
	}
	cert := &ssh.Certificate{
		Key:             pub,
		Serial:          serial(),
		CertType:        ssh.UserCert,
		KeyId:           o.Session + "/" + adm.User().Name + "/" + adm.Grant().ID,
		ValidPrincipals: []string{principal},
		ValidAfter:      uint64(now.Add(-Backdate).Unix()),
		ValidBefore:     uint64(until.Unix()),
		Permissions:     ssh.Permissions{CriticalOptions: critical, Extensions: map[string]string{}},
	}
	for _, e := range o.Extensions {
		if !slices.Contains(extensions, e) {
			return nil, fmt.Errorf("mint user certificate: no extension %q", e)
		}
		cert.Extensions[e] = ""
	}
	if err := cert.SignCert(rand.Reader, a.userCA()); err != nil {
		return nil, fmt.Errorf("sign user certificate: %w", err)
	}
	return cert, nil
}

func userPrincipal(t inventory.Target, login string) (string, error) {
	if !t.Allows(login) {
		return "", fmt.Errorf("%q has no login %q", t.Name, login)
	}
	p := login
	if t.SSH.Principals != "plain" {
		p = login + "@" + t.Name
	}
	return p, checkPrincipal(p)
}

// checkPrincipal refuses what some reader of a certificate would take for
// nobody, everybody or several.
func checkPrincipal(p string) error {
	bad := func(r rune) bool {
		return unicode.IsSpace(r) || !unicode.IsPrint(r) || strings.ContainsRune(`,*?!"\`, r)
	}
	switch {
	case p == "":
		return errors.New("the principal is empty")
	case len(p) > 320: // login 63, host name 253
		return errors.New("the principal is too long")
	case strings.ContainsFunc(p, bad):
		return fmt.Errorf("the principal %q has a character that certificates must not hold", p)
	}
	return nil
}

func criticalOptions(o UserCertOptions) (map[string]string, error) {
	if len(o.SourceAddresses) == 0 {
		return nil, errors.New("no source address to bind it to")
	}
	for _, s := range o.SourceAddresses {
		_, errA := netip.ParseAddr(s)
		_, errP := netip.ParsePrefix(s)
		if errA != nil && errP != nil {
			return nil, fmt.Errorf("%q is not an address or CIDR", s)
		}
	}
	c := map[string]string{"source-address": strings.Join(o.SourceAddresses, ",")}
	if o.ForceCommand != "" {
		c["force-command"] = o.ForceCommand
	}
	return c, nil
}

// serial is 63 random bits: unique without asking anyone, and positive for
// every tool that reads it as a signed number.
func serial() uint64 {
	var b [8]byte
	rand.Read(b[:])
	return binary.BigEndian.Uint64(b[:])>>1 | 1
}
