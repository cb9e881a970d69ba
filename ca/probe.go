package ca

import (
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"math/big"
	"slices"
	"time"

	"golang.org/x/crypto/ssh"

	"jit-gateway/internal/inventory"
)

// ProbeLife is how long a probe's certificate is valid.
const ProbeLife = time.Minute

// ProbeOptions say what a probe asks.
type ProbeOptions struct {
	// OtherPrincipal takes the form of the principal that the target is not
	// set to: the plain login for a scoped target, login@target for a plain one.
	OtherPrincipal bool
	// SourceAddresses as in UserCertOptions. May be empty, which asks whether
	// the addresses are what the host minds.
	SourceAddresses []string
	// Next asks about the user CA that will sign next; without one it is an error.
	Next bool
}

// ProbeCert signs a question, not a credential: a certificate like those of
// sessions, over a public key that no private key was ever made for. sshd
// says whether it would accept it (RFC 4252, section 7) before anybody has to
// sign, and nobody could. So it needs no admission, and opens nothing (G1).
func (a *Authority) ProbeCert(t inventory.Target, login string, o ProbeOptions) (*ssh.Certificate, error) {
	if t.SSH == nil {
		return nil, fmt.Errorf("sign a probe: %q is not an SSH host", t.Name)
	}
	if o.OtherPrincipal {
		other := *t.SSH
		if other.Principals = "plain"; t.SSH.Principals == "plain" {
			other.Principals = "scoped"
		}
		t.SSH = &other
	}
	principal, err := userPrincipal(t, login)
	if err != nil {
		return nil, fmt.Errorf("sign a probe: %w", err)
	}
	critical := map[string]string{}
	if len(o.SourceAddresses) > 0 {
		if critical, err = criticalOptions(UserCertOptions{SourceAddresses: o.SourceAddresses}); err != nil {
			return nil, fmt.Errorf("sign a probe: %w", err)
		}
	}
	pub, err := ssh.NewPublicKey(nobodysKey())
	if err != nil {
		return nil, fmt.Errorf("sign a probe: %w", err)
	}
	now := a.now()
	cert := &ssh.Certificate{
		Key:             pub,
		Serial:          serial(),
		CertType:        ssh.UserCert,
		KeyId:           "check/" + t.Name,
		ValidPrincipals: []string{principal},
		ValidAfter:      uint64(now.Add(-Backdate).Unix()),
		ValidBefore:     uint64(now.Add(ProbeLife).Unix()),
		Permissions:     ssh.Permissions{CriticalOptions: critical, Extensions: map[string]string{}},
	}
	signer := a.userCA()
	if o.Next {
		if signer = a.cas.Load().user.next; signer == nil {
			return nil, errors.New("sign a probe: no user CA is waiting")
		}
	}
	if err := cert.SignCert(rand.Reader, signer); err != nil {
		return nil, fmt.Errorf("sign a probe: %w", err)
	}
	return cert, nil
}

// A Probe is an ssh.Signer that notes that it was asked to sign, which means
// that the host would have accepted its key, and never signs.
type Probe struct {
	key      ssh.PublicKey
	Accepted bool
}

// NewProbe asks about any key: a ProbeCert, or one that hosts know.
func NewProbe(key ssh.PublicKey) *Probe { return &Probe{key: key} }

var errProbe = errors.New("a probe does not sign")

// PublicKey is what the host is asked about.
func (p *Probe) PublicKey() ssh.PublicKey { return p.key }

// Sign never does.
func (p *Probe) Sign(io.Reader, []byte) (*ssh.Signature, error) {
	p.Accepted = true
	return nil, errProbe
}

// SignWithAlgorithm never does either; that it is there lets a host be asked
// about RSA keys with all their algorithms.
func (p *Probe) SignWithAlgorithm(r io.Reader, data []byte, _ string) (*ssh.Signature, error) {
	return p.Sign(r, data)
}

// nobodysKey is a random point of the curve that is not computed from a
// private key, so that there is none to keep, leak or forget. Its encoding is
// the y coordinate with the sign of x on top (RFC 8032, section 5.1.2); about
// every second number is the y of a point.
func nobodysKey() ed25519.PublicKey {
	for {
		k := make(ed25519.PublicKey, ed25519.PublicKeySize)
		rand.Read(k)
		if onCurve(k) {
			return k
		}
	}
}

var (
	curveP = new(big.Int).Sub(new(big.Int).Lsh(big.NewInt(1), 255), big.NewInt(19))
	curveD = func() *big.Int { // -121665/121666
		d := new(big.Int).ModInverse(big.NewInt(121666), curveP)
		return d.Mod(d.Mul(d, big.NewInt(-121665)), curveP)
	}()
)

// onCurve reports whether x² = (y²-1)/(dy²+1) has a solution other than 0.
func onCurve(k ed25519.PublicKey) bool {
	b := slices.Clone([]byte(k))
	b[31] &= 0x7f
	slices.Reverse(b)
	y := new(big.Int).SetBytes(b)
	if y.Cmp(curveP) >= 0 {
		return false
	}
	one := big.NewInt(1)
	yy := new(big.Int).Mul(y, y)
	u := new(big.Int).Sub(yy, one)
	v := new(big.Int).Mul(yy, curveD)
	v.Add(v, one)
	uv := u.Mul(u, v)
	return big.Jacobi(uv.Mod(uv, curveP), curveP) == 1
}
