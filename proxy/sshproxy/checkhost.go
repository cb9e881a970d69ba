package sshproxy

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"

	"jit-gateway/internal/display"
)

// in says where the target's definition is changed, for a line of YAML and
// the flag that does the same for targets of the store.
func (k *checker) in(line, flag string) string {
	switch k.t.Source {
	case "store":
		return fmt.Sprintf("jit-gateway target add %s … %s", k.t.Name, flag)
	case "", "config":
		return fmt.Sprintf("in the gateway's configuration, targets, %s, under ssh: %s", k.t.Name, line)
	}
	return fmt.Sprintf("in %s, target %s, under ssh: %s", k.t.Source, k.t.Name, line)
}

// host looks who answers at the address. It reports whether it is worth going on.
func (k *checker) host(ctx context.Context) bool {
	ctx, cancel := k.within(ctx)
	defer cancel()
	v, verr := newHostVerifier(k.t, k.s.o.Authority.HostCAKeys(), k.s.o.Now)
	if verr == nil {
		k.v = v
	}
	l, err := k.see(ctx, v)
	if l == nil {
		if k.t.SSH.Via != "" {
			k.bad("via "+k.t.SSH.Via, err.Error(), "see: jit-gateway target check "+k.t.SSH.Via)
			return false
		}
		k.bad("address", k.t.SSH.Address+" "+err.Error(), k.in("address: HOST:PORT", "--ssh HOST:PORT")+"\nor start sshd there and open the port for the gateway")
		return false
	}
	if k.t.SSH.Via != "" {
		k.ok("via "+k.t.SSH.Via, "")
	}
	if !l.first.ssh() {
		detail := "is open, but says nothing"
		switch {
		case len(l.first.got) > 0:
			detail = fmt.Sprintf("is not SSH: it says %q", l.first.line())
		case context.Cause(ctx) == nil:
			detail = "is open, but hangs up at once (MaxStartups, PerSourcePenalties or a firewall)"
		}
		k.bad("address", k.t.SSH.Address+" "+detail, k.in("address: HOST:PORT", "--ssh HOST:PORT"))
		return false
	}
	k.ok("address", k.t.SSH.Address+" "+l.first.line())
	if l.key == nil && verr == nil {
		// Perhaps it has no key of the kinds that the target is known by.
		if again, aerr := k.see(ctx, nil); again != nil && again.key != nil {
			l.why = fmt.Errorf("it has no host key of the configured kind (%s)", strings.Join(v.algorithms, ", "))
			l.key = again.key
		} else if aerr != nil {
			err = aerr
		}
	}
	switch {
	case l.key == nil:
		k.bad("key exchange", display.Line(err.Error(), 300), "on the host: /etc/ssh/sshd_config must not exclude all of KexAlgorithms curve25519-sha256, HostKeyAlgorithms ssh-ed25519, Ciphers aes256-gcm@openssh.com")
	case verr != nil:
		k.bad("host key", verr.Error()+"; it shows "+shown(l.key), k.pinFix(l.key))
	case l.why != nil:
		k.bad("host key", l.why.Error()+": it shows "+shown(l.key), k.keyFix(l.key))
	default:
		k.ok("host key", shown(l.key))
		return true
	}
	return false
}

// see does one key exchange, and verifies the key if it can. The look is nil
// if there was no connection.
func (k *checker) see(ctx context.Context, v *hostVerifier) (*look, error) {
	l, err := k.connect(ctx)
	if err != nil {
		return nil, err
	}
	defer l.close()
	c := &ssh.ClientConfig{User: k.t.Name, HostKeyCallback: func(_ string, _ net.Addr, key ssh.PublicKey) error {
		l.key = key
		return errSeen
	}}
	if v != nil {
		c.HostKeyAlgorithms = v.algorithms
	}
	err = k.handshake(ctx, l, c)
	if l.key != nil && v != nil {
		l.why = v.verify(l.conn.RemoteAddr(), l.key)
		if _, isCert := l.key.(*ssh.Certificate); l.why != nil && !isCert {
			l.why = errors.New("not the configured one")
		}
	}
	return l, err
}

// shown is a host key in one line.
func shown(key ssh.PublicKey) string {
	cert, ok := key.(*ssh.Certificate)
	if !ok {
		return key.Type() + " " + ssh.FingerprintSHA256(key)
	}
	until := "for ever"
	if cert.ValidBefore != ssh.CertTimeInfinity && cert.ValidBefore < 1<<40 {
		until = "until " + time.Unix(int64(cert.ValidBefore), 0).UTC().Format(time.RFC3339)
	}
	var names []string
	for _, n := range cert.ValidPrincipals[:min(len(cert.ValidPrincipals), 8)] {
		names = append(names, display.Line(n, 64))
	}
	return fmt.Sprintf("a certificate for [%s] of %s %s, signed by %s, valid %s", strings.Join(names, " "),
		cert.Key.Type(), ssh.FingerprintSHA256(cert.Key), ssh.FingerprintSHA256(cert.SignatureKey), until)
}

func keyText(k ssh.PublicKey) string { return strings.TrimSpace(string(ssh.MarshalAuthorizedKey(k))) }

// pinFix is for a plain key, or a certificate whose CA nobody configured.
func (k *checker) pinFix(key ssh.PublicKey) string {
	if cert, ok := key.(*ssh.Certificate); ok {
		ca := keyText(cert.SignatureKey)
		return "if that CA is yours (compare its fingerprint with: ssh-keygen -lf host_ca.pub), " + k.in(fmt.Sprintf("host_cas: [%q]", ca), fmt.Sprintf("--host-ca '%s'", ca))
	}
	line, kind := keyText(key), strings.TrimPrefix(key.Type(), "ssh-")
	if strings.HasPrefix(key.Type(), "ecdsa") {
		kind = "ecdsa"
	}
	return fmt.Sprintf("compare on the host: ssh-keygen -lf /etc/ssh/ssh_host_%s_key.pub\nonly if it is the same, ", kind) + k.in(fmt.Sprintf("host_keys: [%q]", line), fmt.Sprintf("--host-key '%s'", line))
}

// keyFix is for a key or certificate that was refused.
func (k *checker) keyFix(key ssh.PublicKey) string {
	cert, ok := key.(*ssh.Certificate)
	if !ok {
		return k.pinFix(key)
	}
	ours := slices.ContainsFunc(k.v.cas, func(c ssh.PublicKey) bool { return same(c, cert.SignatureKey) })
	now := uint64(k.s.o.Now().Unix())
	switch {
	case !ours:
		return k.pinFix(key)
	case now < cert.ValidAfter || now >= cert.ValidBefore:
		return fmt.Sprintf("sign it anew: ssh-keygen -s host_ca -I %s -h -n %s -V +52w /etc/ssh/ssh_host_ed25519_key.pub, and name the file in /etc/ssh/sshd_config: HostCertificate /etc/ssh/ssh_host_ed25519_key-cert.pub", k.t.Name, k.v.name)
	case len(cert.ValidPrincipals) > 0 && !slices.Contains(cert.ValidPrincipals, k.v.name):
		name := display.Line(cert.ValidPrincipals[0], 253)
		return fmt.Sprintf("sign it anew with -n %s, or if this is the right host, ", k.v.name) + k.in("host_name: "+name, "--host-name "+name)
	}
	return fmt.Sprintf("sign it anew: ssh-keygen -s host_ca -I %s -h -n %s /etc/ssh/ssh_host_ed25519_key.pub", k.t.Name, k.v.name)
}
