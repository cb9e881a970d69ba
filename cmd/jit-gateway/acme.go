package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/crypto/acme"
	"golang.org/x/crypto/acme/autocert"

	"jit-gateway/ca"
	"jit-gateway/internal/config"
)

// certificates is the TLS configuration of the page and of the PostgreSQL
// port: files, the gateway's own CA, or certificates from an ACME server
// (RFC 8555), asked for when the gateway starts and renewed by themselves.
func (g *gateway) certificates(a *ca.Authority) (*tls.Config, error) {
	if g.conf.TLS.ACME == nil {
		return pageTLS(g.conf, a)
	}
	cert, err := newACMECert(g.conf, g.log)
	if err != nil {
		return nil, err
	}
	g.job("acme", cert.run)
	return cert.config(), nil
}

// acmeCert gets and renews a certificate for each name. The server looks for
// its answer by TLS-ALPN-01 (RFC 8737) on port 443 of the name, which must
// lead to listen.web.
type acmeCert struct {
	names []string
	m     *autocert.Manager
	log   *slog.Logger
}

func newACMECert(c *config.Config, log *slog.Logger) (*acmeCert, error) {
	o := c.TLS.ACME
	names := c.TLS.Names
	if len(names) == 0 {
		u, err := url.Parse(publicURL(c))
		if err != nil {
			return nil, fmt.Errorf("the page's address: %w", err)
		}
		names = []string{u.Hostname()}
	}
	client := &acme.Client{DirectoryURL: o.Directory, UserAgent: "jit-gateway"}
	if o.CAFile != "" {
		pem, err := os.ReadFile(o.CAFile)
		if err != nil {
			return nil, fmt.Errorf("read tls.acme.ca_file: %w", err)
		}
		roots := x509.NewCertPool()
		if !roots.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("tls.acme.ca_file %s holds no certificate", o.CAFile)
		}
		client.HTTPClient = &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}}}
	}
	return &acmeCert{names: names, log: log, m: &autocert.Manager{Prompt: autocert.AcceptTOS, Cache: autocert.DirCache(filepath.Join(c.DataDir, "acme")),
		HostPolicy: autocert.HostWhitelist(names...), Client: client, Email: o.Email}}, nil
}

func (a *acmeCert) config() *tls.Config {
	return &tls.Config{GetCertificate: a.get, NextProtos: []string{acme.ALPNProto}, MinVersion: tls.VersionTLS12}
}

// get implements tls.Config.GetCertificate. A client that names no host, such
// as one that came by address, gets the first name's certificate.
func (a *acmeCert) get(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	if hello.ServerName == "" && !slices.Contains(hello.SupportedProtos, acme.ALPNProto) {
		named := *hello
		named.ServerName = a.names[0]
		// What a bare ClientHello lacks would mean an RSA certificate.
		if len(named.CipherSuites) == 0 {
			named.CipherSuites = []uint16{tls.TLS_AES_128_GCM_SHA256, tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256}
			named.SignatureSchemes = []tls.SignatureScheme{tls.ECDSAWithP256AndSHA256}
			named.SupportedCurves = []tls.CurveID{tls.CurveP256}
		}
		hello = &named
	}
	return a.m.GetCertificate(hello)
}

// run asks for every certificate once, so that the first visitor need not
// wait, and says what is wrong while there is none. Visitors renew them.
func (a *acmeCert) run(ctx context.Context) error {
	wait := 2 * time.Second // the listener opens after the jobs begin
	for _, name := range a.names {
		for {
			select {
			case <-ctx.Done():
				return nil
			case <-time.After(wait):
			}
			cert, err := a.get(&tls.ClientHelloInfo{ServerName: name, CipherSuites: []uint16{tls.TLS_AES_128_GCM_SHA256, tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256},
				SignatureSchemes: []tls.SignatureScheme{tls.ECDSAWithP256AndSHA256}, SupportedCurves: []tls.CurveID{tls.CurveP256}})
			if err == nil {
				a.log.Info("the page has a certificate", "name", name, "until", cert.Leaf.NotAfter)
				break
			}
			if errors.Is(err, context.Canceled) {
				return nil
			}
			wait = min(2*wait, time.Hour)
			a.log.Error("the page has no certificate yet; the ACME server must reach port 443 of the name", "name", name, "error", err, "next", wait)
		}
	}
	<-ctx.Done()
	return nil
}
