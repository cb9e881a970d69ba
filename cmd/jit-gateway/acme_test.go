package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"jit-gateway/internal/config"
	"jit-gateway/internal/testenv"
)

// pebble is a real ACME server, Let's Encrypt's own for tests, that finds the
// names of .test at 127.0.0.1 and looks for answers at the TLS port.
func pebble(t *testing.T, tlsPort int) (directory, caFile, issuer string) {
	t.Helper()
	dir := t.TempDir()
	key, cert, ca, err := testenv.ServerCertificate("127.0.0.1")
	check(t, err)
	for name, b := range map[string][]byte{"key.pem": key, "cert.pem": cert, "ca.pem": ca} {
		check(t, os.WriteFile(filepath.Join(dir, name), b, 0o600))
	}
	ports := [3]int{}
	for i := range ports {
		ports[i], err = testenv.FreePort()
		check(t, err)
	}
	conf, err := json.Marshal(map[string]any{"pebble": map[string]any{
		"listenAddress": fmt.Sprintf("127.0.0.1:%d", ports[0]), "managementListenAddress": fmt.Sprintf("127.0.0.1:%d", ports[1]),
		"certificate": filepath.Join(dir, "cert.pem"), "privateKey": filepath.Join(dir, "key.pem"), "httpPort": ports[2], "tlsPort": tlsPort}})
	check(t, err)
	check(t, os.WriteFile(filepath.Join(dir, "pebble.json"), conf, 0o600))
	p, err := testenv.Command{Name: "pebble", Dir: dir, Log: filepath.Join(dir, "log"), Env: []string{"PEBBLE_VA_NOSLEEP=1", "PEBBLE_WFE_NONCEREJECT=0"},
		Args: []string{"pebble", "-config", filepath.Join(dir, "pebble.json"), "-dnsserver", nameServer(t)}}.Start()
	check(t, err)
	t.Cleanup(func() {
		p.Stop(syscall.SIGKILL)
		if t.Failed() {
			b, _ := os.ReadFile(filepath.Join(dir, "log"))
			t.Logf("pebble said:\n%s", b)
		}
	})
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca)
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}}
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		resp, err := client.Get(fmt.Sprintf("https://127.0.0.1:%d/roots/0", ports[1]))
		if err == nil {
			b, _ := io.ReadAll(resp.Body)
			resp.Body.Close()
			return fmt.Sprintf("https://127.0.0.1:%d/dir", ports[0]), filepath.Join(dir, "ca.pem"), string(b)
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
}

// nameServer answers every question for an address with 127.0.0.1.
func nameServer(t *testing.T) string {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	check(t, err)
	t.Cleanup(func() { conn.Close() })
	go func() {
		buf := make([]byte, 1500)
		for {
			n, from, err := conn.ReadFrom(buf)
			if err != nil {
				return
			}
			var m dnsmessage.Message
			if m.Unpack(buf[:n]) != nil || len(m.Questions) != 1 {
				continue
			}
			m.Response, m.RecursionAvailable, m.Additionals = true, true, nil
			if q := m.Questions[0]; q.Type == dnsmessage.TypeA {
				m.Answers = []dnsmessage.Resource{{Header: dnsmessage.ResourceHeader{Name: q.Name, Type: q.Type, Class: q.Class, TTL: 1},
					Body: &dnsmessage.AResource{A: [4]byte{127, 0, 0, 1}}}}
			}
			if out, err := m.Pack(); err == nil {
				conn.WriteTo(out, from)
			}
		}
	}()
	return conn.LocalAddr().String()
}

// The page's certificate comes from a real ACME server, which looks for its
// answer at the page itself; it survives a restart; no other name gets one.
func TestACME(t *testing.T) {
	t.Parallel()
	const name = "jit-gateway.test"
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	check(t, err)
	defer ln.Close()
	directory, caFile, root := pebble(t, ln.Addr().(*net.TCPAddr).Port)
	c := &config.Config{Name: name, DataDir: t.TempDir(), TLS: config.TLS{ACME: &config.ACME{Directory: directory, AcceptTerms: true, CAFile: caFile}}}
	serve := func(ctx context.Context) (*acmeCert, *strings.Builder) {
		log := &strings.Builder{}
		cert, err := newACMECert(c, slog.New(slog.NewTextHandler(log, nil)))
		check(t, err)
		conf := cert.config()
		conf.NextProtos = append([]string{"h2", "http/1.1"}, conf.NextProtos...)
		go func() {
			for {
				raw, err := ln.Accept()
				if err != nil {
					return
				}
				if ctx.Err() != nil {
					raw.Close()
					return
				}
				go func() {
					defer raw.Close()
					tls.Server(raw, conf).HandshakeContext(ctx)
				}()
			}
		}()
		return cert, log
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM([]byte(root))
	dial := func(sni string) (*x509.Certificate, error) {
		d := &tls.Config{ServerName: sni, RootCAs: roots, NextProtos: []string{"h2"}}
		if sni == "" { // by address: no name is sent, and the first one's certificate comes
			d.InsecureSkipVerify = true
		}
		conn, err := (&tls.Dialer{Config: d, NetDialer: &net.Dialer{Timeout: 30 * time.Second}}).DialContext(t.Context(), "tcp", ln.Addr().String())
		if err != nil {
			return nil, err
		}
		defer conn.Close()
		return conn.(*tls.Conn).ConnectionState().PeerCertificates[0], nil
	}
	ctx, stop := context.WithCancel(t.Context())
	cert, _ := serve(ctx)
	first, err := dial(name)
	check(t, err)
	if !strings.Contains(first.Issuer.CommonName, "Pebble") || first.PublicKeyAlgorithm != x509.ECDSA {
		t.Errorf("the certificate is %s's, %s", first.Issuer, first.PublicKeyAlgorithm)
	}
	if byAddress, err := dial(""); err != nil || byAddress.SerialNumber.Cmp(first.SerialNumber) != 0 {
		t.Errorf("by address: %v", err)
	}
	if _, err := dial("evil.test"); err == nil {
		t.Error("another name got a certificate")
	}
	if _, err := cert.get(&tls.ClientHelloInfo{}); err != nil {
		t.Errorf("for the health page: %v", err)
	}
	files, err := os.ReadDir(filepath.Join(c.DataDir, "acme"))
	check(t, err)
	for _, f := range files {
		if st, err := f.Info(); err != nil || st.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v", f.Name(), st.Mode())
		}
	}
	stop()
	dial(name) // lets the old server notice
	serve(t.Context())
	again, err := dial(name)
	check(t, err)
	if again.SerialNumber.Cmp(first.SerialNumber) != 0 {
		t.Error("after a restart a new certificate was asked for")
	}
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
