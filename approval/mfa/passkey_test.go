package mfa_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"testing"
	"time"

	"github.com/fxamacker/cbor/v2"

	"jit-gateway/approval/mfa"
	"jit-gateway/internal/audit"
)

const origin, rpID = "https://gw.example.com:8443", "gw.example.com"

// softKey is an authenticator without hardware, as WebAuthn sections 6 and 7 describe one.
type softKey struct {
	*testing.T
	key     *ecdsa.PrivateKey
	id      []byte
	counter uint32
	flags   byte // user present 1, user verified 4
	origin  string
	rp      string
}

func newKey(t *testing.T) *softKey {
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	id := make([]byte, 32)
	rand.Read(id)
	return &softKey{T: t, key: k, id: id, flags: 1 | 4, origin: origin, rp: rpID}
}

func (k *softKey) authData(attested bool) []byte {
	sum := sha256.Sum256([]byte(k.rp))
	flags := k.flags
	if attested {
		flags |= 0x40
	}
	out := append(sum[:], flags)
	out = binary.BigEndian.AppendUint32(out, k.counter)
	if !attested {
		return out
	}
	pub, err := k.key.PublicKey.Bytes()
	if err != nil {
		k.Fatal(err)
	}
	cose, err := cbor.Marshal(map[int]any{1: 2, 3: -7, -1: 1, -2: pub[1:33], -3: pub[33:65]})
	if err != nil {
		k.Fatal(err)
	}
	out = append(out, make([]byte, 16)...) // AAGUID
	out = binary.BigEndian.AppendUint16(out, uint16(len(k.id)))
	return append(append(out, k.id...), cose...)
}

func (k *softKey) clientData(kind string, options json.RawMessage) []byte {
	var o struct {
		PublicKey struct {
			Challenge        string `json:"challenge"`
			UserVerification string `json:"userVerification"`
		} `json:"publicKey"`
	}
	if err := json.Unmarshal(options, &o); err != nil || o.PublicKey.Challenge == "" {
		k.Fatalf("options %s: %v", options, err)
	}
	b, err := json.Marshal(map[string]any{"type": kind, "challenge": o.PublicKey.Challenge, "origin": k.origin, "crossOrigin": false})
	if err != nil {
		k.Fatal(err)
	}
	return b
}

func b64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

func (k *softKey) create(options json.RawMessage) []byte {
	att, err := cbor.Marshal(map[string]any{"fmt": "none", "attStmt": map[string]any{}, "authData": k.authData(true)})
	if err != nil {
		k.Fatal(err)
	}
	return k.answer(map[string]any{"clientDataJSON": b64(k.clientData("webauthn.create", options)), "attestationObject": b64(att)})
}

func (k *softKey) get(options json.RawMessage) []byte {
	cd, auth := k.clientData("webauthn.get", options), k.authData(false)
	sum := sha256.Sum256(cd)
	hash := sha256.Sum256(append(append([]byte{}, auth...), sum[:]...))
	sig, err := ecdsa.SignASN1(rand.Reader, k.key, hash[:])
	if err != nil {
		k.Fatal(err)
	}
	return k.answer(map[string]any{"clientDataJSON": b64(cd), "authenticatorData": b64(auth), "signature": b64(sig), "userHandle": b64([]byte("Ualice"))})
}

func (k *softKey) answer(response map[string]any) []byte {
	b, err := json.Marshal(map[string]any{"id": b64(k.id), "rawId": b64(k.id), "type": "public-key", "response": response, "clientExtensionResults": map[string]any{}})
	if err != nil {
		k.Fatal(err)
	}
	return b
}

// passkeys enrols alice with an authenticator app and k.
func (b *bench) passkeys(k *softKey) (*mfa.Passkeys, mfa.Factor) {
	b.Helper()
	secret, _ := b.enrol()
	p, err := mfa.NewPasskeys(b.v, mfa.PasskeyOptions{Name: "jit-gateway", RPID: rpID, Origins: []string{origin}})
	if err != nil {
		b.Fatal(err)
	}
	options, dialogue, err := p.BeginRegistration(b.ctx, "Ualice", "alice")
	if err != nil {
		b.Fatal(err)
	}
	if _, err := p.FinishRegistration(b.ctx, "Ualice", mfa.Proof{}, dialogue, "laptop", k.create(options), actor); !errors.Is(err, mfa.ErrStaleProof) {
		b.Errorf("registered without a proof: %v", err)
	}
	proof, err := b.verify(b.code(secret, b.now))
	if err != nil {
		b.Fatal(err)
	}
	f, err := p.FinishRegistration(b.ctx, "Ualice", proof, dialogue, "laptop", k.create(options), actor)
	if err != nil {
		b.Fatal(err)
	}
	return p, f
}

func TestPasskeyApprovesWhatItSigned(t *testing.T) {
	b, k := newBench(t), newKey(t)
	p, f := b.passkeys(k)
	sum := sha256.Sum256([]byte("a request"))
	digest := hex.EncodeToString(sum[:])
	options, dialogue, err := p.BeginAssertion(b.ctx, "Ualice", digest)
	if err != nil {
		t.Fatal(err)
	}
	answer := k.get(options)
	if _, err := p.FinishAssertion(b.ctx, "Ubob", dialogue, answer, actor); !errors.Is(err, mfa.ErrCeremony) {
		t.Errorf("bob in alice's dialogue: %v", err)
	}
	proof, err := p.FinishAssertion(b.ctx, "Ualice", dialogue, answer, actor)
	if err != nil {
		t.Fatal(err)
	}
	if proof.Kind() != mfa.Passkey || proof.Digest() != digest || proof.FactorID() != f.ID || proof.UserID() != "Ualice" {
		t.Errorf("proof %+v", proof)
	}
	if _, err := p.FinishAssertion(b.ctx, "Ualice", dialogue, answer, actor); !errors.Is(err, mfa.ErrCeremony) {
		t.Errorf("the same answer twice: %v", err)
	}
	if err := mfa.VerifyEvidence(proof.Evidence(), digest, rpID); err != nil {
		t.Errorf("the evidence: %v", err)
	}
	other := sha256.Sum256([]byte("another request"))
	for what, err := range map[string]error{
		"another request": mfa.VerifyEvidence(proof.Evidence(), hex.EncodeToString(other[:]), rpID),
		"another site":    mfa.VerifyEvidence(proof.Evidence(), digest, "evil.example.com"),
		"no JSON":         mfa.VerifyEvidence("x", digest, rpID),
		"changed data":    mfa.VerifyEvidence(tamper(t, proof.Evidence()), digest, rpID),
	} {
		if err == nil {
			t.Errorf("evidence accepted for %s", what)
		}
	}
}

// tamper changes the signature counter that was signed.
func tamper(t *testing.T, evidence string) string {
	var a mfa.Assertion
	if err := json.Unmarshal([]byte(evidence), &a); err != nil {
		t.Fatal(err)
	}
	raw, err := base64.RawURLEncoding.DecodeString(a.AuthenticatorData)
	if err != nil {
		t.Fatal(err)
	}
	raw[36]++
	a.AuthenticatorData = b64(raw)
	out, err := json.Marshal(a)
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

func TestPasskeyRefusals(t *testing.T) {
	for what, spoil := range map[string]func(*bench, *softKey){
		"another site":   func(_ *bench, k *softKey) { k.origin = "https://evil.example.com" },
		"another rp":     func(_ *bench, k *softKey) { k.rp = "evil.example.com" },
		"no finger":      func(_ *bench, k *softKey) { k.flags = 1 },
		"another key":    func(_ *bench, k *softKey) { k.key = newKey(k.T).key },
		"unknown key":    func(_ *bench, k *softKey) { k.id = newKey(k.T).id },
		"too late":       func(b *bench, k *softKey) { b.now = b.now.Add(4 * time.Minute) },
		"nothing at all": func(*bench, *softKey) {},
	} {
		t.Run(what, func(t *testing.T) {
			b, k := newBench(t), newKey(t)
			p, _ := b.passkeys(k)
			options, dialogue, err := p.BeginAssertion(b.ctx, "Ualice", "")
			if err != nil {
				t.Fatal(err)
			}
			spoil(b, k)
			proof, err := p.FinishAssertion(b.ctx, "Ualice", dialogue, k.get(options), actor)
			if want := what == "nothing at all"; (err == nil) != want || proof.Valid() != want {
				t.Errorf("%v", err)
			}
		})
	}
}

func TestCopiedPasskeyIsNoticed(t *testing.T) {
	b, k := newBench(t), newKey(t)
	k.counter = 5
	p, _ := b.passkeys(k)
	use := func(counter uint32) error {
		options, dialogue, err := p.BeginAssertion(b.ctx, "Ualice", "")
		if err != nil {
			t.Fatal(err)
		}
		b.now = b.now.Add(time.Second)
		k.counter = counter
		_, err = p.FinishAssertion(b.ctx, "Ualice", dialogue, k.get(options), actor)
		return err
	}
	for _, c := range []struct {
		counter uint32
		ok      bool
	}{{6, true}, {9, true}, {9, false}, {7, false}, {0, false}, {10, true}} {
		if err := use(c.counter); (err == nil) != c.ok {
			t.Errorf("counter %d: %v", c.counter, err)
		}
	}
}

func TestRemoveKeepsOneFactor(t *testing.T) {
	b, k := newBench(t), newKey(t)
	p, f := b.passkeys(k)
	options, dialogue, err := p.BeginAssertion(b.ctx, "Ualice", "")
	if err != nil {
		t.Fatal(err)
	}
	proof, err := p.FinishAssertion(b.ctx, "Ualice", dialogue, k.get(options), actor)
	if err != nil {
		t.Fatal(err)
	}
	all, err := b.v.Factors(b.ctx, "Ualice")
	if err != nil {
		t.Fatal(err)
	}
	if err := b.v.Remove(b.ctx, "Ualice", f.ID, mfa.Proof{}, audit.Gateway); !errors.Is(err, mfa.ErrStaleProof) {
		t.Errorf("removed without a proof: %v", err)
	}
	for _, x := range all {
		if x.Kind == mfa.TOTP {
			if err := b.v.Remove(b.ctx, "Ualice", x.ID, proof, actor); err != nil {
				t.Error(err)
			}
		}
	}
	if err := b.v.Remove(b.ctx, "Ualice", f.ID, proof, actor); err == nil {
		t.Error("the last factor was removed")
	}
}

func TestPasskeyIsRegisteredWithAFingerOnly(t *testing.T) {
	b, k := newBench(t), newKey(t)
	p, _ := b.passkeys(k)
	options, dialogue, err := p.BeginAssertion(b.ctx, "Ualice", "")
	if err != nil {
		t.Fatal(err)
	}
	proof, err := p.FinishAssertion(b.ctx, "Ualice", dialogue, k.get(options), actor)
	if err != nil {
		t.Fatal(err)
	}
	for flags, ok := range map[byte]bool{1: false, 1 | 4: true} {
		second := newKey(t)
		second.flags = flags
		options, dialogue, err := p.BeginRegistration(b.ctx, "Ualice", "alice")
		if err != nil {
			t.Fatal(err)
		}
		if _, err = p.FinishRegistration(b.ctx, "Ualice", proof, dialogue, "phone", second.create(options), actor); (err == nil) != ok {
			t.Errorf("flags %d: %v", flags, err)
		}
	}
}
