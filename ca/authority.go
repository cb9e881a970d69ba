package ca

import (
	"crypto"
	"crypto/hkdf"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"golang.org/x/crypto/ssh"

	"jit-gateway/internal/seal"
)

// An Authority holds the gateway's keys and mints from them. It is safe for
// concurrent use.
type Authority struct {
	now   func() time.Time
	dir   string // where the keys are kept
	kek   *seal.Box
	root  []byte               // HKDF input of the host keys and of the salts
	outer []ssh.Signer         // the gateway's own host keys
	cas   atomic.Pointer[ring] // what signs; replaced whole by Rotate, Activate and Retire
	turn  sync.Mutex           // one change of the ring at a time

	hostKeys *lru.Cache[string, []ssh.Signer] // per target; derived, so the cache only saves time
}

// issuer is an X.509 CA.
type issuer struct {
	cert *x509.Certificate
	key  crypto.Signer
}

// Options of Load. The zero value is for production.
type Options struct {
	Now func() time.Time // time.Now if nil
	// Passphrase opens key files that Encrypt sealed; empty for plain ones.
	Passphrase string
}

// hostKeyCache bounds the derived host keys kept in memory: about 2 KiB each.
const hostKeyCache = 4096

// Backdate is how far before now certificates begin: what clocks of targets
// and clients may be behind.
const Backdate = 2 * time.Minute

// OuterSigners are the gateway's own host keys, plain: users pin them.
func (a *Authority) OuterSigners() []ssh.Signer { return a.outer }

// UserCAKey is what targets trust (TrustedUserCAKeys), now.
func (a *Authority) UserCAKey() ssh.PublicKey { return a.cas.Load().user.current.PublicKey() }

// HostCAKey is what users trust (@cert-authority), now.
func (a *Authority) HostCAKey() ssh.PublicKey { return a.cas.Load().host.current.PublicKey() }

// ClientCA is what databases trust for client certificates, now.
func (a *Authority) ClientCA() *x509.Certificate { return a.cas.Load().client.current.cert }

// UserCAKeys are all user CAs that hosts should list: the one that signs,
// one that will, and one that did. The first signs.
func (a *Authority) UserCAKeys() []ssh.PublicKey { return publicKeys(a.cas.Load().user.all()) }

// HostCAKeys are all host CAs that users should list. The first signs.
func (a *Authority) HostCAKeys() []ssh.PublicKey { return publicKeys(a.cas.Load().host.all()) }

// ClientCAs is the PEM bundle that databases should trust. The first signs.
func (a *Authority) ClientCAs() []byte { return bundle(a.cas.Load().client.all()) }

func (a *Authority) userCA() ssh.Signer { return a.cas.Load().user.current }
func (a *Authority) hostCA() ssh.Signer { return a.cas.Load().host.current }

func publicKeys(list []ssh.Signer) []ssh.PublicKey {
	var out []ssh.PublicKey
	for _, s := range list {
		out = append(out, s.PublicKey())
	}
	return out
}

func bundle(list []*issuer) []byte {
	var out []byte
	for _, i := range list {
		out = append(out, pem.EncodeToMemory(&pem.Block{Type: certBlock, Bytes: i.cert.Raw})...)
	}
	return out
}

// derive returns n bytes that belong to the purpose, and to nothing else.
func (a *Authority) derive(purpose string, n int) []byte {
	out, err := hkdf.Key(sha256.New, a.root, nil, "jit-gateway "+purpose, n)
	if err != nil { // only lengths beyond 8,160 bytes fail
		panic(fmt.Sprintf("derive %s: %v", purpose, err))
	}
	return out
}
