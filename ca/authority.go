package ca

import (
	"crypto/ecdsa"
	"crypto/tls"
	"crypto/x509"
	"time"

	"golang.org/x/crypto/ssh"

	"jit-gateway/approval"
	"jit-gateway/internal/inventory"
)

// An Authority holds the gateway's keys and mints from them. It is safe for
// concurrent use.
type Authority struct {
	o        Options
	root     []byte     // HKDF root of the host keys and of the salts
	userCA   ssh.Signer // signs user certificates for targets; hosts trust it
	hostCA   ssh.Signer // signs the names that users see; never verifies an upstream
	outer    []ssh.Signer
	clientCA *x509.Certificate
	clientK  *ecdsa.PrivateKey
	pageCA   *x509.Certificate
	pageK    *ecdsa.PrivateKey
}

// Options of Load. The zero value is for production.
type Options struct {
	Now func() time.Time // time.Now if nil
}

// Init makes all keys in dir, which must not hold any yet.
func Init(dir string) error { panic("not yet") }

// Load reads the keys that Init made. A key file that others than its owner
// may read is refused.
func Load(dir string, o Options) (*Authority, error) { panic("not yet") }

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

// UserCert signs pub as the admission's login on its target: exactly one
// principal, valid from two minutes ago to the earlier of in two minutes and
// the grant's end.
func (a *Authority) UserCert(adm approval.Admission, pub ssh.PublicKey, o UserCertOptions) (*ssh.Certificate, error) {
	panic("not yet")
}

// HostSigners returns the host keys of a target as users see it: ed25519 and
// ECDSA P-256, each with a certificate for exactly the requested name (and the
// target's aliases) and plain. The keys are stable per target.
func (a *Authority) HostSigners(t inventory.Target, requested string) ([]ssh.Signer, error) {
	panic("not yet")
}

// OuterSigners are the gateway's own host keys, plain: users pin them.
func (a *Authority) OuterSigners() []ssh.Signer { return a.outer }

// UserCAKey is what targets trust (TrustedUserCAKeys).
func (a *Authority) UserCAKey() ssh.PublicKey { return a.userCA.PublicKey() }

// HostCAKey is what users trust (@cert-authority).
func (a *Authority) HostCAKey() ssh.PublicKey { return a.hostCA.PublicKey() }

// ClientCA is what databases trust for client certificates.
func (a *Authority) ClientCA() *x509.Certificate { return a.clientCA }

// ClientCert signs a fresh key as the role, for the admission's database: valid
// for ttl at most, never past the grant's end. serial is hexadecimal.
func (a *Authority) ClientCert(adm approval.Admission, role string, ttl time.Duration) (c tls.Certificate, serial string, err error) {
	panic("not yet")
}

// PageTLS returns a server certificate for names (host names or addresses),
// ECDSA, from the page CA: for the page and for the PostgreSQL port.
func (a *Authority) PageTLS(names []string) (tls.Certificate, error) { panic("not yet") }

// PageCA is the PEM that browsers and sslrootcert trust.
func (a *Authority) PageCA() []byte { panic("not yet") }
