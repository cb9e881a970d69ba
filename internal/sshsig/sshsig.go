// Package sshsig reads and verifies the signatures that `ssh-keygen -Y sign`
// makes (OpenSSH's PROTOCOL.sshsig), so that a key can be registered on the
// page by a signature of it.
//
// It refuses a signature for another namespace, of another key, with SHA-1,
// and of a hardware key that was not touched. It never trusts the key inside
// the signature: the caller says which one it must be.
package sshsig

import (
	"bytes"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/crypto/ssh"
)

const (
	magic   = "SSHSIG"
	armor   = "SSH SIGNATURE"
	version = 1
	maxSize = 16 << 10 // an RSA key of 16384 bits and its signature take 5 KB
)

// envelope is the blob after its magic.
type envelope struct {
	Version   uint32
	PublicKey []byte
	Namespace string
	Reserved  string
	Hash      string
	Signature []byte
}

// signed is what the signature is over, after the magic.
type signed struct {
	Namespace string
	Reserved  string
	Hash      string
	Digest    []byte
}

// Verify reports with nil that armored is a signature of message by key, made
// for the namespace.
func Verify(armored, message []byte, namespace string, key ssh.PublicKey) error {
	e, sig, err := parse(armored)
	if err != nil {
		return err
	}
	switch {
	case e.Namespace != namespace:
		return fmt.Errorf("the signature is for %q, not for %q: give ssh-keygen -n %s", e.Namespace, namespace, namespace)
	case !bytes.Equal(e.PublicKey, key.Marshal()):
		return errors.New("another key made that signature")
	}
	var digest []byte
	switch e.Hash {
	case "sha256":
		d := sha256.Sum256(message)
		digest = d[:]
	case "sha512":
		d := sha512.Sum512(message)
		digest = d[:]
	default:
		return fmt.Errorf("the signature's hash %q is unknown", e.Hash)
	}
	switch key.Type() {
	case ssh.KeyAlgoRSA:
		// Its own format, ssh-rsa, means SHA-1.
		if sig.Format != ssh.KeyAlgoRSASHA256 && sig.Format != ssh.KeyAlgoRSASHA512 {
			return fmt.Errorf("the signature is made with %q, which is not accepted", sig.Format)
		}
	case ssh.KeyAlgoSKED25519, ssh.KeyAlgoSKECDSA256:
		// PROTOCOL.u2f: one byte of flags and a counter follow; bit 0 is user presence.
		if len(sig.Rest) != 5 || sig.Rest[0]&1 == 0 {
			return errors.New("the key was not touched")
		}
	}
	data := append([]byte(magic), ssh.Marshal(signed{e.Namespace, e.Reserved, e.Hash, digest})...)
	if err := key.Verify(data, sig); err != nil {
		return errors.New("the signature is not of this text")
	}
	return nil
}

func parse(armored []byte) (envelope, *ssh.Signature, error) {
	fail := func(err error) (envelope, *ssh.Signature, error) { return envelope{}, nil, err }
	if len(armored) > maxSize {
		return fail(errors.New("that is too long for a signature"))
	}
	// People paste with blanks around, and browsers send CRLF.
	text := strings.TrimSpace(strings.ReplaceAll(string(armored), "\r\n", "\n")) + "\n"
	block, rest := pem.Decode([]byte(text))
	switch {
	case block == nil || block.Type != armor || len(block.Headers) > 0:
		return fail(errors.New("paste everything from -----BEGIN SSH SIGNATURE----- to its end"))
	case len(bytes.TrimSpace(rest)) > 0:
		return fail(errors.New("there is more than one signature"))
	}
	blob, ok := bytes.CutPrefix(block.Bytes, []byte(magic))
	if !ok {
		return fail(errors.New("that is not a signature of ssh-keygen"))
	}
	var e envelope
	if err := ssh.Unmarshal(blob, &e); err != nil {
		return fail(errors.New("the signature cannot be read"))
	}
	if e.Version != version {
		return fail(fmt.Errorf("the signature has version %d, not %d", e.Version, version))
	}
	sig := new(ssh.Signature)
	if err := ssh.Unmarshal(e.Signature, sig); err != nil {
		return fail(errors.New("the signature cannot be read"))
	}
	return e, sig, nil
}
