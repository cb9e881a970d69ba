package ca

import (
	"context"
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"fmt"
	"hash/crc32"
	"math/big"
	"strings"
)

// TokenPrefix begins every session token, so that secret scanners find it.
const TokenPrefix = "jit_pg_"

// Iterations of PBKDF2 in the stored verifiers: what clients expect (JDBC and
// lib/pq refuse fewer). The strength is in the token's 256 bits.
const Iterations = 4096

const (
	base62     = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	tokenBody  = 43 // base 62 digits of 256 bits
	tokenCheck = 6  // base 62 digits of a CRC-32, over prefix and body
	saltSize   = 16
)

// newTokenText returns the prefix, 256 random bits and a checksum by which a
// scanner tells a token from a text that looks like one.
func newTokenText() string {
	raw := make([]byte, 32)
	rand.Read(raw)
	body := TokenPrefix + digits(new(big.Int).SetBytes(raw), tokenBody)
	return body + checksum(body)
}

// IsToken reports whether s has the form and checksum of a session token.
func IsToken(s string) bool {
	if len(s) != len(TokenPrefix)+tokenBody+tokenCheck || !strings.HasPrefix(s, TokenPrefix) {
		return false
	}
	body := s[:len(s)-tokenCheck]
	return strings.Trim(s[len(TokenPrefix):], base62) == "" && checksum(body) == s[len(body):]
}

func checksum(body string) string {
	return digits(big.NewInt(int64(crc32.ChecksumIEEE([]byte(body)))), tokenCheck)
}

func digits(n *big.Int, width int) string {
	out := make([]byte, width)
	base, rem := big.NewInt(62), new(big.Int)
	for i := width - 1; i >= 0; i-- {
		n.DivMod(n, base, rem)
		out[i] = base62[rem.Int64()]
	}
	return string(out)
}

// scramKeys are StoredKey and ServerKey of RFC 5802, 3. Tokens are ASCII, so
// SASLprep changes nothing.
func scramKeys(secret string, salt []byte, iterations int) (stored, server []byte, err error) {
	salted, err := pbkdf2.Key(sha256.New, secret, salt, iterations, sha256.Size)
	if err != nil {
		return nil, nil, fmt.Errorf("derive SCRAM keys: %w", err)
	}
	sum := sha256.Sum256(mac(salted, []byte("Client Key")))
	return sum[:], mac(salted, []byte("Server Key")), nil
}

func mac(key, msg []byte) []byte {
	h := hmac.New(sha256.New, key)
	h.Write(msg)
	return h.Sum(nil)
}

// salt is the same for every token of a user and target, because it goes out
// before it is known which token it is; and it is derived, so that it looks
// the same for users that do not exist.
func (t *Tokens) salt(userName, target string) []byte {
	return mac(t.saltKey, fmt.Appendf(nil, "%d %s %s", len(userName), userName, target))[:saltSize]
}

// Verifier is one token that a login may prove.
type Verifier struct {
	TokenID   string
	GrantID   string
	UserID    string
	Login     string
	Source    string // empty: any address
	StoredKey []byte
	ServerKey []byte
}

// Candidates returns what a SCRAM exchange for the name and target needs. An
// unknown user gets a salt that looks the same and no verifiers.
func (t *Tokens) Candidates(ctx context.Context, userName, target string) (salt []byte, iterations int, vs []Verifier, err error) {
	salt = t.salt(userName, target)
	tokens, err := t.store.TokensFor(ctx, userName, target, t.now())
	if err != nil {
		return nil, 0, nil, fmt.Errorf("look up tokens: %w", err)
	}
	for _, tok := range tokens[:min(len(tokens), MaxTokens)] {
		// A token made under another root secret was hashed with another salt:
		// it cannot be proved here.
		if !hmac.Equal(tok.Salt, salt) || tok.Iterations != Iterations {
			continue
		}
		vs = append(vs, Verifier{TokenID: tok.ID, GrantID: tok.GrantID, UserID: tok.UserID, Login: tok.Login,
			Source: tok.Source, StoredKey: tok.StoredKey, ServerKey: tok.ServerKey})
	}
	return salt, Iterations, vs, nil
}

// noVerifier is tried when there is none, so that the time tells nothing.
var noVerifier = Verifier{StoredKey: make([]byte, sha256.Size), ServerKey: make([]byte, sha256.Size)}

// Match returns the verifier that the client's proof fits, and the server
// signature to answer with (RFC 5802, 3). Every candidate is tried.
func Match(vs []Verifier, authMessage, proof []byte) (v Verifier, serverSignature []byte, ok bool) {
	if len(proof) != sha256.Size {
		return Verifier{}, nil, false
	}
	found := -1
	for i, c := range append([]Verifier{noVerifier}, vs...) {
		clientKey := mac(c.StoredKey, authMessage)
		subtle.XORBytes(clientKey, clientKey, proof)
		sum := sha256.Sum256(clientKey)
		if subtle.ConstantTimeCompare(sum[:], c.StoredKey) == 1 {
			found = i - 1
		}
	}
	if found < 0 {
		return Verifier{}, nil, false
	}
	return vs[found], mac(vs[found].ServerKey, authMessage), true
}
