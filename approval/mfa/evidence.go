package mfa

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/go-webauthn/webauthn/protocol"
	"github.com/go-webauthn/webauthn/protocol/webauthncose"
	"github.com/go-webauthn/webauthn/webauthn"
)

// Assertion is the evidence of a passkey's use: everything that a verifier
// needs, in unpadded base64url. It holds no secret.
type Assertion struct {
	Credential        string `json:"credential"` // id of the passkey
	PublicKey         string `json:"public_key"` // COSE
	ClientData        string `json:"client_data"`
	AuthenticatorData string `json:"authenticator_data"`
	Signature         string `json:"signature"`
	Digest            string `json:"digest,omitempty"` // hex, what was approved
}

func encodeEvidence(p *protocol.ParsedCredentialAssertionData, c *webauthn.Credential, digest string) (string, error) {
	b, err := json.Marshal(Assertion{
		Credential: b64(c.ID), PublicKey: b64(c.PublicKey), ClientData: b64(p.Raw.AssertionResponse.ClientDataJSON),
		AuthenticatorData: b64(p.Raw.AssertionResponse.AuthenticatorData), Signature: b64(p.Raw.AssertionResponse.Signature), Digest: digest,
	})
	if err != nil {
		return "", fmt.Errorf("encode the assertion: %w", err)
	}
	return string(b), nil
}

// VerifyEvidence checks, without any store, that a passkey signed for the
// SHA-256 in hex, with its user verified, on the site of that RP ID. Which
// person the public key belongs to is for the log to say.
func VerifyEvidence(evidence, digest, rpID string) error {
	var a Assertion
	if err := json.Unmarshal([]byte(evidence), &a); err != nil {
		return fmt.Errorf("read the assertion: %w", err)
	}
	var raw [4][]byte
	for i, text := range []string{a.PublicKey, a.ClientData, a.AuthenticatorData, a.Signature} {
		b, err := base64.RawURLEncoding.DecodeString(text)
		if err != nil {
			return fmt.Errorf("read the assertion: %w", err)
		}
		raw[i] = b
	}
	public, client, auth, sig := raw[0], raw[1], raw[2], raw[3]
	var cd struct{ Type, Challenge string }
	if err := json.Unmarshal(client, &cd); err != nil {
		return fmt.Errorf("read the client's data: %w", err)
	}
	challenge, err := base64.RawURLEncoding.DecodeString(cd.Challenge)
	want, err2 := hex.DecodeString(digest)
	switch {
	case err != nil || err2 != nil || len(want) != sha256.Size:
		return errors.New("the challenge or the digest cannot be read")
	case cd.Type != "webauthn.get":
		return fmt.Errorf("the client's data are for %q", cd.Type)
	case len(challenge) != nonceBytes+sha256.Size || !bytes.Equal(challenge[nonceBytes:], want):
		return errors.New("the passkey was used for something else")
	}
	// WebAuthn section 6.1: SHA-256 of the RP ID, flags, counter.
	site := sha256.Sum256([]byte(rpID))
	switch {
	case len(auth) < 37 || !bytes.Equal(auth[:32], site[:]):
		return errors.New("the passkey was used for another site")
	case protocol.AuthenticatorFlags(auth[32])&protocol.FlagUserVerified == 0:
		return errors.New("the passkey did not verify its user")
	}
	key, err := webauthncose.ParsePublicKey(public)
	if err != nil {
		return fmt.Errorf("read the public key: %w", err)
	}
	sum := sha256.Sum256(client)
	ok, err := webauthncose.VerifySignature(key, append(bytes.Clone(auth), sum[:]...), sig)
	if err != nil {
		return fmt.Errorf("verify the signature: %w", err)
	}
	if !ok {
		return errors.New("the signature is wrong")
	}
	return nil
}
