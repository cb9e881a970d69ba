package mfa_test

import (
	"context"
	"encoding/base32"
	"errors"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pquerna/otp/totp"

	"jit-gateway/approval/mfa"
	"jit-gateway/internal/audit"
	"jit-gateway/internal/identity"
	"jit-gateway/internal/seal"
	"jit-gateway/internal/store/sqlite"
)

type bench struct {
	*testing.T
	ctx context.Context
	db  *sqlite.DB
	v   *mfa.Verifier
	now time.Time
}

var actor = audit.Actor{ID: "Ualice", Name: "alice", Source: "192.0.2.1", Via: "ssh"}

func newBench(t *testing.T) *bench {
	t.Helper()
	b := &bench{T: t, ctx: t.Context(), now: time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)}
	var err error
	if b.db, err = sqlite.Open(b.ctx, filepath.Join(t.TempDir(), "store.db"), sqlite.Options{Now: func() time.Time { return b.now }}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.db.Close(); err != nil {
			t.Error(err)
		}
	})
	box, err := seal.New(seal.GenerateKey())
	if err != nil {
		t.Fatal(err)
	}
	if b.v, err = mfa.NewVerifier(mfa.Options{Store: b.db, Box: box, Now: func() time.Time { return b.now }, Issuer: "jit gateway"}); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"alice", "bob"} {
		u := identity.User{ID: "U" + name, Name: name, Kind: identity.Human, State: identity.Active, CreatedAt: b.now}
		if err := b.db.CreateUser(b.ctx, u, audit.Event{Type: audit.UserAdded, Outcome: audit.Success}); err != nil {
			t.Fatal(err)
		}
	}
	return b
}

func (b *bench) code(secret string, at time.Time) string {
	b.Helper()
	c, err := totp.GenerateCode(secret, at)
	if err != nil {
		b.Fatal(err)
	}
	return c
}

// enrol gives alice a factor and moves on to a step whose code is not used.
func (b *bench) enrol() (string, []string) {
	b.Helper()
	e := b.v.BeginTOTP("alice")
	_, codes, err := b.v.ConfirmTOTP(b.ctx, "Ualice", e, b.code(e.Secret, b.now), actor)
	if err != nil {
		b.Fatal(err)
	}
	b.now = b.now.Add(time.Minute)
	return e.Secret, codes
}

func (b *bench) verify(code string) (mfa.Proof, error) {
	return b.v.VerifyCode(b.ctx, "Ualice", code, actor)
}

// The SHA-1 vectors of RFC 6238 appendix B, cut to six digits.
func TestRFC6238Vectors(t *testing.T) {
	secret := base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString([]byte("12345678901234567890"))
	b := newBench(t)
	b.now = time.Unix(29, 0)
	if _, _, err := b.v.ConfirmTOTP(b.ctx, "Ualice", mfa.Enrolment{Secret: secret}, b.code(secret, b.now), actor); err != nil {
		t.Fatal(err)
	}
	for at, code := range map[int64]string{59: "287082"} {
		b.now = time.Unix(at, 0)
		if _, err := b.verify(code); err != nil {
			t.Errorf("at %d: %v", at, err)
		}
	}
	for _, v := range []struct {
		at   int64
		code string
	}{{1111111109, "081804"}, {1111111111 + 30, "050471"}, {1234567890, "005924"}, {2000000000, "279037"}, {20000000000, "353130"}} {
		b.now = time.Unix(v.at, 0)
		if _, err := b.verify(v.code); err != nil {
			t.Errorf("at %d: %v", v.at, err)
		}
	}
}

func TestEnrolmentURI(t *testing.T) {
	b := newBench(t)
	e := b.v.BeginTOTP("alice")
	if !strings.HasPrefix(e.URI, "otpauth://totp/jit%20gateway:alice?secret="+e.Secret+"&issuer=jit%20gateway") || len(e.Secret) != 32 {
		t.Errorf("enrolment %+v", e)
	}
	if other := b.v.BeginTOTP("alice"); other.Secret == e.Secret {
		t.Error("two secrets are the same")
	}
}

func TestCodeWindow(t *testing.T) {
	for _, c := range []struct {
		steps int
		ok    bool
	}{{-2, false}, {-1, true}, {0, true}, {1, true}, {2, false}} {
		b := newBench(t)
		secret, _ := b.enrol()
		b.now = b.now.Add(time.Minute)
		_, err := b.verify(b.code(secret, b.now.Add(time.Duration(c.steps)*30*time.Second)))
		if (err == nil) != c.ok {
			t.Errorf("%d steps away: %v", c.steps, err)
		}
	}
}

func TestCodesWorkOnce(t *testing.T) {
	b := newBench(t)
	secret, _ := b.enrol()
	previous, current := b.code(secret, b.now.Add(-30*time.Second)), b.code(secret, b.now)
	p, err := b.verify(" " + current[:3] + " " + current[3:])
	if err != nil {
		t.Fatal(err)
	}
	if !p.Valid() || p.UserID() != "Ualice" || p.Kind() != mfa.TOTP || !p.At().Equal(b.now) || strings.Contains(p.Evidence(), current) {
		t.Errorf("proof %+v", p)
	}
	for _, code := range []string{current, previous} { // nor does an older one work after a newer one
		if _, err := b.verify(code); !errors.Is(err, mfa.ErrUsedCode) {
			t.Errorf("again: %v", err)
		}
	}
}

func TestOneCodeTwiceAtOnceHasOneWinner(t *testing.T) {
	b := newBench(t)
	secret, _ := b.enrol()
	code := b.code(secret, b.now)
	// Verifiers of two gateways: they share the store, not the lock.
	var wg sync.WaitGroup
	var mu sync.Mutex
	won := 0
	for range 8 {
		v, err := mfa.NewVerifier(mfa.Options{Store: b.db, Box: openBox{b}, Now: func() time.Time { return b.now }})
		if err != nil {
			t.Fatal(err)
		}
		wg.Go(func() {
			if _, err := v.VerifyTOTP(b.ctx, "Ualice", code, actor); err == nil {
				mu.Lock()
				won++
				mu.Unlock()
			} else if !errors.Is(err, mfa.ErrUsedCode) {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if won != 1 {
		t.Errorf("%d winners", won)
	}
}

// openBox opens what the bench's own box sealed.
type openBox struct{ b *bench }

func (o openBox) Seal(plain []byte, aad string) []byte { panic("not used") }
func (o openBox) Open(sealed []byte, aad string) ([]byte, error) {
	return o.b.v.Box().Open(sealed, aad)
}

func TestWrongCodesWaitLonger(t *testing.T) {
	b := newBench(t)
	secret, codes := b.enrol()
	wrong := func() error {
		_, err := b.verify("000000")
		if b.code(secret, b.now) == "000000" {
			t.Log("one in a million: 000000 is right just now")
		}
		return err
	}
	for i := range 4 {
		if err := wrong(); !errors.Is(err, mfa.ErrWrongCode) {
			t.Fatalf("attempt %d: %v", i, err)
		}
	}
	for _, want := range []time.Duration{30 * time.Second, time.Minute, 2 * time.Minute, 4 * time.Minute, 8 * time.Minute, 16 * time.Minute, 32 * time.Minute, time.Hour, time.Hour} {
		var locked *mfa.LockedError
		if err := wrong(); !errors.As(err, &locked) || locked.Until.Sub(b.now) != want {
			t.Fatalf("want a wait of %s, got %v", want, err)
		}
		if _, err := b.verify(b.code(secret, b.now)); !errors.As(err, &locked) {
			t.Fatalf("a right code while locked: %v", err)
		}
		if _, err := b.verify(codes[0]); !errors.As(err, &locked) {
			t.Fatalf("a recovery code while locked: %v", err)
		}
		b.now = locked.Until
	}
	if _, err := b.verify(b.code(secret, b.now)); err != nil {
		t.Fatalf("after the wait: %v", err)
	}
	if err := wrong(); !errors.Is(err, mfa.ErrWrongCode) {
		t.Errorf("failures were not forgotten: %v", err)
	}
}

func TestClockSkewHint(t *testing.T) {
	b := newBench(t)
	secret, _ := b.enrol()
	b.now = b.now.Add(time.Hour)
	var skew *mfa.SkewError
	_, err := b.verify(b.code(secret, b.now.Add(-4*time.Minute)))
	if !errors.As(err, &skew) || skew.Offset != -4*time.Minute || !errors.Is(err, mfa.ErrWrongCode) || !strings.Contains(err.Error(), "4m0s behind") {
		t.Errorf("behind: %v", err)
	}
	// A code of the future is not confirmed at once: it will be right.
	_, err = b.verify(b.code(secret, b.now.Add(5*time.Minute)))
	if !errors.Is(err, mfa.ErrWrongCode) || errors.As(err, &skew) {
		t.Errorf("ahead, once: %v", err)
	}
	b.now = b.now.Add(30 * time.Second)
	_, err = b.verify(b.code(secret, b.now.Add(5*time.Minute)))
	if !errors.As(err, &skew) || skew.Offset != 5*time.Minute {
		t.Errorf("ahead, twice: %v", err)
	}
}

func TestRecoveryCodes(t *testing.T) {
	b := newBench(t)
	secret, codes := b.enrol()
	if len(codes) != 8 {
		t.Fatalf("%d codes", len(codes))
	}
	p, err := b.verify(strings.ToLower(codes[3]))
	if err != nil || p.Kind() != mfa.Recovery {
		t.Fatalf("%+v, %v", p, err)
	}
	if _, err := b.verify(codes[3]); !errors.Is(err, mfa.ErrWrongCode) {
		t.Errorf("again: %v", err)
	}
	if _, err := b.v.VerifyCode(b.ctx, "Ubob", codes[4], actor); !errors.Is(err, mfa.ErrWrongCode) {
		t.Errorf("bob with alice's code: %v", err)
	}
	fresh, err := b.v.NewRecoveryCodes(b.ctx, "Ualice", p, actor)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.verify(codes[4]); !errors.Is(err, mfa.ErrWrongCode) {
		t.Errorf("an old code after the new ones were made: %v", err)
	}
	if _, err := b.verify(fresh[0]); err != nil {
		t.Error(err)
	}
	b.now = b.now.Add(6 * time.Minute)
	if _, err := b.v.NewRecoveryCodes(b.ctx, "Ualice", p, actor); !errors.Is(err, mfa.ErrStaleProof) {
		t.Errorf("with a proof of long ago: %v", err)
	}
	_ = secret
}

func TestEnrolmentNeedsAFactorOrAnInvite(t *testing.T) {
	b := newBench(t)
	secret, _ := b.enrol()
	e := b.v.BeginTOTP("alice")
	if _, _, err := b.v.ConfirmTOTP(b.ctx, "Ualice", e, b.code(e.Secret, b.now), actor); !errors.Is(err, mfa.ErrFactorExists) {
		t.Errorf("a second first factor: %v", err)
	}
	if _, _, err := b.v.ReplaceTOTP(b.ctx, "Ualice", mfa.Proof{}, e, b.code(e.Secret, b.now), actor); !errors.Is(err, mfa.ErrStaleProof) {
		t.Errorf("replaced without a proof: %v", err)
	}
	if _, _, err := b.v.ResetTOTP(b.ctx, "Ualice", "", e, b.code(e.Secret, b.now), actor); err == nil {
		t.Error("reset without an invite")
	}
	p, err := b.verify(b.code(secret, b.now))
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := b.v.ReplaceTOTP(b.ctx, "Ubob", p, e, b.code(e.Secret, b.now), actor); !errors.Is(err, mfa.ErrStaleProof) {
		t.Errorf("alice's proof for bob: %v", err)
	}
	if _, _, err := b.v.ReplaceTOTP(b.ctx, "Ualice", p, e, "000000", actor); !errors.Is(err, mfa.ErrWrongCode) {
		t.Errorf("with a wrong code: %v", err)
	}
	if _, _, err := b.v.ReplaceTOTP(b.ctx, "Ualice", p, e, b.code(e.Secret, b.now), actor); err != nil {
		t.Fatal(err)
	}
	b.now = b.now.Add(time.Minute)
	if _, err := b.verify(b.code(secret, b.now)); !errors.Is(err, mfa.ErrWrongCode) {
		t.Errorf("the old factor still works: %v", err)
	}
	last := b.v.BeginTOTP("alice")
	if _, _, err := b.v.ResetTOTP(b.ctx, "Ualice", "V1", last, b.code(last.Secret, b.now), actor); err != nil {
		t.Fatal(err)
	}
	fs, err := b.v.Factors(b.ctx, "Ualice")
	if err != nil || len(fs) != 9 {
		t.Errorf("%d factors, want one and eight recovery codes; %v", len(fs), err)
	}
}

func TestG8FactorsAreSealedToTheirRows(t *testing.T) {
	b := newBench(t)
	secret, codes := b.enrol()
	fs, err := b.db.Factors(b.ctx, "Ualice")
	if err != nil {
		t.Fatal(err)
	}
	for i, f := range fs {
		for _, s := range append([]string{secret}, codes...) {
			if strings.Contains(string(f.Sealed), s) {
				t.Error("a secret is in the store in clear")
			}
		}
		f.ID, f.UserID = f.ID+"x", "Ubob" // somebody copies alice's rows to bob
		if err := b.db.AddFactor(b.ctx, f, audit.Event{Type: audit.FactorAdded, Outcome: audit.Success}); err != nil {
			t.Fatal(i, err)
		}
	}
	if p, err := b.v.VerifyTOTP(b.ctx, "Ubob", b.code(secret, b.now), actor); err == nil || p.Valid() {
		t.Errorf("alice's factor in bob's row: %v", err)
	}
}
