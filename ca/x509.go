package ca

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"math/big"
	"net"
	"strings"
	"time"

	"jit-gateway/approval"
)

// pageLife is how long a page certificate lives: the longest that browsers
// take. One is made at every start.
const pageLife = 397 * 24 * time.Hour

func selfSigned(key crypto.Signer, name string, now time.Time) ([]byte, error) {
	t := &x509.Certificate{
		SerialNumber:          x509Serial(),
		Subject:               pkix.Name{CommonName: name},
		NotBefore:             now.Add(-Backdate),
		NotAfter:              now.Add(caLifetime),
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		BasicConstraintsValid: true,
		IsCA:                  true,
		MaxPathLenZero:        true,
	}
	return x509.CreateCertificate(rand.Reader, t, t, key.Public(), key)
}

// issue signs a fresh ECDSA key: never Ed25519, which breaks psql's channel
// binding and older browsers.
func (i issuer) issue(t *x509.Certificate) (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	t.SerialNumber = x509Serial()
	t.KeyUsage = x509.KeyUsageDigitalSignature
	t.BasicConstraintsValid = true
	der, err := x509.CreateCertificate(rand.Reader, t, i.cert, key.Public(), i.key)
	if err != nil {
		return tls.Certificate{}, err
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return tls.Certificate{}, err
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}, nil
}

func x509Serial() *big.Int { return new(big.Int).SetUint64(serial()) }

// ClientCert is step 8 for databases that take certificates: a fresh key with
// the admission's role as common name and its grant as organisational unit,
// valid for ttl at most and never past the grant's end. serial is hexadecimal.
func (a *Authority) ClientCert(adm approval.Admission, role string, ttl time.Duration) (c tls.Certificate, serial string, err error) {
	now := a.now()
	switch err := adm.Check(now); {
	case err != nil:
		return c, "", fmt.Errorf("mint client certificate: %w", err)
	case adm.Target().Postgres == nil:
		return c, "", fmt.Errorf("mint client certificate: %q is not a database", adm.Target().Name)
	case role == "" || role != adm.Login() || !adm.Target().Allows(role):
		return c, "", fmt.Errorf("mint client certificate: the admission is not for role %q", role)
	case ttl <= 0:
		return c, "", errors.New("mint client certificate: no lifetime")
	}
	until := now.Add(ttl)
	if adm.End().Before(until) {
		until = adm.End()
	}
	if until = until.Truncate(time.Second); !until.After(now) {
		return c, "", errors.New("mint client certificate: less than a second is left of the grant")
	}
	c, err = a.cas.Load().client.current.issue(&x509.Certificate{
		Subject:     pkix.Name{CommonName: role, OrganizationalUnit: []string{adm.Grant().ID}},
		NotBefore:   now.Add(-Backdate),
		NotAfter:    until,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	})
	if err != nil {
		return c, "", fmt.Errorf("sign client certificate: %w", err)
	}
	return c, c.Leaf.SerialNumber.Text(16), nil
}

// PageTLS returns a server certificate for names (host names or addresses),
// ECDSA, from the page CA: for the page and for the PostgreSQL port.
func (a *Authority) PageTLS(names []string) (tls.Certificate, error) {
	if len(names) == 0 {
		return tls.Certificate{}, errors.New("mint page certificate: no name")
	}
	t := &x509.Certificate{
		Subject:     pkix.Name{CommonName: names[0]},
		NotBefore:   a.now().Add(-time.Hour),
		NotAfter:    a.now().Add(pageLife),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	for _, n := range names {
		n = strings.TrimSuffix(strings.TrimPrefix(n, "["), "]")
		if ip := net.ParseIP(n); ip != nil {
			t.IPAddresses = append(t.IPAddresses, ip)
			continue
		}
		if err := checkPrincipal(n); err != nil {
			return tls.Certificate{}, fmt.Errorf("mint page certificate: %w", err)
		}
		t.DNSNames = append(t.DNSNames, n)
	}
	c, err := a.cas.Load().page.current.issue(t)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("sign page certificate: %w", err)
	}
	return c, nil
}

// PageCA is the PEM bundle that browsers and sslrootcert should trust. The
// first signs.
func (a *Authority) PageCA() []byte { return bundle(a.cas.Load().page.all()) }

// PageIssuer is the certificate of the page CA that signs now.
func (a *Authority) PageIssuer() *x509.Certificate { return a.cas.Load().page.current.cert }
