package oidc

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"jit-gateway/internal/audit"
	"jit-gateway/internal/testenv/idp"
)

// TestG1ForgedTokensAreRefused: each is what somebody might get hold of or
// make, and none signs anybody in or makes an account.
func TestG1ForgedTokensAreRefused(t *testing.T) {
	other, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		change func(w *world, claims map[string]any)
		sign   func(w *world, claims map[string]any) string
		want   string
	}{
		"nonce of another sign-in": {change: func(_ *world, c map[string]any) { c["nonce"] = "other" }, want: "another sign-in"},
		"no nonce":                 {change: func(_ *world, c map[string]any) { delete(c, "nonce") }, want: "another sign-in"},
		"for another client":       {change: func(_ *world, c map[string]any) { c["aud"] = "wiki" }, want: "audience"},
		"for another client too":   {change: func(_ *world, c map[string]any) { c["aud"] = []string{idp.ClientID, "wiki"} }, want: "2 audiences"},
		"for nobody":               {change: func(_ *world, c map[string]any) { c["aud"] = []string{} }, want: "audience"},
		"made for another client":  {change: func(_ *world, c map[string]any) { c["azp"] = "wiki" }, want: "another client"},
		"expired":                  {change: func(w *world, c map[string]any) { c["exp"] = w.now.Add(-time.Second).Unix() }, want: "expired"},
		"not yet valid":            {change: func(w *world, c map[string]any) { c["nbf"] = w.now.Add(time.Hour).Unix() }, want: "not before"},
		"issued in the future":     {change: func(w *world, c map[string]any) { c["iat"] = w.now.Add(time.Hour).Unix() }, want: "future"},
		"another issuer":           {change: func(_ *world, c map[string]any) { c["iss"] = "https://evil.example" }, want: "different provider"},
		"no subject":               {change: func(_ *world, c map[string]any) { delete(c, "sub") }, want: "no subject"},
		"unsigned":                 {sign: func(_ *world, c map[string]any) string { return idp.Unsigned(c) }, want: "not accepted"},
		"signed by a stranger":     {sign: func(_ *world, c map[string]any) string { return idp.SignWith(jose.ES256, other, "k1", c) }, want: "signature"},
		"signed with our secret": {sign: func(_ *world, c map[string]any) string {
			return idp.SignWith(jose.HS256, []byte(strings.Repeat(idp.ClientSecret, 2)), "k1", c)
		}, want: "not accepted"},
		"signed with the public key as a secret": {sign: func(w *world, c map[string]any) string {
			der, err := x509.MarshalPKIXPublicKey(w.idp.PublicKey())
			if err != nil {
				t.Fatal(err)
			}
			return idp.SignWith(jose.HS256, der, "k1", c)
		}, want: "not accepted"},
		"no token": {sign: func(*world, map[string]any) string { return "" }, want: "no ID token"},
		"too long": {change: func(_ *world, c map[string]any) { c["x"] = strings.Repeat("x", maxToken) }, want: "too long"},
		"groups left out": {change: func(_ *world, c map[string]any) {
			c["_claim_names"], c["_claim_sources"] = map[string]any{"groups": "src1"}, map[string]any{"src1": map[string]any{"endpoint": "https://graph.example/x"}}
		}, want: "more groups"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.idp.Token = func(claims map[string]any) string {
				if c.change != nil {
					c.change(w, claims)
				}
				if c.sign != nil {
					return c.sign(w, claims)
				}
				return w.idp.Sign(claims)
			}
			u, err := w.signIn()
			var refusal *Refusal
			if !errors.As(err, &refusal) || !strings.Contains(err.Error(), c.want) || u.ID != "" {
				t.Errorf("%+v, %v; want a refusal about %q", u, err, c.want)
			}
			if len(w.store.users) != 0 {
				t.Errorf("it made %+v", w.store.users)
			}
			if ev := w.store.last(); ev.Type != audit.OIDCRefused || ev.Outcome != audit.Denied || ev.Actor.Source != "192.0.2.7" {
				t.Errorf("logged %+v", ev)
			}
		})
	}
}

// TestAnswersThatWereNotAskedFor: state, cookie and mix-up.
func TestAnswersThatWereNotAskedFor(t *testing.T) {
	w := newWorld(t)
	answer, cookie := w.begin()
	_, otherCookie := w.begin()
	finish := func(a url.Values, c string) error {
		t.Helper()
		_, _, err := w.Finish(t.Context(), a, c, "192.0.2.7")
		return err
	}
	with := func(k, v string) url.Values {
		out := url.Values{}
		for key, vals := range answer {
			out[key] = vals
		}
		out.Set(k, v)
		return out
	}
	flipped := []byte(cookie)
	flipped[len(flipped)/2] ^= 1
	for name, err := range map[string]error{
		"no cookie":                     finish(answer, ""),
		"a cookie that we did not make": finish(answer, "e30"),
		"a changed cookie":              finish(answer, string(flipped)),
		"another browser's":             finish(answer, otherCookie),
		"another state":                 finish(with("state", "x"), cookie),
		"no state":                      finish(with("state", ""), cookie),
		"no code":                       finish(with("code", ""), cookie),
		"another provider's (RFC 9207)": finish(with("iss", "https://evil.example"), cookie),
	} {
		if !errors.Is(err, ErrFlow) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := finish(with("error", "access_denied\x1b[31m"), cookie); err == nil || !strings.Contains(err.Error(), "access_denied") || strings.Contains(err.Error(), "\x1b") {
		t.Errorf("an error of the provider: %q", err)
	}
	if err := finish(answer, cookie); err != nil {
		t.Fatalf("none of them spoils the real one: %v", err)
	}
	if err := finish(answer, cookie); !errors.Is(err, ErrFlow) {
		t.Errorf("a replayed state: %v", err)
	}
	// Another code with a state that was used: as good as used.
	again := w.visit(w.idp.URL + "/authorize?redirect_uri=" + url.QueryEscape(redirect))
	if err := finish(with("code", again.Get("code")), cookie); !errors.Is(err, ErrFlow) {
		t.Errorf("a new code with a used state: %v", err)
	}
	answer, cookie = w.begin()
	w.now = w.now.Add(flowTime)
	if err := finish(answer, cookie); !errors.Is(err, ErrFlow) {
		t.Errorf("too late: %v", err)
	}
	w.idp.Metadata = func(m map[string]any) { m["authorization_response_iss_parameter_supported"] = true }
	p, err := NewProvider(ProviderOptions{Issuer: w.idp.URL, CAFile: w.idp.CAFile, Now: w.o.Now})
	if err != nil {
		t.Fatal(err)
	}
	w.o.Provider = p
	w.build()
	if _, err := w.signIn(); !errors.Is(err, ErrFlow) {
		t.Errorf("a provider that names itself in answers, and here does not: %v", err)
	}
	w.idp.Answer = func(v url.Values) { v.Set("iss", w.idp.URL) }
	if _, err := w.signIn(); err != nil {
		t.Errorf("and here does: %v", err)
	}
}

// A code that an attacker began elsewhere, or got without our verifier, is
// worth nothing: the provider wants the verifier of its challenge.
func TestPKCE(t *testing.T) {
	w := newWorld(t)
	address, cookie, err := w.Begin(t.Context(), "/")
	if err != nil {
		t.Fatal(err)
	}
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	q := u.Query()
	if q.Get("code_challenge_method") != "S256" || len(q.Get("code_challenge")) != 43 || len(q.Get("state")) < 43 || len(q.Get("nonce")) < 43 || q.Get("state") == q.Get("nonce") {
		t.Errorf("%v", q)
	}
	for name, challenge := range map[string]string{"another": strings.Repeat("A", 43), "no": ""} {
		q.Set("code_challenge", challenge)
		u.RawQuery = q.Encode()
		answer := w.visit(u.String())
		var refusal *Refusal
		if _, _, err := w.Finish(t.Context(), answer, cookie, "192.0.2.7"); !errors.As(err, &refusal) && !errors.Is(err, ErrFlow) {
			t.Errorf("%s challenge: %v", name, err)
		}
		if _, cookie, err = w.Begin(t.Context(), "/"); err != nil {
			t.Fatal(err)
		}
	}
	if len(w.store.users) != 0 {
		t.Errorf("%+v", w.store.users)
	}
}

func TestProviderThatIsNotWhatItSays(t *testing.T) {
	for name, change := range map[string]func(map[string]any){
		"another issuer":     func(m map[string]any) { m["issuer"] = "https://evil.example" },
		"tokens in clear":    func(m map[string]any) { m["token_endpoint"] = "http://idp.example/token" },
		"keys in clear":      func(m map[string]any) { m["jwks_uri"] = "http://idp.example/keys" },
		"nowhere to sign in": func(m map[string]any) { m["authorization_endpoint"] = "javascript:alert(1)" },
	} {
		w := newWorld(t)
		w.idp.Metadata = change
		if _, _, err := w.Begin(t.Context(), "/"); err == nil || !strings.Contains(err.Error(), "cannot be asked now") {
			t.Errorf("%s: %v", name, err)
		}
		w.idp.Metadata = nil
		if _, _, err := w.Begin(t.Context(), "/"); err == nil {
			t.Errorf("%s: asked again at once", name)
		}
		w.now = w.now.Add(againAfter)
		if _, _, err := w.Begin(t.Context(), "/"); err != nil {
			t.Errorf("%s: once it is right: %v", name, err)
		}
	}
	for _, issuer := range []string{"", "http://idp.example", "https://", "ftp://idp.example", "https://user@idp.example", "http://127.0.0.1.evil.example"} {
		if _, err := NewProvider(ProviderOptions{Issuer: issuer}); err == nil {
			t.Errorf("%q was accepted", issuer)
		}
	}
	// A provider behind a certificate that nobody vouches for.
	w := newWorld(t)
	p, err := NewProvider(ProviderOptions{Issuer: w.idp.URL, Now: w.o.Now})
	if err != nil {
		t.Fatal(err)
	}
	w.o.Provider = p
	w.build()
	if _, _, err := w.Begin(t.Context(), "/"); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Error(err)
	}
}
