// Package seal keeps recoverable secrets (TOTP seeds, upstream passwords,
// webhook keys) so that the store alone gives none away (guarantee G8):
// AES-256-GCM under a key that lies outside the store, with the identity of
// the row as associated data, so that a value moved to another row does not
// open.
//
// A sealed value is: version byte 1, key id (4 bytes), nonce (12), ciphertext,
// tag (16). The key id says which key sealed it; it is not a secret. Nonces
// are random: one key seals at most 2^32 values safely, which is more than any
// store holds.
package seal

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
)

const (
	// KeySize is the length of a key in bytes.
	KeySize = 32
	version = 1
	idSize  = 4
	header  = 1 + idSize
)

var (
	// ErrKey: the value was sealed under another key.
	ErrKey = errors.New("sealed under another key")
	// ErrOpen: the value was changed, or belongs to another row.
	ErrOpen = errors.New("the sealed value was changed or belongs elsewhere")
)

// A Box seals and opens values under one key. It is safe for concurrent use.
type Box struct {
	head [header]byte
	aead cipher.AEAD
}

// New returns the Box of a key of KeySize bytes.
func New(key []byte) (*Box, error) {
	if len(key) != KeySize {
		return nil, fmt.Errorf("a sealing key has %d bytes, not %d", KeySize, len(key))
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, fmt.Errorf("use the sealing key: %w", err)
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		return nil, fmt.Errorf("use the sealing key: %w", err)
	}
	b := &Box{aead: aead}
	b.head[0] = version
	id := sha256.Sum256(append([]byte("jit-gateway sealing key id\x00"), key...))
	copy(b.head[1:], id[:idSize])
	return b, nil
}

// GenerateKey returns a fresh key of KeySize bytes.
func GenerateKey() []byte {
	key := make([]byte, KeySize)
	rand.Read(key) // never fails since Go 1.24
	return key
}

// Seal encrypts plain. aad names the row that it belongs to, such as
// "factor/F0123"; Open needs the same.
func (b *Box) Seal(plain []byte, aad string) []byte {
	out := bytes.Clone(b.head[:])
	return b.aead.Seal(out, nil, plain, b.bind(aad))
}

// Open decrypts what Seal returned for the same aad. Its errors hold nothing
// of the value.
func (b *Box) Open(sealed []byte, aad string) ([]byte, error) {
	switch {
	case len(sealed) < header+b.aead.Overhead():
		return nil, fmt.Errorf("open %q: %w", aad, ErrOpen)
	case sealed[0] != version:
		return nil, fmt.Errorf("open %q: sealed in format %d, this version knows %d", aad, sealed[0], version)
	case !bytes.Equal(sealed[:header], b.head[:]):
		return nil, fmt.Errorf("open %q: %w", aad, ErrKey)
	}
	plain, err := b.aead.Open(nil, nil, sealed[header:], b.bind(aad))
	if err != nil {
		return nil, fmt.Errorf("open %q: %w", aad, ErrOpen)
	}
	return plain, nil
}

func (b *Box) bind(aad string) []byte { return append(bytes.Clone(b.head[:]), aad...) }
