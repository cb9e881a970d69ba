package sink

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"jit-gateway/internal/audit"
)

// TestSyslogToRsyslog sends to Debian's rsyslog over TLS, and reads what it
// wrote.
func TestSyslogToRsyslog(t *testing.T) {
	dir := t.TempDir()
	roots := certificate(t, dir)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := ln.Addr().String()
	_, port, _ := net.SplitHostPort(addr)
	ln.Close()
	out := filepath.Join(dir, "out.log")
	conf := fmt.Sprintf(`global(workDirectory=%[1]q maxMessageSize="64k" DefaultNetstreamDriver="ossl"
  DefaultNetstreamDriverCAFile="%[1]s/cert.pem" DefaultNetstreamDriverCertFile="%[1]s/cert.pem" DefaultNetstreamDriverKeyFile="%[1]s/key.pem")
module(load="imtcp" StreamDriver.Name="ossl" StreamDriver.Mode="1" StreamDriver.AuthMode="anon")
template(name="all" type="string" string="%%pri%% %%protocol-version%% %%app-name%% %%msgid%% %%structured-data%% %%msg%%\n")
input(type="imtcp" port=%[2]q address="127.0.0.1")
action(type="omfile" file=%[3]q template="all")
`, dir, port, out)
	if err := os.WriteFile(filepath.Join(dir, "rsyslog.conf"), []byte(conf), 0o600); err != nil {
		t.Fatal(err)
	}
	daemon := exec.Command("/usr/sbin/rsyslogd", "-n", "-f", filepath.Join(dir, "rsyslog.conf"), "-i", filepath.Join(dir, "pid"))
	var log strings.Builder
	daemon.Stdout, daemon.Stderr = &log, &log
	if err := daemon.Start(); err != nil {
		t.Fatalf("start rsyslogd (Debian package rsyslog): %v", err)
	}
	defer func() { daemon.Process.Kill(); daemon.Wait() }()

	lines := func() (all []string) {
		f, err := os.Open(out)
		if err != nil {
			return nil
		}
		defer f.Close()
		for s := bufio.NewScanner(f); s.Scan(); {
			all = append(all, s.Text())
		}
		return all
	}
	sink := NewSyslog("syslog", addr, &tls.Config{RootCAs: roots, ServerName: "localhost"})
	runUntil(t, newMemory(20), func() bool { return len(lines()) >= 21 }, sink)
	got := lines()
	if len(got) == 0 {
		t.Fatalf("rsyslog wrote nothing: %s", log.String())
	}
	want := `110 1 jit-gateway request.filed [jit@32473 seq="0" id="E0"] `
	if !strings.HasPrefix(got[0], want) {
		t.Errorf("got  %s\nwant %s…", got[0], want)
	}
	var e audit.Event
	if err := json.Unmarshal([]byte(strings.TrimPrefix(got[0], want)), &e); err != nil || e.Request != "R1" {
		t.Errorf("the message is not the event: %v, %q", err, got[0])
	}
}

// TestSyslogRefusesAStranger: a receiver that is not the configured one gets
// nothing.
func TestSyslogRefusesAStranger(t *testing.T) {
	dir := t.TempDir()
	certificate(t, dir)
	pair, err := tls.LoadX509KeyPair(filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem"))
	if err != nil {
		t.Fatal(err)
	}
	ln, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{pair}})
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	got := make(chan int, 1)
	go func() {
		c, err := ln.Accept()
		if err != nil {
			return
		}
		n, _ := io.Copy(io.Discard, c)
		got <- int(n)
	}()
	s := NewSyslog("syslog", ln.Addr().String(), &tls.Config{ServerName: "localhost"})
	if err := s.Send(t.Context(), []Message{{JSON: []byte("{}")}}); err == nil {
		t.Error("an unverified receiver was accepted")
	}
	if n := <-got; n != 0 {
		t.Errorf("it got %d bytes", n)
	}
}

// TestSyslogReceiverThatStops: what a receiver had not read when it stopped is
// sent to the next one, though every write had succeeded.
func TestSyslogReceiverThatStops(t *testing.T) {
	dir := t.TempDir()
	roots := certificate(t, dir)
	pair, err := tls.LoadX509KeyPair(filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem"))
	if err != nil {
		t.Fatal(err)
	}
	ln, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{pair}})
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	read := make(chan string, 100) // the id of each message that was read
	accept := func(n int) (closed chan struct{}) {
		closed = make(chan struct{})
		go func() {
			defer close(closed)
			c, err := ln.Accept()
			if err != nil {
				return
			}
			defer c.Close()
			for b := bufio.NewReaderSize(c, 16); n > 0; n-- {
				var size int
				if _, err := fmt.Fscanf(b, "%d ", &size); err != nil {
					return
				}
				frame := make([]byte, size)
				if _, err := io.ReadFull(b, frame); err != nil {
					return
				}
				_, id, _ := strings.Cut(string(frame), `id="`)
				id, _, _ = strings.Cut(id, `"`)
				read <- id
			}
		}()
		return closed
	}
	now := time.Now()
	s := NewSyslog("syslog", ln.Addr().String(), &tls.Config{RootCAs: roots, ServerName: "localhost"})
	s.now = func() time.Time { return now }
	defer s.Close()
	send := func(ids ...string) {
		t.Helper()
		var batch []Message
		for _, id := range ids {
			batch = append(batch, Message{ID: id, JSON: []byte("{}")})
		}
		if err := s.Send(t.Context(), batch); err != nil {
			t.Fatal(err)
		}
	}
	closed := accept(2)
	send("E0")
	now = now.Add(2 * unsureTime) // E0 has been read for long
	send("E1", "E2", "E3")
	<-closed
	for s.conn != nil && !s.gone() { // the end of the connection is on its way
	}
	next := accept(4)
	send("E4")
	<-next
	close(read)
	var got []string
	for id := range read {
		got = append(got, id)
	}
	if want := []string{"E0", "E1", "E1", "E2", "E3", "E4"}; !slices.Equal(got, want) {
		t.Errorf("the receivers read %q, want %q", got, want)
	}
}

// certificate writes a self-signed one for localhost.
func certificate(t *testing.T, dir string) *x509.CertPool {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "localhost"}, DNSNames: []string{"localhost"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}
	der, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	k, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	certPEM := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	for name, b := range map[string][]byte{"cert.pem": certPEM, "key.pem": pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: k})} {
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(certPEM)
	return pool
}
