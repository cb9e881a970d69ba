package testenv

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"fmt"
	"os"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"
)

// NewSigner makes an ed25519 SSH key.
func NewSigner(t testing.TB) ssh.Signer {
	t.Helper()
	_, s, err := newKey()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// WriteKey makes an ed25519 SSH key pair as path and path.pub.
func WriteKey(path, comment string) (ssh.Signer, error) {
	priv, s, err := newKey()
	if err != nil {
		return nil, err
	}
	block, err := ssh.MarshalPrivateKey(priv, comment)
	if err != nil {
		return nil, fmt.Errorf("encode an SSH key: %w", err)
	}
	if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
		return nil, err
	}
	return s, os.WriteFile(path+".pub", []byte(AuthorizedKey(s.PublicKey())+" "+comment+"\n"), 0o644)
}

// AuthorizedKey is the one-line form of a public key, without the newline.
func AuthorizedKey(k ssh.PublicKey) string {
	return strings.TrimSpace(string(ssh.MarshalAuthorizedKey(k)))
}

func newKey() (ed25519.PrivateKey, ssh.Signer, error) {
	_, priv, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, nil, fmt.Errorf("make an SSH key: %w", err)
	}
	s, err := ssh.NewSignerFromKey(priv)
	if err != nil {
		return nil, nil, fmt.Errorf("make an SSH key: %w", err)
	}
	return priv, s, nil
}
