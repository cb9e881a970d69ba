package ca

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"fmt"
	"slices"
	"time"

	"golang.org/x/crypto/ssh"

	"jit-gateway/internal/inventory"
)

// hostCertLife is how long an inner host certificate lives: as long as a
// working day's session, because some clients look at it again at every
// rekeying. Its key is derived, stays here, and is as good without it.
const hostCertLife = 24 * time.Hour

// HostSigners returns the host keys of a target as users see it: ed25519 and
// ECDSA P-256, each with a certificate for exactly the requested name (and the
// target's name and aliases) and plain. The keys are stable per target, so
// that users without the CA line are not alarmed.
//
// Host certificates precede admission: for a target that is unknown or that
// the user may not see, pass a Target that has the requested name alone, so
// that the certificate tells nothing.
func (a *Authority) HostSigners(t inventory.Target, requested string) ([]ssh.Signer, error) {
	principals := []string{requested}
	for _, n := range append([]string{t.Name}, t.Aliases...) {
		if !slices.Contains(principals, n) {
			principals = append(principals, n)
		}
	}
	for _, p := range principals {
		if err := checkPrincipal(p); err != nil {
			return nil, fmt.Errorf("mint host certificate: %w", err)
		}
	}
	plain, err := a.targetKeys(t.Name)
	if err != nil {
		return nil, err
	}
	now := a.now()
	var signers []ssh.Signer
	for _, key := range plain {
		cert := &ssh.Certificate{
			Key:             key.PublicKey(),
			Serial:          serial(),
			CertType:        ssh.HostCert,
			KeyId:           "inner/" + t.Name,
			ValidPrincipals: principals,
			ValidAfter:      uint64(now.Add(-Backdate).Unix()),
			ValidBefore:     uint64(now.Add(hostCertLife).Unix()),
		}
		if err := cert.SignCert(rand.Reader, a.hostCA()); err != nil {
			return nil, fmt.Errorf("sign host certificate: %w", err)
		}
		s, err := ssh.NewCertSigner(cert, key)
		if err != nil {
			return nil, fmt.Errorf("use host certificate: %w", err)
		}
		signers = append(signers, s)
	}
	return append(signers, plain...), nil
}

// targetKeys derives the plain host keys of a target name.
func (a *Authority) targetKeys(name string) ([]ssh.Signer, error) {
	if s, ok := a.hostKeys.Get(name); ok {
		return s, nil
	}
	edKey := ed25519.NewKeyFromSeed(a.derive("inner host key ed25519 "+name, ed25519.SeedSize))
	ecKey, err := a.deriveECDSA("inner host key ecdsa " + name)
	if err != nil {
		return nil, err
	}
	var signers []ssh.Signer
	for _, k := range []any{edKey, ecKey} {
		s, err := ssh.NewSignerFromKey(k)
		if err != nil {
			return nil, fmt.Errorf("derive host key: %w", err)
		}
		signers = append(signers, s)
	}
	a.hostKeys.Add(name, signers)
	return signers, nil
}

// deriveECDSA takes the first candidate that is a valid scalar; one in 2^32 is not.
func (a *Authority) deriveECDSA(purpose string) (*ecdsa.PrivateKey, error) {
	var err error
	for i := range 8 {
		var k *ecdsa.PrivateKey
		if k, err = ecdsa.ParseRawPrivateKey(elliptic.P256(), a.derive(fmt.Sprintf("%s %d", purpose, i), 32)); err == nil {
			return k, nil
		}
	}
	return nil, fmt.Errorf("derive host key: %w", err)
}
