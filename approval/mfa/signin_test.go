package mfa_test

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"testing"

	"jit-gateway/approval/mfa"
	"jit-gateway/internal/audit"
)

// Signing in with a passkey names its user; what it signs approves nothing.
func TestPasskeySignsIn(t *testing.T) {
	b, k := newBench(t), newKey(t)
	p, f := b.passkeys(k)
	who := func(id string) (audit.Actor, error) {
		if id != "Ualice" {
			return audit.Actor{}, errors.New("no such user")
		}
		return actor, nil
	}
	options, dialogue, err := p.BeginSignIn()
	if err != nil {
		t.Fatal(err)
	}
	answer := k.get(options)
	proof, err := p.FinishSignIn(b.ctx, dialogue, answer, who)
	if err != nil || proof.UserID() != "Ualice" || proof.FactorID() != f.ID || proof.Digest() != "" {
		t.Fatalf("%+v: %v", proof, err)
	}
	sum := sha256.Sum256([]byte("a request"))
	if mfa.VerifyEvidence(proof.Evidence(), hex.EncodeToString(sum[:]), rpID) == nil {
		t.Error("a sign-in is evidence of an approval")
	}
	if _, err := p.FinishSignIn(b.ctx, dialogue, answer, who); !errors.Is(err, mfa.ErrCeremony) {
		t.Errorf("the same answer twice: %v", err)
	}
	// A dialogue of a signed-in user is none for signing in, and the other way round.
	options, dialogue, err = p.BeginAssertion(b.ctx, "Ualice", "")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.FinishSignIn(b.ctx, dialogue, k.get(options), who); !errors.Is(err, mfa.ErrCeremony) {
		t.Errorf("an act's dialogue signs in: %v", err)
	}
	for what, spoil := range map[string]func(*softKey){
		"no finger": func(k *softKey) { k.flags = 1 }, "another site": func(k *softKey) { k.origin = "https://evil.example.com" },
		"another rp": func(k *softKey) { k.rp = "evil.example.com" }, "a copy": func(k *softKey) { k.counter = 0 }, "unknown key": func(k *softKey) { k.id = newKey(t).id },
	} {
		options, dialogue, err := p.BeginSignIn()
		if err != nil {
			t.Fatal(err)
		}
		k.counter = 10
		bad := *k
		spoil(&bad)
		if what == "a copy" { // the real one has counted meanwhile
			o, d, err := p.BeginSignIn()
			if err != nil {
				t.Fatal(err)
			}
			if _, err := p.FinishSignIn(b.ctx, d, k.get(o), who); err != nil {
				t.Fatal(err)
			}
		}
		if proof, err := p.FinishSignIn(b.ctx, dialogue, bad.get(options), who); err == nil || proof.Valid() {
			t.Errorf("%s signs in", what)
		}
	}
	if a, err := b.db.FactorAttempts(b.ctx, "Ualice"); err != nil || a.Failures != 0 {
		t.Errorf("strangers' failures count against alice: %+v, %v", a, err)
	}
}

// The first passkey comes with an administrator's one-time code, which is
// spent only for an answer that is good.
func TestInvitedPasskey(t *testing.T) {
	b, k := newBench(t), newKey(t)
	p, err := mfa.NewPasskeys(b.v, mfa.PasskeyOptions{Name: "jit-gateway", RPID: rpID, Origins: []string{origin}})
	if err != nil {
		t.Fatal(err)
	}
	spent := 0
	redeem := func() (string, error) { spent++; return "V1", nil }
	for _, bad := range []bool{true, false} {
		options, dialogue, err := p.BeginRegistration(b.ctx, "Ualice", "alice")
		if err != nil {
			t.Fatal(err)
		}
		if k.flags = 1 | 4; bad {
			k.flags = 1
		}
		f, err := p.FinishInvited(b.ctx, "Ualice", dialogue, "Phone", k.create(options), actor, redeem)
		if bad != (err != nil) || !bad && (spent != 1 || f.Name != "Phone") {
			t.Errorf("bad %v: %v, %d codes spent, %+v", bad, err, spent, f)
		}
	}
	fs, err := b.v.Factors(b.ctx, "Ualice")
	if err != nil || len(fs) != 1 {
		t.Fatalf("%+v, %v", fs, err)
	}
	if err := b.v.Rename(b.ctx, "Ualice", fs[0].ID, " Büro\xff ", actor); err != nil {
		t.Error(err)
	}
	if err := b.v.Rename(b.ctx, "Ubob", fs[0].ID, "mine", actor); err == nil {
		t.Error("bob renames alice's passkey")
	}
	if fs, _ = b.v.Factors(b.ctx, "Ualice"); fs[0].Name != "Büro" {
		t.Errorf("the name is %q", fs[0].Name)
	}
}
