package testenv

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// Glewlwyd is a real OpenID Connect provider, Debian's glewlwyd, with its own
// database and TLS certificate on a loopback port. It is set up as an
// administrator does it: through its API.
type Glewlwyd struct {
	Issuer       string
	CAFile       string
	ClientID     string
	ClientSecret string

	proc  *Process
	base  string // of its API
	pool  *x509.CertPool
	admin *http.Client
}

// glewlwydRoot is where testdata/deps.sh unpacked the Debian package.
func glewlwydRoot() (string, error) {
	dir, err := os.Getwd()
	for ; err == nil && dir != "/"; dir = filepath.Dir(dir) {
		root := filepath.Join(dir, ".tools", "glewlwyd")
		if _, err := os.Stat(filepath.Join(root, "done")); err == nil {
			return root, nil
		}
	}
	return "", errors.Join(errors.New("glewlwyd is missing; testdata/deps.sh test gets it"), err)
}

// StartGlewlwyd starts it in dir, with one client whose answers go to redirect.
func StartGlewlwyd(ctx context.Context, dir, redirect string) (_ *Glewlwyd, err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	path := func(name string) string { return filepath.Join(dir, name) }
	root, err := glewlwydRoot()
	if err != nil {
		return nil, err
	}
	port, err := FreePort()
	if err != nil {
		return nil, err
	}
	key, cert, ca, err := serverCertificate("localhost", "127.0.0.1")
	if err != nil {
		return nil, err
	}
	origin := fmt.Sprintf("https://localhost:%d", port)
	conf := fmt.Sprintf(`port=%d
bind_address="127.0.0.1"
external_url="%s"
login_url="login.html"
api_prefix="api"
log_mode="console"
log_level="INFO"
cookie_secure=1
session_key="GLEWLWYD2_SESSION_ID"
admin_scope="g_admin"
profile_scope="g_profile"
user_module_path="%[3]s/user"
client_module_path="%[3]s/client"
user_auth_scheme_module_path="%[3]s/scheme"
plugin_module_path="%[3]s/plugin"
use_secure_connection=true
secure_connection_key_file="%[4]s"
secure_connection_pem_file="%[5]s"
secure_connection_ca_file="%[6]s"
hash_algorithm="SHA512"
database = { type = "sqlite3"; path = "%[7]s"; };
`, port, origin, root+"/usr/lib/glewlwyd", path("key.pem"), path("cert.pem"), path("ca.pem"), path("db"))
	for name, content := range map[string]string{"conf": conf, "key.pem": string(key), "cert.pem": string(cert), "ca.pem": string(ca)} {
		if err := os.WriteFile(path(name), []byte(content), 0o600); err != nil {
			return nil, err
		}
	}
	schema, err := os.Open(root + "/usr/share/dbconfig-common/data/glewlwyd/install/sqlite3")
	if err != nil {
		return nil, err
	}
	defer schema.Close()
	fill := exec.CommandContext(ctx, "sqlite3", path("db"))
	fill.Stdin = schema
	if out, err := fill.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("make glewlwyd's database: %w\n%s", err, out)
	}
	g := &Glewlwyd{Issuer: origin + "/api/oidc", CAFile: path("ca.pem"), ClientID: "jit", ClientSecret: "jit-client-secret", base: origin + "/api", pool: x509.NewCertPool()}
	g.pool.AppendCertsFromPEM(ca)
	if g.proc, err = (Command{Name: "glewlwyd", Args: []string{root + "/usr/bin/glewlwyd", "--config-file=" + path("conf")}, Dir: dir, Log: path("log")}).Start(); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			log, _ := os.ReadFile(path("log"))
			err = fmt.Errorf("%w\n%s", err, log[max(0, len(log)-2000):])
			g.Stop()
		}
	}()
	if g.admin, err = g.browser(); err != nil {
		return nil, err
	}
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		if err = g.call(ctx, g.admin, "POST", "/auth/", map[string]string{"username": "admin", "password": "password"}, nil); err == nil {
			break
		}
		if time.Now().After(deadline) || ctx.Err() != nil {
			return nil, err
		}
	}
	return g, g.setUp(ctx, string(key), string(cert), redirect)
}

// setUp makes the provider, the client, and the attribute groups of users.
func (g *Glewlwyd) setUp(ctx context.Context, key, cert, redirect string) error {
	claim := func(name, property string) map[string]any {
		return map[string]any{"name": name, "user-property": property, "type": "string", "mandatory": true, "on-demand": false, "scope": []string{}}
	}
	err := g.call(ctx, g.admin, "POST", "/mod/plugin/", map[string]any{"module": "oidc", "name": "oidc", "display_name": "OIDC", "enabled": true, "parameters": map[string]any{
		"iss": g.Issuer, "jwt-type": "ecdsa", "jwt-key-size": "256", "key": key, "cert": cert, "jwks-show": true, "subject-type": "public",
		"access-token-duration": 3600, "refresh-token-duration": 3600, "code-duration": 60, "refresh-token-rolling": true, "allow-non-oidc": false,
		"auth-type-code-enabled": true, "auth-type-token-enabled": false, "auth-type-id-token-enabled": true, "auth-type-none-enabled": false, "auth-type-password-enabled": false,
		"auth-type-client-enabled": false, "auth-type-device-enabled": false, "auth-type-refresh-enabled": false, "scope": []string{}, "additional-parameters": []string{},
		"pkce-allowed": true, "pkce-required": true, "pkce-method-plain-allowed": false, "oauth-as-iss-id": true,
		"claims": []any{claim("groups", "groups"), claim("preferred_username", "username")}, "name-claim": "mandatory", "email-claim": "mandatory",
	}}, nil)
	if err != nil {
		return err
	}
	var users map[string]any
	if err := g.call(ctx, g.admin, "GET", "/mod/user/database", nil, &users); err != nil {
		return err
	}
	users["parameters"].(map[string]any)["data-format"].(map[string]any)["groups"] = map[string]bool{"multiple": true, "read": true, "write": true, "profile-read": true}
	if err := g.call(ctx, g.admin, "PUT", "/mod/user/database", users, nil); err != nil {
		return err
	}
	if err := g.call(ctx, g.admin, "PUT", "/mod/user/database/reset/", nil, nil); err != nil {
		return err
	}
	return g.call(ctx, g.admin, "POST", "/client/", map[string]any{"client_id": g.ClientID, "name": "jit-gateway", "confidential": true, "password": g.ClientSecret,
		"redirect_uri": []string{redirect}, "authorization_type": []string{"code"}, "token_endpoint_auth_method": []string{"client_secret_basic"}, "scope": []string{}, "enabled": true}, nil)
}

// PutUser makes or changes a user; the password is NAME-password.
func (g *Glewlwyd) PutUser(ctx context.Context, name string, groups ...string) error {
	u := map[string]any{"username": name, "name": strings.ToUpper(name[:1]) + name[1:] + " Example", "email": name + "@example.org", "password": name + "-password",
		"scope": []string{"openid"}, "enabled": true, "groups": append([]string{}, groups...)}
	if g.call(ctx, g.admin, "GET", "/user/"+name, nil, nil) == nil {
		return g.call(ctx, g.admin, "PUT", "/user/"+name, u, nil)
	}
	return g.call(ctx, g.admin, "POST", "/user/", u, nil)
}

// SignIn does what its login page does for somebody who was sent to address,
// and returns where it sends the browser afterwards.
func (g *Glewlwyd) SignIn(ctx context.Context, address, name, password string) (back *url.URL, err error) {
	browser, err := g.browser()
	if err != nil {
		return nil, err
	}
	login, err := g.follow(ctx, browser, address) // to the login page, which knows where to go on
	if err != nil {
		return nil, err
	}
	if !strings.HasSuffix(login.Path, "/login.html") {
		return login, nil // it refused the client, and says so at the redirect address
	}
	if err := g.call(ctx, browser, "POST", "/auth/", map[string]string{"username": name, "password": password}, nil); err != nil {
		return nil, err
	}
	q := login.Query()
	if err := g.call(ctx, browser, "PUT", "/auth/grant/"+q.Get("client_id"), map[string]string{"scope": q.Get("scope")}, nil); err != nil {
		return nil, err
	}
	return g.follow(ctx, browser, q.Get("callback_url")+"&g_continue")
}

func (g *Glewlwyd) follow(ctx context.Context, browser *http.Client, address string) (*url.URL, error) {
	r, err := http.NewRequestWithContext(ctx, "GET", address, nil)
	if err != nil {
		return nil, err
	}
	resp, err := browser.Do(r)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusFound {
		body, _ := io.ReadAll(io.LimitReader(resp.Body, 2000))
		return nil, fmt.Errorf("glewlwyd: GET %s: %s %s", address, resp.Status, body)
	}
	return resp.Location()
}

// browser has cookies of its own, trusts the certificate and follows nothing by itself.
func (g *Glewlwyd) browser() (*http.Client, error) {
	jar, err := cookiejar.New(nil)
	if err != nil {
		return nil, err
	}
	return &http.Client{Jar: jar, Timeout: 10 * time.Second, Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: g.pool}, DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}, nil
}

func (g *Glewlwyd) call(ctx context.Context, client *http.Client, method, path string, in, out any) error {
	body, err := json.Marshal(in)
	if err != nil {
		return err
	}
	r, err := http.NewRequestWithContext(ctx, method, g.base+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	r.Header.Set("Content-Type", "application/json")
	resp, err := client.Do(r)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil || resp.StatusCode != http.StatusOK {
		return fmt.Errorf("glewlwyd: %s %s: %s %s %v", method, path, resp.Status, raw, err)
	}
	if out == nil {
		return nil
	}
	return json.Unmarshal(raw, out)
}

// Stop ends it.
func (g *Glewlwyd) Stop() error { return g.proc.Stop(syscall.SIGTERM) }
