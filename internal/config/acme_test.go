package config

import (
	"strings"
	"testing"
)

func TestACME(t *testing.T) {
	const ok = "name: gw.example.com\ntls:\n  acme: {accept_terms: true}\n"
	c, err := Parse("/etc/jit/x.yaml", []byte(ok))
	if err != nil || c.TLS.ACME.Directory != "https://acme-v02.api.letsencrypt.org/directory" {
		t.Fatalf("%v", err)
	}
	for text, want := range map[string]string{
		"name: gw.example.com\ntls:\n  acme: {}\n":                                                    "x.yaml:3: tls.acme.accept_terms",
		"name: gw.example.com\ntls:\n  cert: a\n  key: b\n  acme: {accept_terms: true}\n":             "not from both",
		"name: gw.example.com\ntls:\n  acme: {accept_terms: true, directory: \"http://acme.test\"}\n": "tls.acme.directory",
		"name: gateway\ntls:\n  acme: {accept_terms: true}\n":                                         "full host names only",
		"name: gw.example.com\ntls:\n  names: [192.0.2.1]\n  acme: {accept_terms: true}\n":            "full host names only",
		"name: gateway\npublic: {url: \"https://10.0.0.1\"}\ntls:\n  acme: {accept_terms: true}\n":    "full host names only",
		"name: gw.example.com\ntls:\n  acme: {accept_terms: true, dns: cloudflare}\n":                 "tls.acme.dns",
	} {
		if _, err := Parse("/etc/jit/x.yaml", []byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
}
