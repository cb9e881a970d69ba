// Package idp is an OpenID Connect provider for tests, over TLS on loopback.
// It does what providers do, and on demand what they must not do: tokens of
// other issuers, for other clients, unsigned, of another sign-in.
package idp

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// ClientID and ClientSecret are those of the one client.
const (
	ClientID     = "jit"
	ClientSecret = "jit-client-secret"
)

// IdP is a provider.
type IdP struct {
	URL    string // the issuer
	CAFile string
	Now    func() time.Time

	// Claims of whoever signs in. Change them between sign-ins.
	Claims map[string]any
	// Metadata, Token and Answer change what is sent, if set.
	Metadata func(map[string]any)
	Token    func(claims map[string]any) string // instead of Sign
	Answer   func(url.Values)                   // what comes back to the redirect address
	// KeyFetches counts requests for the key set.
	KeyFetches int

	mu    sync.Mutex
	key   *ecdsa.PrivateKey
	codes map[string]sent
}

type sent struct{ nonce, challenge, redirect string }

// Start starts a provider that ends with the test.
func Start(t testing.TB, now func() time.Time) *IdP {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	p := &IdP{Now: now, key: key, codes: map[string]sent{}, Claims: map[string]any{"sub": "s-1", "preferred_username": "erin@example.org", "name": "Erin Example"}}
	srv := httptest.NewTLSServer(p)
	t.Cleanup(srv.Close)
	p.URL, p.CAFile = srv.URL, filepath.Join(t.TempDir(), "idp-ca.pem")
	if err := os.WriteFile(p.CAFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: srv.Certificate().Raw}), 0o644); err != nil {
		t.Fatal(err)
	}
	return p
}

// ServeHTTP implements http.Handler.
func (p *IdP) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch r.URL.Path {
	case "/.well-known/openid-configuration":
		m := map[string]any{"issuer": p.URL, "authorization_endpoint": p.URL + "/authorize", "token_endpoint": p.URL + "/token", "jwks_uri": p.URL + "/keys",
			"response_types_supported": []string{"code"}, "id_token_signing_alg_values_supported": []string{"ES256", "HS256", "none"}}
		if p.Metadata != nil {
			p.Metadata(m)
		}
		answer(w, m)
	case "/keys":
		p.KeyFetches++
		answer(w, jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: p.key.Public(), KeyID: "k1", Algorithm: "ES256", Use: "sig"}}})
	case "/authorize":
		q := r.URL.Query()
		b := make([]byte, 12)
		rand.Read(b)
		code := base64.RawURLEncoding.EncodeToString(b)
		p.codes[code] = sent{q.Get("nonce"), q.Get("code_challenge"), q.Get("redirect_uri")}
		back := url.Values{"code": {code}, "state": {q.Get("state")}}
		if p.Answer != nil {
			p.Answer(back)
		}
		http.Redirect(w, r, q.Get("redirect_uri")+"?"+back.Encode(), http.StatusFound)
	case "/token":
		p.token(w, r)
	default:
		http.NotFound(w, r)
	}
}

// token gives an ID token for a code, once, against the verifier of its challenge.
func (p *IdP) token(w http.ResponseWriter, r *http.Request) {
	refuse := func(what string) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusBadRequest)
		fmt.Fprintf(w, `{"error":%q}`, what)
	}
	if id, secret, _ := r.BasicAuth(); id != ClientID || secret != ClientSecret {
		refuse("invalid_client")
		return
	}
	s, ok := p.codes[r.PostFormValue("code")]
	delete(p.codes, r.PostFormValue("code"))
	sum := sha256.Sum256([]byte(r.PostFormValue("code_verifier")))
	if !ok || s.redirect != r.PostFormValue("redirect_uri") || s.challenge == "" || s.challenge != base64.RawURLEncoding.EncodeToString(sum[:]) {
		refuse("invalid_grant")
		return
	}
	claims := p.Standard(ClientID)
	claims["nonce"] = s.nonce
	maps.Copy(claims, p.Claims)
	sign := p.Sign
	if p.Token != nil {
		sign = p.Token
	}
	answer(w, map[string]any{"access_token": "at", "token_type": "Bearer", "expires_in": 300, "id_token": sign(claims)})
}

// Standard are the claims of a good token for the audience.
func (p *IdP) Standard(audience string) map[string]any {
	now := p.Now()
	return map[string]any{"iss": p.URL, "aud": audience, "iat": now.Unix(), "exp": now.Add(5 * time.Minute).Unix()}
}

// Sign signs claims with the provider's key.
func (p *IdP) Sign(claims map[string]any) string { return SignWith(jose.ES256, p.key, "k1", claims) }

// SignWith signs claims with any key; a mistake of the test panics.
func SignWith(alg jose.SignatureAlgorithm, key any, kid string, claims map[string]any) string {
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: alg, Key: jose.JSONWebKey{Key: key, KeyID: kid}}, nil)
	if err != nil {
		panic(err)
	}
	b, err := json.Marshal(claims)
	if err != nil {
		panic(err)
	}
	s, err := signer.Sign(b)
	if err != nil {
		panic(err)
	}
	out, err := s.CompactSerialize()
	if err != nil {
		panic(err)
	}
	return out
}

// PublicKey is what the provider signs with, as a forger has it.
func (p *IdP) PublicKey() *ecdsa.PublicKey { return &p.key.PublicKey }

// Unsigned is a token with "alg": "none".
func Unsigned(claims map[string]any) string {
	b, err := json.Marshal(claims)
	if err != nil {
		panic(err)
	}
	enc := base64.RawURLEncoding.EncodeToString
	return enc([]byte(`{"alg":"none","kid":"k1"}`)) + "." + enc(b) + "."
}

func answer(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(v)
}
