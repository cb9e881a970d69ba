package mfa

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"jit-gateway/internal/audit"
	"jit-gateway/internal/store"
)

const (
	challengeTime   = 2 * time.Minute
	challengePrefix = "jit-gateway-challenge-1:" // so that nothing else that somebody lets sign is one
	maxAnswer       = 64 << 10
	maxChain        = 8
)

// question is what a challenge asks for: possession of a key, by this
// machine, for this grant, now. It is readable; its seal shows that it is ours.
type question struct {
	User   string    `json:"user"`
	Digest string    `json:"digest"` // of the grant
	Nonce  string    `json:"nonce"`
	Until  time.Time `json:"until"`
}

// Challenge returns a line that the machine signs with its certificate's key,
// for that SHA-256 in hex. Nothing is kept of it here: any gateway of the store can verify the answer.
func (m *Machines) Challenge(userID, digest string) (string, error) {
	nonce := make([]byte, 16)
	rand.Read(nonce)
	plain, err := json.Marshal(question{userID, digest, hex.EncodeToString(nonce), stamp(m.v.o.Now().Add(challengeTime))})
	if err != nil {
		return "", fmt.Errorf("make a challenge: %w", err)
	}
	sum := sha256.Sum256(plain)
	enc := base64.RawURLEncoding
	return challengePrefix + enc.EncodeToString(plain) + "." + enc.EncodeToString(m.v.o.Box.Seal(sum[:], "machine challenge")), nil
}

func (m *Machines) openChallenge(s string) (q question, err error) {
	bad := errors.New("the challenge is not one of this gateway")
	rest, ok := strings.CutPrefix(s, challengePrefix)
	body, mac, ok2 := strings.Cut(rest, ".")
	plain, err1 := base64.RawURLEncoding.DecodeString(body)
	sealed, err2 := base64.RawURLEncoding.DecodeString(mac)
	if !ok || !ok2 || err1 != nil || err2 != nil {
		return q, bad
	}
	sum := sha256.Sum256(plain)
	got, err := m.v.o.Box.Open(sealed, "machine challenge")
	if err != nil || !slices.Equal(got, sum[:]) || json.Unmarshal(plain, &q) != nil {
		return q, bad
	}
	return q, nil
}

// CertificateProof is the evidence of a client certificate: an auditor checks
// that Signature is Certificate's over Challenge, which names the digest.
type CertificateProof struct {
	Certificate string `json:"certificate"` // DER, base64
	Challenge   string `json:"challenge"`
	Signature   string `json:"signature"` // base64
}

// VerifyCertificate verifies the answer to a challenge: the challenge, the
// certificate with its intermediates in PEM, and the signature in base64. The
// certificate must be of the authority on record, for client use, valid now,
// and carry the name on record.
func (m *Machines) VerifyCertificate(ctx context.Context, userID, digest string, answer []byte, actor audit.Actor) (Proof, error) {
	factors, err := m.v.factors(ctx, userID, MTLS)
	if err != nil {
		return Proof{}, err
	}
	if len(factors) == 0 {
		return Proof{}, ErrNoSuchProof
	}
	refuse := func(why error) (Proof, error) {
		return Proof{}, m.refused(ctx, userID, MTLS, fmt.Errorf("%w: %w", ErrNotAccepted, why), actor)
	}
	challenge, chain, signature, err := parseAnswer(answer)
	if err != nil {
		return refuse(err)
	}
	q, err := m.openChallenge(challenge)
	now := stamp(m.v.o.Now())
	switch {
	case err != nil:
		return refuse(err)
	case q.User != userID || q.Digest != digest:
		return refuse(errors.New("the challenge was for something else"))
	case !now.Before(q.Until):
		return refuse(errors.New("the challenge is older than 2 minutes"))
	}
	leaf := chain[0]
	// openssl signs the file, which ends in a newline; either is meant.
	if signed(leaf, []byte(challenge+"\n"), signature) != nil && signed(leaf, []byte(challenge), signature) != nil {
		return refuse(errors.New("the signature is not that of the certificate's key over the challenge"))
	}
	var why error
	for _, f := range factors {
		b, err := m.binding(f)
		if err != nil {
			return Proof{}, err
		}
		if err := certified(chain, b, now); err != nil {
			why = errors.Join(why, err)
			continue
		}
		evidence, err := json.Marshal(CertificateProof{base64.StdEncoding.EncodeToString(leaf.Raw), challenge, base64.StdEncoding.EncodeToString(signature)})
		if err != nil {
			return Proof{}, fmt.Errorf("encode the evidence: %w", err)
		}
		sum := sha256.Sum256([]byte(challenge))
		err = m.o.Once.UseOnce(ctx, "challenge "+hex.EncodeToString(sum[:]), q.Until, now, event(audit.FactorPassed, audit.Success, userID, actor,
			map[string]string{"kind": string(MTLS), "factor": f.ID, "san": b.SAN, "serial": leaf.SerialNumber.Text(16)}))
		if errors.Is(err, store.ErrConflict) {
			return Proof{}, m.refused(ctx, userID, MTLS, ErrUsedProof, actor)
		}
		if err != nil {
			return Proof{}, fmt.Errorf("spend the challenge: %w", err)
		}
		return Proof{userID: userID, kind: MTLS, factorID: f.ID, at: now, evidence: string(evidence), digest: digest}, nil
	}
	return refuse(why)
}

// parseAnswer splits an answer into its three parts.
func parseAnswer(answer []byte) (challenge string, chain []*x509.Certificate, signature []byte, err error) {
	fail := func(format string, args ...any) (string, []*x509.Certificate, []byte, error) {
		return "", nil, nil, fmt.Errorf(format+"; send the challenge, the certificate in PEM and the signature in base64", args...)
	}
	if len(answer) > maxAnswer {
		return fail("the answer is too long")
	}
	head, rest, ok := strings.Cut(string(answer), "-----BEGIN ")
	if !ok {
		return fail("the answer has no certificate")
	}
	left := []byte("-----BEGIN " + rest)
	for {
		var block *pem.Block
		next := left
		if block, next = pem.Decode(left); block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			return fail("the answer holds a %q", block.Type)
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return fail("a certificate cannot be read")
		}
		if chain = append(chain, c); len(chain) > maxChain {
			return fail("the answer has more than %d certificates", maxChain)
		}
		left = next
	}
	signature, err = base64.StdEncoding.DecodeString(strings.Join(strings.Fields(string(left)), ""))
	if err != nil || len(signature) == 0 || len(chain) == 0 {
		return fail("the signature cannot be read")
	}
	return strings.TrimSpace(head), chain, signature, nil
}

// signed verifies a signature as `openssl dgst -sha256 -sign` makes it, or
// `openssl pkeyutl -sign -rawin` for Ed25519.
func signed(c *x509.Certificate, message, signature []byte) error {
	switch key := c.PublicKey.(type) {
	case ed25519.PublicKey:
		return c.CheckSignature(x509.PureEd25519, message, signature)
	case *ecdsa.PublicKey:
		return c.CheckSignature(x509.ECDSAWithSHA256, message, signature)
	case *rsa.PublicKey:
		if key.N.BitLen() < 2048 {
			return errors.New("the RSA key is shorter than 2048 bits")
		}
		return c.CheckSignature(x509.SHA256WithRSA, message, signature)
	}
	return errors.New("a key of that kind is not known")
}

func (n NewBinding) pool() (*x509.CertPool, error) {
	pool := x509.NewCertPool()
	if len(n.Roots) > maxAnswer || !pool.AppendCertsFromPEM([]byte(n.Roots)) {
		return nil, errors.New("the certificate authority cannot be read: give its certificate in PEM")
	}
	return pool, nil
}

// checkSAN holds a name to the forms that are compared: URI:, DNS:.
func checkSAN(san string) error {
	kind, name, _ := strings.Cut(san, ":")
	if kind != "URI" && kind != "DNS" || name == "" || len(name) > 300 {
		return fmt.Errorf("%q is not a name in a certificate: write URI:spiffe://… or DNS:ci.example", san)
	}
	return nil
}

// certified checks chain, use, times and name.
func certified(chain []*x509.Certificate, b binding, now time.Time) error {
	pool, err := NewBinding(b).pool()
	if err != nil {
		return err
	}
	between := x509.NewCertPool()
	for _, c := range chain[1:] {
		between.AddCert(c)
	}
	leaf := chain[0]
	if _, err := leaf.Verify(x509.VerifyOptions{Roots: pool, Intermediates: between, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}); err != nil {
		return fmt.Errorf("the certificate: %w", err)
	}
	kind, name, _ := strings.Cut(b.SAN, ":")
	if kind == "DNS" && slices.Contains(leaf.DNSNames, name) {
		return nil
	}
	for _, u := range leaf.URIs {
		if kind == "URI" && u.String() == name {
			return nil
		}
	}
	return fmt.Errorf("the certificate does not name %s", b.SAN)
}
