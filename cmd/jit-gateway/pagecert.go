package main

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/url"
	"sync"

	"jit-gateway/ca"
	"jit-gateway/internal/config"
)

// pageTLS is the certificate of the page and of the PostgreSQL port: files,
// or one from the gateway's own CA, made anew when two thirds of its life are
// over, so that a gateway can run for years.
func pageTLS(c *config.Config, a *ca.Authority) (*tls.Config, error) {
	if c.TLS.Cert != "" {
		pair, err := tls.LoadX509KeyPair(c.TLS.Cert, c.TLS.Key)
		if err != nil {
			return nil, fmt.Errorf("load the page's certificate: %w", err)
		}
		return &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}, nil
	}
	p := &pageCert{authority: a, names: c.TLS.Names}
	if len(p.names) == 0 {
		p.names = []string{c.Name, "localhost", "127.0.0.1", "::1"}
		if u, err := url.Parse(c.Public.URL); err == nil && u.Hostname() != "" && u.Hostname() != c.Name {
			p.names = append(p.names, u.Hostname())
		}
	}
	if _, err := p.get(nil); err != nil {
		return nil, err
	}
	return &tls.Config{GetCertificate: p.get, MinVersion: tls.VersionTLS12}, nil
}

type pageCert struct {
	authority *ca.Authority
	names     []string

	mu     sync.Mutex
	cert   *tls.Certificate
	issuer *x509.Certificate // that signed cert: another one signs after a rotation
}

// get implements tls.Config.GetCertificate.
func (p *pageCert) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cert != nil && p.authority.PageIssuer().Equal(p.issuer) {
		life := p.cert.Leaf.NotAfter.Sub(p.cert.Leaf.NotBefore)
		if now().Before(p.cert.Leaf.NotBefore.Add(life * 2 / 3)) {
			return p.cert, nil
		}
	}
	p.issuer = p.authority.PageIssuer()
	c, err := p.authority.PageTLS(p.names)
	if err != nil {
		return nil, err
	}
	p.cert = &c
	return p.cert, nil
}
