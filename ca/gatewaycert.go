package ca

import (
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"golang.org/x/crypto/ssh"

	"jit-gateway/approval"
)

// Extensions of the certificates that the gateway itself accepts. Those for
// hosts never have them, so neither passes for the other.
const (
	extGrant = "grant@jit-gateway"
	extKey   = "key@jit-gateway"
)

// gatewayPrincipal is a name that no host has as a login, because of the slash.
func gatewayPrincipal(user string) string { return "gateway/" + user }

// A Delegation is what a certificate for the gateway says, once verified:
// its key may act under this one grant, in place of the registered key.
type Delegation struct {
	Grant          string
	KeyFingerprint string // of the registered key that asked for it
	Serial         uint64
}

// GatewayCert signs pub as a first factor that the gateway accepts under the
// admission's grant alone, until its end. It opens no host by itself.
func (a *Authority) GatewayCert(adm approval.Admission, pub ssh.PublicKey) (*ssh.Certificate, error) {
	now := a.now()
	if err := adm.Check(now); err != nil {
		return nil, fmt.Errorf("mint gateway certificate: %w", err)
	}
	if adm.Target().SSH == nil {
		return nil, fmt.Errorf("%q is no SSH host: certificates are for those alone", adm.Target().Name)
	}
	if adm.KeyFingerprint() == "" {
		return nil, errors.New("a certificate stands for a registered key, and this was asked for without one")
	}
	if err := delegable(pub); err != nil {
		return nil, err
	}
	principal := gatewayPrincipal(adm.User().Name)
	if err := checkPrincipal(principal); err != nil {
		return nil, fmt.Errorf("mint gateway certificate: %w", err)
	}
	if adm.End().Unix() <= now.Unix() {
		return nil, errors.New("mint gateway certificate: less than a second is left of the grant")
	}
	cert := &ssh.Certificate{
		Key:             pub,
		Serial:          serial(),
		CertType:        ssh.UserCert,
		KeyId:           adm.User().Name + "/" + adm.Grant().ID,
		ValidPrincipals: []string{principal},
		ValidAfter:      uint64(now.Unix()),
		ValidBefore:     uint64(adm.End().Unix()),
		Permissions:     ssh.Permissions{Extensions: map[string]string{extGrant: adm.Grant().ID, extKey: adm.KeyFingerprint()}},
	}
	if err := cert.SignCert(rand.Reader, a.userCA()); err != nil {
		return nil, fmt.Errorf("sign gateway certificate: %w", err)
	}
	return cert, nil
}

// VerifyGatewayCert is the only judge of certificates that are shown to the
// gateway. Whether user and grant are still good is not in a certificate.
func (a *Authority) VerifyGatewayCert(cert *ssh.Certificate, user string) (Delegation, error) {
	var none Delegation
	now := a.now()
	switch grant, key := cert.Extensions[extGrant], cert.Extensions[extKey]; {
	case cert.CertType != ssh.UserCert:
		return none, errors.New("it is not a user certificate")
	case cert.SignatureKey == nil || !a.signedByUs(cert.SignatureKey):
		return none, errors.New("another CA has signed it")
	case len(cert.ValidPrincipals) != 1 || cert.ValidPrincipals[0] != gatewayPrincipal(user):
		return none, errors.New("it is for another name or another place")
	case len(cert.CriticalOptions) > 0:
		return none, errors.New("it has conditions that the gateway does not know")
	case len(cert.Extensions) != 2 || grant == "" || key == "":
		return none, errors.New("it names no grant")
	case cert.ValidBefore > 1<<40 || !now.Before(time.Unix(int64(cert.ValidBefore), 0)):
		return none, errors.New("it has expired, with its grant")
	case cert.ValidAfter > 1<<40 || now.Before(time.Unix(int64(cert.ValidAfter), 0)):
		return none, errors.New("it is not valid yet")
	default:
		if err := delegable(cert.Key); err != nil {
			return none, err
		}
		check := ssh.CertChecker{Clock: func() time.Time { return now }}
		if err := check.CheckCert(gatewayPrincipal(user), cert); err != nil {
			return none, errors.New("its signature is not good")
		}
		return Delegation{Grant: grant, KeyFingerprint: key, Serial: cert.Serial}, nil
	}
}

// delegable refuses keys that certificates are not made for: certificates
// themselves, and keys that are too weak or need somebody's finger.
func delegable(pub ssh.PublicKey) error {
	if _, isCert := pub.(*ssh.Certificate); isCert || pub == nil {
		return errors.New("a certificate is over a plain key")
	}
	switch pub.Type() {
	case ssh.KeyAlgoED25519, ssh.KeyAlgoECDSA256, ssh.KeyAlgoECDSA384, ssh.KeyAlgoECDSA521:
		return nil
	}
	return fmt.Errorf("certificates are made for ed25519 and ecdsa keys, not for %s", pub.Type())
}
