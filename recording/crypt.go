package recording

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"strings"

	"filippo.io/age"
	"filippo.io/age/agessh"
)

// Encryption in three layers:
//
//  1. Each recording has an age key of its own. Its public half is in the
//     header. Its private half is wrapped, once, to the recipients of the rule
//     and then forgotten: the gateway cannot read what it has sealed, and
//     whoever can read it may add recipients by wrapping that key again,
//     outside the hashed bytes.
//  2. Each segment has a fresh AES-256 key, wrapped by age to the recording's
//     key in a key block, and forgotten when the segment is closed.
//  3. Each data block is sealed once with AES-256-GCM: the nonce is the number
//     of the sealing under that key, the associated data are the type, the
//     flags and the prelude.

const scheme = "age/aes-256-gcm"

// ParseRecipient reads an age or ssh public key.
func ParseRecipient(s string) (age.Recipient, error) {
	s = strings.TrimSpace(s)
	var (
		r   age.Recipient
		err error
	)
	switch {
	case strings.HasPrefix(s, "age1pq1"):
		r, err = age.ParseHybridRecipient(s)
	case strings.HasPrefix(s, "age1"):
		r, err = age.ParseX25519Recipient(s)
	case strings.HasPrefix(s, "ssh-"):
		r, err = agessh.ParseRecipient(s)
	default:
		err = errors.New("it begins with neither age1 nor ssh-")
	}
	if err != nil {
		return nil, fmt.Errorf("%q is not a recipient that recordings can be encrypted to: %w", clip(s, 80), err)
	}
	return r, nil
}

func parseRecipients(list []string) ([]age.Recipient, error) {
	var out []age.Recipient
	for _, s := range list {
		r, err := ParseRecipient(s)
		if err != nil {
			return nil, err
		}
		out = append(out, r)
	}
	return out, nil
}

// newKey makes a recording's own key and returns its public half and the
// private half wrapped to the recipients. Nothing keeps the private half.
func newKey(recipients []string) (*Encryption, []byte, error) {
	rs, err := parseRecipients(recipients)
	if err != nil {
		return nil, nil, err
	}
	secret, public, err := generate(recipients)
	if err != nil {
		return nil, nil, fmt.Errorf("make the recording's key: %w", err)
	}
	wraps, err := wrap([]byte(secret), rs...)
	if err != nil {
		return nil, nil, fmt.Errorf("wrap the recording's key: %w", err)
	}
	return &Encryption{Scheme: scheme, Key: public, Recipients: recipients}, wraps, nil
}

// generate makes a key pair as strong as the recipients': post-quantum where
// all of theirs are (age does not mix the two).
func generate(recipients []string) (secret, public string, err error) {
	for _, r := range recipients {
		if !strings.HasPrefix(strings.TrimSpace(r), "age1pq1") {
			id, err := age.GenerateX25519Identity()
			if err != nil {
				return "", "", err
			}
			return id.String(), id.Recipient().String(), nil
		}
	}
	id, err := age.GenerateHybridIdentity()
	if err != nil {
		return "", "", err
	}
	return id.String(), id.Recipient().String(), nil
}

// parseSecret reads a recording's own private key and returns its public half too.
func parseSecret(s string) (age.Identity, string, error) {
	if strings.HasPrefix(s, "AGE-SECRET-KEY-PQ-") {
		id, err := age.ParseHybridIdentity(s)
		if err != nil {
			return nil, "", err
		}
		return id, id.Recipient().String(), nil
	}
	id, err := age.ParseX25519Identity(s)
	if err != nil {
		return nil, "", err
	}
	return id, id.Recipient().String(), nil
}

func wrap(secret []byte, rs ...age.Recipient) ([]byte, error) {
	var buf bytes.Buffer
	w, err := age.Encrypt(&buf, rs...)
	if err != nil {
		return nil, err
	}
	if _, err := w.Write(secret); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return buf.Bytes(), nil
}

func unwrap(wrapped []byte, max int, ids ...age.Identity) ([]byte, error) {
	r, err := age.Decrypt(bytes.NewReader(wrapped), ids...)
	if err != nil {
		return nil, err
	}
	b, err := io.ReadAll(io.LimitReader(r, int64(max)+1))
	if err != nil {
		return nil, err
	}
	if len(b) > max {
		return nil, errors.New("it is too long")
	}
	return b, nil
}

// segmentKey is a segment's key while it is needed.
type segmentKey struct {
	aead   cipher.AEAD
	number uint32 // of the next sealing
}

// newSegmentKey returns a fresh key and the payload of its key block.
func newSegmentKey(segment uint32, to age.Recipient) (*segmentKey, []byte, error) {
	key := make([]byte, 32)
	rand.Read(key) // never fails since Go 1.24
	defer clear(key)
	wrapped, err := wrap(key, to)
	if err != nil {
		return nil, nil, fmt.Errorf("wrap a segment's key: %w", err)
	}
	k, err := loadSegmentKey(key)
	return k, append(le.AppendUint32(nil, segment), wrapped...), err
}

func loadSegmentKey(key []byte) (*segmentKey, error) {
	if len(key) != 32 {
		return nil, errors.New("a segment's key has the wrong length")
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	aead, err := cipher.NewGCM(block)
	return &segmentKey{aead: aead}, err
}

func openKeyBlock(payload []byte, segment uint32, id age.Identity) (*segmentKey, error) {
	if len(payload) < 4 || le.Uint32(payload) != segment {
		return nil, errors.New("a key block belongs to another segment")
	}
	key, err := unwrap(payload[4:], 32, id)
	if err != nil {
		return nil, fmt.Errorf("open a segment's key: %w", err)
	}
	return loadSegmentKey(key)
}

func nonceOf(number uint32) []byte {
	n := make([]byte, 12)
	le.PutUint32(n[8:], number)
	return n
}

// associated returns what a sealed body is bound to.
func associated(block []byte) []byte {
	ad := make([]byte, 0, 4+preludeSize)
	ad = append(ad, block[:4]...)
	return append(ad, block[headSize:dataRoom]...)
}
