package ca

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/hkdf"
	"crypto/sha256"
	"crypto/x509"
	"fmt"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"golang.org/x/crypto/ssh"
)

// An Authority holds the gateway's keys and mints from them. It is safe for
// concurrent use.
type Authority struct {
	now    func() time.Time
	root   []byte       // HKDF input of the host keys and of the salts
	userCA ssh.Signer   // signs user certificates for targets; hosts trust it
	hostCA ssh.Signer   // signs the names that users see; never verifies an upstream
	outer  []ssh.Signer // the gateway's own host keys
	client issuer       // database-client CA
	page   issuer       // page CA

	hostKeys *lru.Cache[string, []ssh.Signer] // per target; derived, so the cache only saves time
}

// issuer is an X.509 CA.
type issuer struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// Options of Load. The zero value is for production.
type Options struct {
	Now func() time.Time // time.Now if nil
}

// hostKeyCache bounds the derived host keys kept in memory: about 2 KiB each.
const hostKeyCache = 4096

// Backdate is how far before now certificates begin: what clocks of targets
// and clients may be behind.
const Backdate = 2 * time.Minute

// OuterSigners are the gateway's own host keys, plain: users pin them.
func (a *Authority) OuterSigners() []ssh.Signer { return a.outer }

// UserCAKey is what targets trust (TrustedUserCAKeys).
func (a *Authority) UserCAKey() ssh.PublicKey { return a.userCA.PublicKey() }

// HostCAKey is what users trust (@cert-authority).
func (a *Authority) HostCAKey() ssh.PublicKey { return a.hostCA.PublicKey() }

// ClientCA is what databases trust for client certificates.
func (a *Authority) ClientCA() *x509.Certificate { return a.client.cert }

// derive returns n bytes that belong to the purpose, and to nothing else.
func (a *Authority) derive(purpose string, n int) []byte {
	out, err := hkdf.Key(sha256.New, a.root, nil, "jit-gateway "+purpose, n)
	if err != nil { // only lengths beyond 8,160 bytes fail
		panic(fmt.Sprintf("derive %s: %v", purpose, err))
	}
	return out
}

func newAuthority(k *keys, o Options) (*Authority, error) {
	a := &Authority{now: o.Now, root: k.root, client: issuer{k.clientCert, k.client}, page: issuer{k.pageCert, k.page}}
	if a.now == nil {
		a.now = time.Now
	}
	var err error
	if a.hostKeys, err = lru.New[string, []ssh.Signer](hostKeyCache); err != nil {
		return nil, err
	}
	if a.userCA, err = ssh.NewSignerFromKey(k.userCA); err != nil {
		return nil, fmt.Errorf("use the user CA: %w", err)
	}
	if a.hostCA, err = ssh.NewSignerFromKey(k.hostCA); err != nil {
		return nil, fmt.Errorf("use the host CA: %w", err)
	}
	for _, key := range []any{k.outerEd25519, k.outerECDSA} {
		s, err := ssh.NewSignerFromKey(key)
		if err != nil {
			return nil, fmt.Errorf("use the gateway's host key: %w", err)
		}
		a.outer = append(a.outer, s)
	}
	return a, nil
}

// keys is what the directory of Init holds.
type keys struct {
	root                 []byte
	userCA, hostCA       ed25519.PrivateKey
	outerEd25519         ed25519.PrivateKey
	outerECDSA           *ecdsa.PrivateKey
	client, page         *ecdsa.PrivateKey
	clientCert, pageCert *x509.Certificate
}
