package sshproxy

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"

	"jit-gateway/internal/audit"
	"jit-gateway/internal/inventory"
)

// A hostVerifier knows one target by its pinned keys and host CAs. There is
// no trust on first use.
type hostVerifier struct {
	name       string
	pins, cas  []ssh.PublicKey
	algorithms []string
	now        func() time.Time
	err        error // why the last key was refused
}

// newHostVerifier reads a target's pins and CAs. inner are the gateway's own
// CAs for the names that users see: they never vouch for an upstream.
func newHostVerifier(t inventory.Target, inner []ssh.PublicKey, now func() time.Time) (*hostVerifier, error) {
	v := &hostVerifier{name: t.SSH.HostName, now: now}
	if v.name == "" {
		v.name = t.Name
	}
	parse := func(lines []string, what string) ([]ssh.PublicKey, error) {
		var keys []ssh.PublicKey
		for _, l := range lines {
			k, _, _, _, err := ssh.ParseAuthorizedKey([]byte(l))
			if err != nil {
				return nil, fmt.Errorf("its configured %s is not a public key", what)
			}
			keys = append(keys, k)
		}
		return keys, nil
	}
	var err error
	if v.pins, err = parse(t.SSH.HostKeys, "host key"); err != nil {
		return nil, err
	}
	if v.cas, err = parse(t.SSH.HostCAs, "host CA"); err != nil {
		return nil, err
	}
	v.cas = slices.DeleteFunc(v.cas, func(k ssh.PublicKey) bool {
		return slices.ContainsFunc(inner, func(ca ssh.PublicKey) bool { return same(k, ca) })
	})
	if len(v.cas) > 0 {
		v.algorithms = append(v.algorithms, ssh.CertAlgoED25519v01, ssh.CertAlgoECDSA256v01, ssh.CertAlgoECDSA384v01, ssh.CertAlgoECDSA521v01, ssh.CertAlgoRSASHA512v01, ssh.CertAlgoRSASHA256v01)
	}
	for _, k := range v.pins {
		if k.Type() == ssh.KeyAlgoRSA {
			v.algorithms = append(v.algorithms, ssh.KeyAlgoRSASHA512, ssh.KeyAlgoRSASHA256)
			continue
		}
		v.algorithms = append(v.algorithms, k.Type())
	}
	if len(v.algorithms) == 0 {
		return nil, errors.New("the gateway has neither a host key nor a host CA for it, and trusts nobody on first use")
	}
	return v, nil
}

func same(a, b ssh.PublicKey) bool {
	return a != nil && b != nil && string(a.Marshal()) == string(b.Marshal())
}

// check is called in the key exchange, before anything is minted.
func (v *hostVerifier) check(_ string, remote net.Addr, key ssh.PublicKey) error {
	v.err = v.verify(remote, key)
	return v.err
}

func (v *hostVerifier) verify(remote net.Addr, key ssh.PublicKey) error {
	cert, isCert := key.(*ssh.Certificate)
	if !isCert {
		if slices.ContainsFunc(v.pins, func(p ssh.PublicKey) bool { return same(p, key) }) {
			return nil
		}
		return fmt.Errorf("its host key changed: it shows %s, which is not the configured one", ssh.FingerprintSHA256(key))
	}
	if len(cert.ValidPrincipals) == 0 {
		return errors.New("its host certificate names no host, which would mean every host")
	}
	checker := ssh.CertChecker{
		IsHostAuthority: func(ca ssh.PublicKey, _ string) bool {
			return slices.ContainsFunc(v.cas, func(k ssh.PublicKey) bool { return same(k, ca) })
		},
		Clock: v.now,
	}
	if err := checker.CheckHostKey(net.JoinHostPort(v.name, "22"), remote, key); err != nil {
		return fmt.Errorf("its host certificate is not good: %s", strings.TrimPrefix(err.Error(), "ssh: "))
	}
	return nil
}

func configuredKeyEvent(t inventory.Target, login string) audit.Event {
	return audit.Event{Type: audit.CredentialMinted, Outcome: audit.Success, Target: t.Name,
		Reason: "the host takes no certificates: a configured key is used",
		Detail: map[string]string{"kind": "configured_key", "login": login}}
}
