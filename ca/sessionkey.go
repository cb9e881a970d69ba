package ca

import (
	"crypto"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"sync"

	"golang.org/x/crypto/ssh"
)

// A SessionKey is the ed25519 key of one session's user certificate. It lives
// in memory only; Destroy overwrites it, as soon as upstream authentication is
// done and again, checked, at the session's end (guarantee G4).
type SessionKey struct {
	mu   sync.Mutex
	priv ed25519.PrivateKey // nil once destroyed
	pub  ssh.PublicKey
}

// NewSessionKey makes a key.
func NewSessionKey() (*SessionKey, error) {
	pub, priv, err := ed25519.GenerateKey(nil)
	if err != nil {
		return nil, fmt.Errorf("make session key: %w", err)
	}
	sshPub, err := ssh.NewPublicKey(pub)
	if err != nil {
		return nil, fmt.Errorf("make session key: %w", err)
	}
	return &SessionKey{priv: priv, pub: sshPub}, nil
}

// PublicKey is what UserCert signs.
func (k *SessionKey) PublicKey() ssh.PublicKey { return k.pub }

// Signer signs with the key, and with cert's identity if it is not nil, until
// Destroy.
func (k *SessionKey) Signer(cert *ssh.Certificate) (ssh.Signer, error) {
	s, err := ssh.NewSignerFromSigner(keySigner{k})
	if err != nil || cert == nil {
		return s, err
	}
	return ssh.NewCertSigner(cert, s)
}

// Destroy overwrites the key.
func (k *SessionKey) Destroy() {
	k.mu.Lock()
	defer k.mu.Unlock()
	clear(k.priv)
	k.priv = nil
}

// Destroyed reports whether nothing can be signed any more.
func (k *SessionKey) Destroyed() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.priv == nil
}

type keySigner struct{ k *SessionKey }

func (s keySigner) Public() crypto.PublicKey {
	return s.k.pub.(ssh.CryptoPublicKey).CryptoPublicKey()
}

func (s keySigner) Sign(rand io.Reader, msg []byte, opts crypto.SignerOpts) ([]byte, error) {
	s.k.mu.Lock()
	defer s.k.mu.Unlock()
	if s.k.priv == nil {
		return nil, errors.New("the session's key is destroyed")
	}
	return s.k.priv.Sign(rand, msg, opts)
}
