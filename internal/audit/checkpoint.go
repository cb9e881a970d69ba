package audit

import (
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// FormatCheckpoint is the text that is signed: origin, size and root, each on
// a line (https://c2sp.org/tlog-checkpoint).
func FormatCheckpoint(origin string, t tlog.Tree) string {
	return fmt.Sprintf("%s\n%d\n%s\n", origin, t.N, t.Hash)
}

// ParseCheckpoint reads what FormatCheckpoint writes. Extension lines, which
// the specification allows, are accepted and ignored.
func ParseCheckpoint(text string) (origin string, t tlog.Tree, err error) {
	lines := strings.SplitN(text, "\n", 4)
	if len(lines) != 4 || lines[0] == "" {
		return "", tlog.Tree{}, errors.New("malformed checkpoint: want origin, size and root, a line each")
	}
	n, err := strconv.ParseInt(lines[1], 10, 64)
	if err != nil || n < 0 || strconv.FormatInt(n, 10) != lines[1] {
		return "", tlog.Tree{}, fmt.Errorf("malformed checkpoint: %.30q is not a tree size", lines[1])
	}
	h, err := tlog.ParseHash(lines[2])
	if err != nil || h.String() != lines[2] {
		return "", tlog.Tree{}, fmt.Errorf("malformed checkpoint: %.60q is not a root hash", lines[2])
	}
	return lines[0], tlog.Tree{N: n, Hash: h}, nil
}

// publicKey derives the verifier key from a signer key, which is
// PRIVATE+KEY+name+hash+base64(algorithm byte, 32-byte seed).
func publicKey(skey string, s note.Signer) (string, error) {
	malformed := errors.New("the audit log's signing key is malformed")
	parts := strings.SplitN(skey, "+", 5)
	if len(parts) != 5 {
		return "", malformed
	}
	raw, err := base64.StdEncoding.DecodeString(parts[4])
	if err != nil || len(raw) != 1+ed25519.SeedSize {
		return "", malformed
	}
	pub, ok := ed25519.NewKeyFromSeed(raw[1:]).Public().(ed25519.PublicKey)
	if !ok {
		return "", malformed
	}
	vkey, err := note.NewEd25519VerifierKey(s.Name(), pub)
	if err != nil {
		return "", fmt.Errorf("derive the audit log's public key: %w", err)
	}
	return vkey, nil
}

// PublicKey is the log's public key in the encoding that auditors are given.
func PublicKey(skey string) (string, error) {
	skey = strings.TrimSpace(skey)
	s, err := note.NewSigner(skey)
	if err != nil {
		return "", errors.New("the audit log's signing key is malformed: want PRIVATE+KEY+name+…")
	}
	return publicKey(skey, s)
}
