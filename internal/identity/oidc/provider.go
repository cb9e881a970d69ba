package oidc

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"sync"
	"time"

	gooidc "github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"
)

const (
	providerTime = 10 * time.Second // for one request to a provider
	maxAnswer    = 1 << 20          // bytes of one answer
	againAfter   = 5 * time.Second  // a discovery that failed is not tried again before
	maxToken     = 32 << 10         // bytes of a token
)

// algorithms that a token may be signed with: asymmetric ones alone. "none"
// and the HS family (where the key would be our own client secret) are not
// among them, whatever a provider announces.
var algorithms = []string{gooidc.RS256, gooidc.RS384, gooidc.RS512, gooidc.ES256, gooidc.ES384, gooidc.ES512,
	gooidc.PS256, gooidc.PS384, gooidc.PS512, gooidc.EdDSA}

// ProviderOptions says which provider is trusted.
type ProviderOptions struct {
	Issuer string
	CAFile string // who may sign its TLS certificate; system roots if empty
	Now    func() time.Time
}

// Provider is an OpenID Connect provider. Its metadata are fetched when they
// are first needed, so that the gateway starts without it; its keys are cached, and
// fetched again when a token names one that is not known. Safe for concurrent use.
type Provider struct {
	o      ProviderOptions
	client *http.Client

	mu      sync.Mutex
	found   *gooidc.Provider
	meta    metadata
	failed  error
	retryAt time.Time
}

// metadata is what go-oidc does not read for us.
type metadata struct {
	IssInResponse bool   `json:"authorization_response_iss_parameter_supported"` // RFC 9207
	Token         string `json:"token_endpoint"`
	Keys          string `json:"jwks_uri"`
}

// NewProvider checks the options. It connects to nobody yet.
func NewProvider(o ProviderOptions) (*Provider, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	if err := SafeURL(o.Issuer); err != nil {
		return nil, fmt.Errorf("the issuer %w", err)
	}
	pool, err := roots(o.CAFile)
	if err != nil {
		return nil, err
	}
	transport := &http.Transport{
		Proxy: http.ProxyFromEnvironment, TLSClientConfig: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12},
		MaxIdleConns: 4, IdleConnTimeout: time.Minute, TLSHandshakeTimeout: providerTime, ForceAttemptHTTP2: true,
	}
	return &Provider{o: o, client: &http.Client{
		Transport: bounded{transport}, Timeout: providerTime,
		// Neither metadata nor keys nor tokens come from elsewhere than where they were announced.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}, nil
}

// SafeURL refuses what is not https; http only on this machine.
func SafeURL(raw string) error {
	u, err := url.Parse(raw)
	switch {
	case err != nil || u.Host == "" || u.User != nil || u.Fragment != "":
		return fmt.Errorf("%q is not an https:// address", raw)
	case u.Scheme == "https":
		return nil
	case u.Scheme == "http" && (u.Hostname() == "localhost" || net.ParseIP(u.Hostname()).IsLoopback()):
		return nil
	}
	return fmt.Errorf("%q must be an https:// address: who can change what it says can be anybody", raw)
}

func roots(file string) (*x509.CertPool, error) {
	if file == "" {
		return nil, nil
	}
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("read who may sign the provider's certificate: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s holds no certificate in PEM", file)
	}
	return pool, nil
}

// bounded limits what is read of an answer.
type bounded struct{ http.RoundTripper }

func (b bounded) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := b.RoundTripper.RoundTrip(r)
	if err == nil {
		resp.Body = struct {
			io.Reader
			io.Closer
		}{io.LimitReader(resp.Body, maxAnswer), resp.Body}
	}
	return resp, err
}

// Issuer is the exact issuer of its tokens.
func (p *Provider) Issuer() string { return p.o.Issuer }

// discover returns the provider's metadata.
func (p *Provider) discover(ctx context.Context) (*gooidc.Provider, metadata, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.found != nil {
		return p.found, p.meta, nil
	}
	if p.failed != nil && p.o.Now().Before(p.retryAt) {
		return nil, metadata{}, p.failed
	}
	// Not in the caller's time: somebody who goes away in the middle must not make it fail for the others.
	found, err := gooidc.NewProvider(gooidc.ClientContext(context.WithoutCancel(ctx), p.client), p.o.Issuer)
	var meta metadata
	if err == nil {
		err = found.Claims(&meta)
	}
	if err == nil {
		err = errors.Join(SafeURL(found.Endpoint().AuthURL), SafeURL(found.Endpoint().TokenURL), SafeURL(meta.Keys))
	}
	if err != nil {
		p.failed, p.retryAt = fmt.Errorf("the identity provider %s cannot be asked now: %w", p.o.Issuer, err), p.o.Now().Add(againAfter)
		return nil, metadata{}, p.failed
	}
	p.found, p.meta, p.failed = found, meta, nil
	return found, meta, nil
}

// context carries the provider's own HTTP client to the libraries.
func (p *Provider) context(ctx context.Context) context.Context {
	return context.WithValue(gooidc.ClientContext(ctx, p.client), oauth2.HTTPClient, p.client)
}

// verify checks signature, issuer, exactly one audience and times of a token.
// The audience is exact: a token that is also for somebody else may have been
// given to them.
func (p *Provider) verify(ctx context.Context, raw, audience string) (*gooidc.IDToken, error) {
	if len(raw) > maxToken {
		return nil, errors.New("the token is too long")
	}
	found, _, err := p.discover(ctx)
	if err != nil {
		return nil, err
	}
	token, err := found.Verifier(&gooidc.Config{ClientID: audience, SupportedSigningAlgs: algorithms, Now: p.o.Now}).Verify(p.context(ctx), raw)
	if err != nil {
		return nil, err
	}
	switch {
	case len(token.Audience) != 1:
		return nil, fmt.Errorf("the token is for %d audiences, not for %q alone", len(token.Audience), audience)
	case token.Subject == "":
		return nil, errors.New("the token names no subject")
	case token.IssuedAt.After(p.o.Now().Add(time.Minute)):
		return nil, errors.New("the token was issued in the future")
	}
	return token, nil
}
