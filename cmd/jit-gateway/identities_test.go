package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"jit-gateway/internal/testenv"
	"jit-gateway/internal/testenv/stack"
)

// TestIdentities is the story of docs/identities.md with real programs.
func TestIdentities(t *testing.T) {
	o := newOffice(t)
	t.Run("SCIM ends live sessions", func(t *testing.T) { (&office{t, o.Stack, o.glewlwyd, o.ci, o.page}).provisioned() })
	t.Run("OIDC with glewlwyd", func(t *testing.T) { (&office{t, o.Stack, o.glewlwyd, o.ci, o.browser()}).signsIn() })
	t.Run("a CI job", func(t *testing.T) { (&office{t, o.Stack, o.glewlwyd, o.ci, o.page}).deploys() })
}

// provisioned: deactivation and the loss of a group end a real ssh and a real psql.
func (o *office) provisioned() {
	ctx := o.Context()
	user := func(name string) string {
		return o.scim(http.StatusCreated, "POST", "/Users", fmt.Sprintf(`{"schemas":["urn:ietf:params:scim:schemas:core:2.0:User"],"userName":"%[1]s@example.org","externalId":"x-%[1]s","active":true}`, name))
	}
	sam, tess := user("sam"), user("tess")
	group := o.scim(http.StatusCreated, "POST", "/Groups", fmt.Sprintf(`{"displayName":"Engineering","members":[{"value":%q},{"value":%q}]}`, sam, tess))
	var requests []string
	for _, who := range []string{"sam", "tess"} {
		if err := o.Enroll(ctx, stack.User{Name: who}); err != nil {
			o.Fatal(err)
		}
		targets := []string{"deploy@web01", "orders_ro@orders"}
		for _, target := range targets {
			r, err := o.Ask(ctx, who, target, "30m", "a provisioned account")
			if err != nil {
				o.Fatal(err)
			}
			requests = append(requests, r)
		}
	}
	if err := o.Approve(ctx, "bob", requests...); err != nil {
		o.Fatal(err)
	}
	begin := func(who string, requests []string) []*running {
		for _, r := range requests {
			if _, err := o.Activate(ctx, who, r); err != nil {
				o.Fatal(err)
			}
		}
		token, err := o.Stack.Run(ctx, who, "", "jit-gateway", "token", "orders")
		if err != nil {
			o.Fatal(err)
		}
		psql := exec.CommandContext(ctx, "psql", fmt.Sprintf("host=jit-gateway hostaddr=127.0.0.1 port=%d dbname=orders user=%s sslmode=verify-full sslrootcert=%s", o.PostgresPort, who, filepath.Join(o.Dir, "ca.pem")),
			"-X", "-c", "SELECT 'psql is ' || 'live'", "-c", "SELECT pg_sleep(600)")
		psql.Env = append(os.Environ(), "PGPASSWORD="+strings.TrimSpace(token))
		return []*running{
			o.start("ssh", o.SSH(ctx, who, "web01", "echo ssh is live; exec sleep 600"), "ssh is live"),
			o.start("psql", psql, "psql is live"),
		}
	}
	if len(requests) != 4 {
		o.Fatal(requests)
	}
	first, second := begin("sam", requests[:2]), begin("tess", requests[2:])
	time.Sleep(200 * time.Millisecond) // psql is inside pg_sleep

	since := time.Now()
	o.scim(http.StatusOK, "PATCH", "/Users/"+sam, `{"schemas":["urn:ietf:params:scim:api:messages:2.0:PatchOp"],"Operations":[{"op":"Replace","path":"active","value":"False"}]}`)
	answered := time.Since(since)
	o.Logf("SCIM deactivation: answered in %.1f ms; ssh ended after %.1f ms, psql after %.1f ms", ms(answered), ms(o.ends(first[0], since, "disabled")), ms(o.ends(first[1], since, "disabled")))

	since = time.Now()
	o.scim(http.StatusOK, "PATCH", "/Groups/"+group, fmt.Sprintf(`{"Operations":[{"op":"Remove","path":"members[value eq \"%s\"]"}]}`, tess))
	answered = time.Since(since)
	o.Logf("SCIM loss of a group: answered in %.1f ms; ssh ended after %.1f ms, psql after %.1f ms", ms(answered), ms(o.ends(second[0], since, "no longer about tess")), ms(o.ends(second[1], since, "no longer about tess")))

	if out, err := o.Stack.Run(ctx, "sam", "", "jit-gateway", "whoami"); err == nil {
		o.Errorf("sam is still let in: %s", out)
	}
	if out, err := o.Stack.Run(ctx, "tess", "", "jit-gateway", "grants", "--json"); err != nil || strings.TrimSpace(out) != "[]" {
		o.Errorf("tess holds %s, %v", out, err)
	}
	if log := o.local("audit", "verify"); !strings.Contains(log, "intact") && !strings.Contains(log, "verif") {
		o.Errorf("the log: %s", log)
	}
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

var linkField = regexp.MustCompile(`name="t" value="([^"]+)"`)

// signsIn: the account is made at the first sign-in, enrols under a one-time
// code, signs in with provider and code, and loses a group at the next sign-in.
func (o *office) signsIn() {
	ctx := o.Context()
	if err := o.glewlwyd.PutUser(ctx, "erin", "eng", "admins", "approvers"); err != nil {
		o.Fatal(err)
	}
	// A deep link from a mail: to the sign-in page, and from there to the provider.
	_, page := o.do(http.StatusUnauthorized, "GET", o.url("/requests?all=1"), nil, nil)
	m := regexp.MustCompile(`href="(/oidc/start[^"]*)"`).FindStringSubmatch(page)
	if m == nil || !strings.Contains(page, "Sign in with Example") {
		o.Fatalf("no way to the provider:\n%s", page)
	}
	start := o.url(strings.ReplaceAll(m[1], "&amp;", "&"))
	provider := func() *url.URL {
		o.Helper()
		resp, _ := o.do(http.StatusSeeOther, "GET", start, nil, nil)
		back, err := o.glewlwyd.SignIn(ctx, resp.Header.Get("Location"), "erin", "erin-password")
		if err != nil {
			o.Fatal(err)
		}
		return back
	}
	fromElsewhere := map[string]string{"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
	back := provider()
	_, page = o.do(http.StatusOK, "GET", back.String(), nil, fromElsewhere)
	if !strings.Contains(page, "Welcome, erin") || !strings.Contains(page, "user invite erin") {
		o.Errorf("the first sign-in shows:\n%s", page)
	}
	_, page = o.do(http.StatusForbidden, "GET", back.String(), nil, fromElsewhere)
	if !strings.Contains(page, "begin again") {
		o.Errorf("the same answer again shows:\n%s", page)
	}
	groups := func(name string) string {
		var users []struct {
			Name, Issuer, Subject string
			Groups                []string
		}
		if err := json.Unmarshal([]byte(o.local("user", "list", "--json")), &users); err != nil {
			o.Fatal(err)
		}
		for _, u := range users {
			if u.Name == name && u.Issuer == o.glewlwyd.Issuer && u.Subject != "" && u.Subject != name {
				return strings.Join(u.Groups, " ")
			}
		}
		return "nobody"
	}
	if got := groups("erin"); got != "on-call" { // and neither admins nor approvers, which the provider says too
		o.Errorf("erin is in %q", got)
	}
	// Signed in elsewhere, and nothing more: no page session.
	o.do(http.StatusUnauthorized, "GET", o.url("/"), nil, nil)

	if err := o.Enroll(ctx, stack.User{Name: "erin"}); err != nil {
		o.Fatal(err)
	}
	resp, _ := o.do(http.StatusSeeOther, "GET", provider().String(), nil, fromElsewhere)
	_, page = o.do(http.StatusOK, "GET", o.url(resp.Header.Get("Location")), nil, fromElsewhere)
	m = linkField.FindStringSubmatch(page)
	if m == nil {
		o.Fatalf("no code is asked for:\n%s", page)
	}
	o.do(http.StatusUnauthorized, "GET", o.url("/"), nil, nil) // not yet
	code, err := o.Code("erin")
	if err != nil {
		o.Fatal(err)
	}
	next := regexp.MustCompile(`name="next" value="([^"]+)"`).FindStringSubmatch(page)[1]
	resp, _ = o.do(http.StatusSeeOther, "POST", o.url("/sign-in"), url.Values{"t": {m[1]}, "code": {code}, "next": {strings.ReplaceAll(next, "&amp;", "&")}}, map[string]string{"Sec-Fetch-Site": "same-origin"})
	if at := resp.Header.Get("Location"); at != "/requests?all=1" {
		o.Errorf("after the sign-in the way leads to %q", at)
	}
	if _, page = o.do(http.StatusOK, "GET", o.url("/requests?all=1"), nil, nil); !strings.Contains(page, "erin") {
		o.Errorf("erin is not signed in:\n%s", page)
	}

	if err := o.glewlwyd.PutUser(ctx, "erin"); err != nil {
		o.Fatal(err)
	}
	o.do(http.StatusSeeOther, "GET", provider().String(), nil, fromElsewhere)
	if got := groups("erin"); got != "" {
		o.Errorf("erin is in %q", got)
	}
	// Somebody at the provider who is called like a user of ours gets nothing.
	if err := o.glewlwyd.PutUser(ctx, "bob", "eng"); err != nil {
		o.Fatal(err)
	}
	resp, _ = o.do(http.StatusSeeOther, "GET", start, nil, nil)
	back, err = o.glewlwyd.SignIn(ctx, resp.Header.Get("Location"), "bob", "bob-password")
	if err != nil {
		o.Fatal(err)
	}
	if _, page = o.do(http.StatusForbidden, "GET", back.String(), nil, fromElsewhere); !strings.Contains(page, "There is an account bob already") {
		o.Errorf("bob of the provider sees:\n%s", page)
	}
	// The provider itself wants our code challenge.
	q := must(url.Parse(resp.Header.Get("Location")))(o).Query()
	q.Del("code_challenge")
	q.Del("code_challenge_method")
	at := must(url.Parse(resp.Header.Get("Location")))(o)
	at.RawQuery = q.Encode()
	if back, err = o.glewlwyd.SignIn(ctx, at.String(), "erin", "erin-password"); err != nil {
		o.Fatal(err)
	}
	if back.Query().Get("code") != "" || back.Query().Get("error") == "" {
		o.Errorf("without PKCE the provider answers %s", back)
	}
}

func must[T any](v T, err error) func(*office) T {
	return func(o *office) T {
		o.Helper()
		if err != nil {
			o.Fatal(err)
		}
		return v
	}
}

// deploys: a CI job with its key and its token, without anybody to ask.
func (o *office) deploys() {
	ctx := o.Context()
	if _, err := testenv.WriteKey(o.Key("ci-deploy"), "ci"); err != nil {
		o.Fatal(err)
	}
	pub, err := os.ReadFile(o.Key("ci-deploy") + ".pub")
	if err != nil {
		o.Fatal(err)
	}
	o.local("user", "add", "ci-deploy", "--machine", "--owner", "bob", "--group", "ci", "--source", "127.0.0.1", "--key", strings.TrimSpace(string(pub)))
	o.local("user", "factor", "ci-deploy", "--issuer", o.ci.URL, "--claim", "repository_id=4711", "--claim", "environment=prod")
	if err := o.WriteSSHConfig("ci-deploy"); err != nil {
		o.Fatal(err)
	}
	claims := o.ci.Standard("https://jit-gateway")
	claims["jti"], claims["repository_id"], claims["environment"], claims["sub"] = "run-1", "4711", "prod", "repo:acme/shop"
	token := o.ci.Sign(claims)
	script := func(token string) (string, error) {
		cmd := exec.CommandContext(ctx, "sh", "-euc", `
id=$(ssh -F "$CONFIG" -o BatchMode=yes jit-gateway request deploy@web01 --for 10m --no-wait --reason "'release 1.2.3'")
printf %s "$TOKEN" | ssh -F "$CONFIG" -o BatchMode=yes jit-gateway activate "$id" --token-stdin
ssh -F "$CONFIG" -o BatchMode=yes web01 'echo deployed as $(id -un)'
ssh -F "$CONFIG" -o BatchMode=yes jit-gateway release "$id"`)
		cmd.Env = append(os.Environ(), "CONFIG="+o.SSHConfig("ci-deploy"), "TOKEN="+token)
		var out, errs bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &errs
		if err := cmd.Run(); err != nil {
			return out.String(), errors.Join(err, errors.New(errs.String()))
		}
		return out.String() + errs.String(), nil
	}
	out, err := script(token)
	if err != nil || !strings.Contains(out, "deployed as deploy") || !strings.Contains(out, "is open until") || !strings.Contains(out, "released") {
		o.Fatalf("%s, %v", out, err)
	}
	if out, err := script(token); err == nil || !strings.Contains(err.Error(), "used already") {
		o.Errorf("the same token again: %s, %v", out, err)
	}
	claims["jti"], claims["environment"] = "run-2", "staging"
	if out, err := script(o.ci.Sign(claims)); err == nil || !strings.Contains(err.Error(), "not accepted") {
		o.Errorf("a job of another environment: %s, %v", out, err)
	}
	// From elsewhere than its address, not even whoami.
	o.local("user", "set", "ci-deploy", "--source", "192.0.2.7")
	if out, err := o.Stack.Run(ctx, "ci-deploy", "", "-o", "BatchMode=yes", "jit-gateway", "requests"); err == nil || !strings.Contains(err.Error(), "may not come from 127.0.0.1") {
		o.Errorf("from another address: %s, %v", out, err)
	}
}
