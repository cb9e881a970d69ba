package main

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"jit-gateway/internal/testenv"
	"jit-gateway/internal/testenv/idp"
	"jit-gateway/internal/testenv/stack"
)

const scimToken = "0f1e2d3c4b5a69788796a5b4c3d2e1f00f1e2d3c4b5a6978"

// office is a whole gateway with real hosts, a real database, a real identity
// provider (Debian's glewlwyd) and a CI system.
type office struct {
	*testing.T
	*stack.Stack
	glewlwyd *testenv.Glewlwyd
	ci       *idp.IdP
	page     *http.Client
}

func newOffice(t *testing.T) *office {
	t.Helper()
	program, err := exec.LookPath("jit-gateway")
	if err != nil {
		t.Fatal(err)
	}
	o := &office{T: t, ci: idp.Start(t, time.Now)}
	dir := t.TempDir()
	o.Stack, err = stack.Up(t.Context(), stack.Options{Dir: dir, Gateway: program, Env: []string{"SCIM_TOKEN=" + scimToken, "OIDC_SECRET=jit-client-secret"},
		Users: []stack.User{{Name: "bob", Group: "approvers"}},
		Rules: stack.DefaultRules + "  - name: deploy\n    machines: true\n    groups: [ci]\n    labels: {role: web}\n    logins: [deploy]\n    max_duration: 15m\n    auto: true\n",
		Extra: func(s *stack.Stack) (string, error) {
			if o.glewlwyd, err = testenv.StartGlewlwyd(t.Context(), filepath.Join(dir, "glewlwyd"), fmt.Sprintf("https://localhost:%d/oidc/callback", s.WebPort)); err != nil {
				return "", err
			}
			return fmt.Sprintf(`
oidc: {name: Example, issuer: %q, client_id: %s, client_secret: "env:OIDC_SECRET", ca_file: %q, groups: {eng: on-call}}
scim: {tokens: ["env:SCIM_TOKEN"], groups: {Engineering: engineers}}
machines: {issuers: [{issuer: %q, audience: "https://jit-gateway", ca_file: %q}]}
`, o.glewlwyd.Issuer, o.glewlwyd.ClientID, o.glewlwyd.CAFile, o.ci.URL, o.ci.CAFile), nil
		}})
	if o.glewlwyd != nil {
		t.Cleanup(func() {
			if err := o.glewlwyd.Stop(); err != nil {
				t.Error(err)
			}
		})
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			log, _ := os.ReadFile(o.LogFile())
			t.Logf("the gateway's log ends:\n%s", log[max(0, len(log)-4000):])
		}
		if err := o.Down(); err != nil {
			t.Error(err)
		}
	})
	o.page = o.browser()
	return o
}

// browser trusts the page's CA, keeps cookies and follows nothing by itself.
func (o *office) browser() *http.Client {
	o.Helper()
	pem, err := os.ReadFile(filepath.Join(o.Dir, "ca.pem"))
	if err != nil {
		o.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(pem)
	jar, err := cookiejar.New(nil)
	if err != nil {
		o.Fatal(err)
	}
	return &http.Client{Jar: jar, Timeout: 20 * time.Second, Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

func (o *office) url(path string) string {
	return fmt.Sprintf("https://localhost:%d%s", o.WebPort, path)
}

// do sends a request to the page and wants the status.
func (o *office) do(want int, method, address string, form url.Values, header map[string]string) (*http.Response, string) {
	o.Helper()
	var body io.Reader
	if form != nil {
		body = strings.NewReader(form.Encode())
	}
	r, err := http.NewRequestWithContext(o.Context(), method, address, body)
	if err != nil {
		o.Fatal(err)
	}
	if form != nil {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	for k, v := range header {
		r.Header.Set(k, v)
	}
	resp, err := o.page.Do(r)
	if err != nil {
		o.Fatal(err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != want {
		o.Fatalf("%s %s: %s, want %d; %v\n%s", method, address, resp.Status, want, err, raw)
	}
	return resp, string(raw)
}

// scim sends a request as the provisioning client, and returns the answer's id.
func (o *office) scim(want int, method, path, body string) string {
	o.Helper()
	r, err := http.NewRequestWithContext(o.Context(), method, o.url("/scim/v2"+path), strings.NewReader(body))
	if err != nil {
		o.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+scimToken)
	r.Header.Set("Content-Type", "application/scim+json")
	resp, err := o.page.Do(r)
	if err != nil {
		o.Fatal(err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != want {
		o.Fatalf("%s %s: %s, want %d; %v\n%s", method, path, resp.Status, want, err, raw)
	}
	var out struct {
		ID string `json:"id"`
	}
	if len(raw) > 0 {
		if err := json.Unmarshal(raw, &out); err != nil {
			o.Fatal(err)
		}
	}
	return out.ID
}

func (o *office) local(args ...string) string {
	o.Helper()
	out, err := o.Local(o.Context(), args...)
	if err != nil {
		o.Fatal(err)
	}
	return out
}

// running is a real client with a live session.
type running struct {
	name  string
	ended chan struct{}
	at    time.Time // when its process ended

	mu  sync.Mutex
	out bytes.Buffer
}

func (r *running) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.out.Write(p)
}

func (r *running) text() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.out.String()
}

// start runs a client until its session is live: until it has printed the text.
func (o *office) start(name string, cmd *exec.Cmd, live string) *running {
	o.Helper()
	r := &running{name: name, ended: make(chan struct{})}
	in, err := cmd.StdinPipe() // stays open
	if err != nil {
		o.Fatal(err)
	}
	cmd.Stdout, cmd.Stderr = r, r
	if err := cmd.Start(); err != nil {
		o.Fatal(err)
	}
	go func() {
		defer close(r.ended)
		err := cmd.Wait()
		r.at = time.Now()
		in.Close()
		fmt.Fprintf(r, "\n[%s: %v]", name, err)
	}()
	for deadline := time.Now().Add(20 * time.Second); !strings.Contains(r.text(), live); time.Sleep(10 * time.Millisecond) {
		select {
		case <-r.ended:
			o.Fatalf("%s ended: %s", name, r.text())
		default:
		}
		if time.Now().After(deadline) {
			o.Fatalf("%s is not live: %s", name, r.text())
		}
	}
	return r
}

// wants waits for the end of the client, which says the text and fails.
func (o *office) ends(r *running, since time.Time, text string) time.Duration {
	o.Helper()
	select {
	case <-r.ended:
	case <-time.After(20 * time.Second):
		o.Fatalf("%s lives on: %s", r.name, r.text())
	}
	if !strings.Contains(r.text(), text) || strings.Contains(r.text(), ": <nil>]") {
		o.Errorf("%s ended with: %s", r.name, r.text())
	}
	return r.at.Sub(since)
}
