package pgproxy

import (
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/text/secure/precis"
)

// A scramClient is the client's half, towards the database.
type scramClient struct {
	password string
	endPoint []byte // of the database's certificate; nil: no channel binding
	gs2      string
	bare     string
	nonce    string
	expect   []byte // server signature
}

// maxIterations of a server that asks the gateway to compute.
const maxIterations = 1 << 20

func newScramClient(password string, endPoint []byte) *scramClient {
	raw := make([]byte, 18)
	rand.Read(raw)
	c := &scramClient{password: password, endPoint: endPoint, nonce: base64.StdEncoding.EncodeToString(raw), gs2: "n,,"}
	if endPoint != nil {
		c.gs2 = "p=tls-server-end-point,,"
	}
	c.bare = "n=,r=" + c.nonce
	return c
}

// first is the client-first-message.
func (c *scramClient) first() string { return c.gs2 + c.bare }

// final answers the server-first-message.
func (c *scramClient) final(serverFirst string) (string, error) {
	malformed := errors.New("the database sent a malformed SCRAM message")
	parts := strings.Split(serverFirst, ",")
	if len(parts) < 3 || !strings.HasPrefix(parts[0], "r=") || !strings.HasPrefix(parts[1], "s=") || !strings.HasPrefix(parts[2], "i=") {
		return "", malformed
	}
	nonce := parts[0][2:]
	if !strings.HasPrefix(nonce, c.nonce) || len(nonce) <= len(c.nonce) {
		return "", malformed
	}
	salt, err := base64.StdEncoding.DecodeString(parts[1][2:])
	if err != nil || len(salt) == 0 {
		return "", malformed
	}
	n, err := strconv.Atoi(parts[2][2:])
	if err != nil || n < 1 {
		return "", malformed
	}
	if n > maxIterations {
		return "", fmt.Errorf("the database asks for %d SCRAM iterations; at most %d are computed", n, maxIterations)
	}
	salted, err := saltPassword(c.password, salt, n)
	if err != nil {
		return "", err
	}
	without := "c=" + base64.StdEncoding.EncodeToString(append([]byte(c.gs2), c.endPoint...)) + ",r=" + nonce
	signed := []byte(c.bare + "," + serverFirst + "," + without)
	key := mac(salted, []byte("Client Key"))
	stored := sha256.Sum256(key)
	proof := mac(stored[:], signed)
	subtle.XORBytes(proof, proof, key)
	c.expect = mac(mac(salted, []byte("Server Key")), signed)
	return without + ",p=" + base64.StdEncoding.EncodeToString(proof), nil
}

// check verifies the server-final-message: the database knows the password too.
func (c *scramClient) check(serverFinal string) error {
	v, ok := strings.CutPrefix(serverFinal, "v=")
	sig, err := base64.StdEncoding.DecodeString(v)
	if !ok || err != nil || c.expect == nil || !hmac.Equal(sig, c.expect) {
		return errors.New("the database did not prove that it knows the password")
	}
	return nil
}

func saltPassword(password string, salt []byte, iterations int) ([]byte, error) {
	if p, err := precis.OpaqueString.String(password); err == nil {
		password = p // SASLprep; where it fails, the server takes the bytes as they are, and so do we
	}
	return pbkdf2.Key(sha256.New, password, salt, iterations, sha256.Size)
}

func mac(key, data []byte) []byte {
	m := hmac.New(sha256.New, key)
	m.Write(data)
	return m.Sum(nil)
}

// scramVerifier is what CREATE ROLE … PASSWORD takes instead of a password.
func scramVerifier(password string, salt []byte, iterations int) (string, error) {
	salted, err := saltPassword(password, salt, iterations)
	if err != nil {
		return "", err
	}
	stored := sha256.Sum256(mac(salted, []byte("Client Key")))
	b64 := base64.StdEncoding.EncodeToString
	return fmt.Sprintf("SCRAM-SHA-256$%d:%s$%s:%s", iterations, b64(salt), b64(stored[:]), b64(mac(salted, []byte("Server Key")))), nil
}
