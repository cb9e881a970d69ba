package ca

import (
	"encoding/base64"
	"strings"
	"testing"
)

func unbase64(t *testing.T, s string) []byte {
	t.Helper()
	b, err := base64.StdEncoding.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// The exchange of RFC 7677, section 3.
func TestMatchFollowsRFC7677(t *testing.T) {
	stored, server, err := scramKeys("pencil", unbase64(t, "W22ZaJ0SNY7soEsUEjb6gQ=="), 4096)
	if err != nil {
		t.Fatal(err)
	}
	message := []byte("n=user,r=rOprNGfwEbeRWgbNEkqO," +
		"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096," +
		"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0")
	proof := unbase64(t, "dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=")
	other := Verifier{TokenID: "T1", StoredKey: make([]byte, 32), ServerKey: make([]byte, 32)}
	right := Verifier{TokenID: "T2", StoredKey: stored, ServerKey: server}
	v, sig, ok := Match([]Verifier{other, right, other}, message, proof)
	if got := base64.StdEncoding.EncodeToString(sig); !ok || v.TokenID != "T2" || got != "6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=" {
		t.Errorf("matched %q with %s, %v", v.TokenID, got, ok)
	}
	for name, c := range map[string]struct {
		vs    []Verifier
		proof []byte
	}{
		"nobody":      {nil, proof},
		"another":     {[]Verifier{other}, proof},
		"wrong proof": {[]Verifier{right}, make([]byte, 32)},
		"short proof": {[]Verifier{right}, proof[:31]},
		"no proof":    {[]Verifier{right}, nil},
	} {
		if _, _, ok := Match(c.vs, message, c.proof); ok {
			t.Errorf("%s: matched", name)
		}
	}
}

func TestTokensAreFoundByScanners(t *testing.T) {
	seen := map[string]bool{}
	for range 200 {
		tok := newTokenText()
		if !IsToken(tok) || len(tok) != 56 || seen[tok] {
			t.Fatalf("%q", tok)
		}
		seen[tok] = true
		last := "0"
		if strings.HasSuffix(tok, "0") {
			last = "1"
		}
		for _, bad := range []string{tok[:55], tok + "0", tok[:55] + last, strings.Replace(tok, "jit_pg_", "jit_pq_", 1), tok[:20] + "-" + tok[21:]} {
			if IsToken(bad) {
				t.Errorf("%q passes for a token", bad)
			}
		}
	}
}

func FuzzIsToken(f *testing.F) {
	f.Add(newTokenText())
	f.Add("jit_pg_")
	f.Add(strings.Repeat("\xff", 56))
	f.Fuzz(func(t *testing.T, s string) {
		if IsToken(s) && (!strings.HasPrefix(s, TokenPrefix) || strings.ContainsAny(s, " \x00\n")) {
			t.Errorf("%q passes for a token", s)
		}
	})
}
