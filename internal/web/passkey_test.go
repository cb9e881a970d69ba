package web_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/webauthn"
	"github.com/chromedp/chromedp"

	"jit-gateway/approval"
	"jit-gateway/approval/mfa"
	"jit-gateway/approval/policy"
	"jit-gateway/internal/audit"
	"jit-gateway/internal/identity"
	"jit-gateway/internal/web"
)

// account is what the page needs for one's own account; passkeys are for the
// site's host name.
func (s *site) account(t *testing.T) web.People {
	u, err := url.Parse(s.URL)
	check(t, err)
	s.passkeys, err = mfa.NewPasskeys(s.mfa, mfa.PasskeyOptions{Name: "jit-gateway", RPID: u.Hostname(), Origins: []string{s.URL}})
	check(t, err)
	return web.People{Passkeys: s.passkeys, Accounts: s.DB, Browsers: s.DB, Invites: s.DB,
		Client: func(_ context.Context, _ approval.Caller, u identity.User) (web.Client, error) {
			return web.Client{SSHConfig: "Host jit-gateway\n    HostName jit.example.com\n    Port 2222\n    HostKeyAlias jit-gateway\n    User " + u.Name + "\n\nHost web01 web02\n    ProxyJump jit-gateway\n",
				KnownHosts: "jit-gateway ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ1uXrVfW3yTnk4sVv9Yc6oGNYH3W0bP0Q9d8b6S8l3B\n@cert-authority web01,web02 ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ1uXrVfW3yTnk4sVv9Yc6oGNYH3W0bP0Q9d8b6S8l3B\n",
				Host:       "jit.example.com", SSHPort: 2222, PostgresPort: 6432}, nil
		}}
}

// call speaks to the browser's tools.
func call[P, R any](b *tab, cmd cdp.Command[P, R], p P) (r R) {
	b.t.Helper()
	b.do(chromedp.Func(func(ctx context.Context, t *chromedp.Target) (err error) {
		r, err = cdp.Call(ctx, t, cmd, p)
		return err
	}))
	return r
}

// authenticator gives the tab a device with a finger that is always there.
func (b *tab) authenticator() webauthn.AuthenticatorID {
	b.t.Helper()
	call(b, webauthn.Enable, webauthn.EnableParams{})
	return call(b, webauthn.AddVirtualAuthenticator, webauthn.AddVirtualAuthenticatorParams{Options: &webauthn.VirtualAuthenticatorOptions{
		Protocol: webauthn.AuthenticatorProtocolCtap2, Transport: webauthn.AuthenticatorTransportInternal, HasResidentKey: true,
		HasUserVerification: true, IsUserVerified: true, AutomaticPresenceSimulation: true}}).AuthenticatorID
}

// newPasskey registers a passkey on the page, under a code.
func (b *tab) newPasskey(user, name string) webauthn.AuthenticatorID {
	b.t.Helper()
	a := b.authenticator()
	b.open("/you")
	b.do(chromedp.Click(chromedp.CSS("#passkey summary")))
	b.fill("#passkey input[name=name]", name)
	b.fill("#passkey input[name=code]", b.site.code(user))
	if status := b.click("#passkey button.primary"); status != 200 {
		b.t.Fatalf("adding a passkey answers %d\n%s", status, b.dump())
	}
	b.sees(name)
	return a
}

// A whole life of a passkey: registered under a code, renamed, approves with
// what it signed as evidence, signs in, is removed under itself once there is
// another factor.
func TestPasskeyOnThePage(t *testing.T) {
	t.Parallel()
	s := newSite(t, policy.Rule{Name: "production", Groups: []string{"engineers"}, Targets: []string{"orders"}, MaxDuration: policy.Duration(time.Hour),
		Approve: []policy.Quorum{{Groups: []string{"approvers"}}}, Factor: policy.Factor{ApproveKinds: []string{"passkey"}}}, rules()[0])
	b, events := s.browser(t, 360).signIn("bob"), len(s.Events(audit.FactorRenamed, audit.FactorRemoved))
	r := s.ask(t, "orders", "orders_ro", "monthly figures", 30*time.Minute)

	// The rule wants a passkey: a code is refused in words, and spent for nothing.
	b.open("/requests/" + r.ID)
	b.sees("approved with a passkey")
	b.fill("form[action$=approve] input[name=code]", s.code("bob"))
	if status := b.click("form[action$=approve] button.primary"); status != 403 {
		t.Errorf("a code where the rule wants a passkey answers %d", status)
	}
	b.sees("the rule wants another second factor here")

	// To say no any factor will do.
	no := s.ask(t, "orders", "orders_rw", "no", 0)
	if got := post(t, s.httpSignIn(t, "dave"), s.URL+"/requests/"+no.ID+"/deny", url.Values{"reason": {"no"}, "code": {s.code("dave")}}, nil); got != 303 {
		t.Errorf("denying with a code answers %d", got)
	}

	b.newPasskey("bob", "phone")
	b.do(chromedp.Click(chromedp.CSS("#passkeys .more summary")))
	b.fill("#passkeys input[name=name]", "Bob's phone")
	b.click("#passkeys form[action$=rename] button")
	b.sees("Bob's phone")
	b.shown("you-passkey")

	b.open("/requests/" + r.ID)
	b.shown("request-passkey")
	b.fill("form[action$=approve] input[name=minutes]", "20")
	if status := b.click("form[action$=approve] [data-passkey]"); status != 200 {
		t.Fatalf("approving with a passkey answers %d\n%s", status, b.dump())
	}
	b.sees("approved", "by bob", "with a passkey")
	got, err := s.DB.Request(t.Context(), r.ID)
	check(t, err)
	if len(got.Votes) != 1 || got.Votes[0].Factor.Kind != mfa.Passkey || got.Votes[0].Duration != 20*time.Minute {
		t.Fatalf("the votes are %+v", got.Votes)
	}
	evidence := s.Events(audit.RequestApproved)[0].Detail["evidence"]
	if err := mfa.VerifyEvidence(evidence, r.Digest(), "localhost"); err != nil || evidence != got.Votes[0].Factor.Evidence {
		t.Errorf("the evidence in the log: %v", err)
	}
	if mfa.VerifyEvidence(evidence, s.ask(t, "web01", "deploy", "another", 0).Digest(), "localhost") == nil {
		t.Error("the evidence is good for another request")
	}

	// Out, and in again with the passkey alone, to where the way was interrupted.
	b.click(".who button")
	if status := b.open("/requests/" + r.ID); status != 401 {
		t.Fatalf("signed out, the request answers %d", status)
	}
	if status := b.click("[data-sign-in-passkey] button"); status != 200 || b.path() != "/requests/"+r.ID {
		t.Fatalf("signing in with a passkey answers %d at %s\n%s", status, b.path(), b.dump())
	}
	b.open("/you")
	b.do(chromedp.Click(chromedp.CSS("#passkeys .more summary")))
	if status := b.click("#passkeys form[action$=remove] [data-passkey]"); status != 200 {
		t.Errorf("removing a passkey answers %d\n%s", status, b.dump())
	}
	b.sees("no passkey yet")
	if n := len(s.Events(audit.FactorRenamed, audit.FactorRemoved)); n != events+2 {
		t.Errorf("%d events of renaming and removing, want 2", n-events)
	}
	b.wide(360)
	if c := b.complaints(); len(c) > 0 {
		t.Errorf("the console says %q", c)
	}
}

// script is what a thief of the page session could do: talk to the page
// himself with the user's authenticator in between.
const script = `
const b64 = b => btoa(String.fromCharCode(...new Uint8Array(b))).replaceAll("+","-").replaceAll("/","_").replaceAll("=","");
const raw = t => Uint8Array.from(atob(t.replaceAll("-","+").replaceAll("_","/")), c => c.charCodeAt(0));
const begin = async path => (await fetch("/passkey/begin", {method: "POST", body: new URLSearchParams({for: path})})).json();
const sign = async (d, change) => {
	const o = d.options.publicKey; o.challenge = raw(o.challenge); for (const c of o.allowCredentials || []) c.id = raw(c.id);
	Object.assign(o, change || {});
	const c = await navigator.credentials.get({publicKey: o}), r = c.response;
	return JSON.stringify({id: c.id, rawId: b64(c.rawId), type: c.type, clientExtensionResults: {}, response:
		{clientDataJSON: b64(r.clientDataJSON), authenticatorData: b64(r.authenticatorData), signature: b64(r.signature), userHandle: b64(r.userHandle)}});
};
const post = async (path, fields) => (await fetch(path, {method: "POST", body: new URLSearchParams(fields)})).status;
const tryAll = async f => { try { return await f() } catch (e) { return e.name } };
`

// What is not an assertion for this very request, with the user verified, by a
// passkey that counts on, approves nothing.
func TestPasskeyRefusals(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	b := s.browser(t, 1280).signIn("bob")
	device := b.newPasskey("bob", "key")
	first, second := s.ask(t, "web01", "deploy", "one", 0), s.ask(t, "web02", "deploy", "two", 0)
	run := func(body string) any {
		t.Helper()
		return eval[any](b, fmt.Sprintf(`(async () => { %s; const one = "/requests/%s/approve", two = "/requests/%s/approve", d1 = "%s", d2 = "%s"; return await tryAll(async () => { %s }) })()`,
			script, first.ID, second.ID, first.Digest(), second.Digest(), body))
	}
	refused := func(what string, body string) {
		t.Helper()
		if got := run(body); fmt.Sprint(got) != "403" {
			t.Errorf("%s answers %v", what, got)
		}
	}
	refused("an assertion of another request", `const d = await begin(two); const a = await sign(d); return post(one, {digest: d1, dialogue: d.dialogue, assertion: a})`)
	refused("an assertion without its user verified", `const d = await begin(one); const a = await sign(d, {userVerification: "discouraged"});
		const j = JSON.parse(a), auth = raw(j.response.authenticatorData); auth[32] &= ~4; j.response.authenticatorData = b64(auth);
		return post(one, {digest: d1, dialogue: d.dialogue, assertion: JSON.stringify(j)})`)
	refused("an assertion for signing in", `const d = await (await fetch("/sign-in/passkey/begin", {method: "POST"})).json(); const a = await sign(d);
		return post(one, {digest: d1, dialogue: d.dialogue, assertion: a})`)
	refused("an assertion with a challenge of the page's own", `const d = await begin(one); const a = await sign(d, {challenge: crypto.getRandomValues(new Uint8Array(64))});
		return post(one, {digest: d1, dialogue: d.dialogue, assertion: a})`)
	if got := run(`const d = await begin(one); return sign(d, {rpId: "evil.example.com"})`); got != "SecurityError" {
		t.Errorf("for another RP the browser answers %v", got)
	}
	// A device that does not know its user: it signs, and it is not enough.
	no := false
	call(b, webauthn.SetUserVerified, webauthn.SetUserVerifiedParams{AuthenticatorID: device, IsUserVerified: no})
	refused("a device without user verification", `const d = await begin(one); const a = await sign(d, {userVerification: "discouraged"}); return post(one, {digest: d1, dialogue: d.dialogue, assertion: a})`)
	call(b, webauthn.SetUserVerified, webauthn.SetUserVerifiedParams{AuthenticatorID: device, IsUserVerified: true})

	// A copy of the passkey whose counter stayed behind.
	creds := call(b, webauthn.GetCredentials, webauthn.GetCredentialsParams{AuthenticatorID: device}).Credentials
	if len(creds) != 1 || creds[0].SignCount < 2 {
		t.Fatalf("the device holds %+v", creds)
	}
	copied := *creds[0]
	got := run(`const d = await begin(two); const a = await sign(d); const first = await post(two, {digest: d2, dialogue: d.dialogue, assertion: a});
		return first + " " + await post(one, {digest: d1, dialogue: d.dialogue, assertion: a})`)
	if got != "200 403" { // the good one, and the same once more
		t.Errorf("using an assertion and using it again answers %v", got)
	}
	call(b, webauthn.RemoveCredential, webauthn.RemoveCredentialParams{AuthenticatorID: device, CredentialID: copied.CredentialID})
	call(b, cdp.Command[map[string]any, cdp.Empty]{Method: webauthn.CommandAddCredential}, map[string]any{"authenticatorId": device, "credential": map[string]any{
		"credentialId": copied.CredentialID, "isResidentCredential": true, "rpId": copied.RpID, "privateKey": copied.PrivateKey, "userHandle": copied.UserHandle, "signCount": 1}})
	refused("a copied passkey", `const d = await begin(one); const a = await sign(d); return post(one, {digest: d1, dialogue: d.dialogue, assertion: a})`)

	r, err := s.DB.Request(t.Context(), first.ID)
	check(t, err)
	if r.State != approval.Pending || len(r.Votes) != 0 {
		t.Errorf("the request is %s with votes %+v", r.State, r.Votes)
	}
	// Another site cannot use it, nor ask the page to begin.
	b.open(evil(t, "<p>evil</p>"))
	if got := eval[string](b, `fetch("`+s.URL+`/passkey/begin", {method: "POST", credentials: "include", mode: "no-cors"}).then(r => r.type + r.status, e => e.name)`); got != "opaque0" && got != "TypeError" {
		t.Errorf("another site's begin is answered %q", got)
	}
	if got := eval[string](b, `navigator.credentials.get({publicKey: {challenge: new Uint8Array(32), rpId: "localhost"}}).then(() => "signed", e => e.name)`); got != "SecurityError" {
		t.Errorf("another site got %q", got)
	}
}

// Somebody with nothing but an administrator's one-time code enrols a passkey
// on a phone, once.
func TestEnrolWithAPasskey(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	check(t, s.DB.CreateUser(t.Context(), identity.User{ID: "Uerin", Name: "erin", Kind: identity.Human, State: identity.Active, Groups: []string{"approvers"}, CreatedAt: s.Clock.Now()},
		audit.Event{Type: audit.UserAdded, Outcome: audit.Success, Actor: audit.Gateway, User: "Uerin"}))
	code, inv := identity.NewInvite("Uerin", "Udana", s.Clock.Now(), time.Hour)
	check(t, s.DB.CreateInvite(t.Context(), inv, audit.Event{Type: audit.UserInvited, Outcome: audit.Success, User: "Uerin"}))
	b := s.browser(t, 360)
	b.authenticator()
	b.open("/sign-in")
	b.click("a[href='/enroll']")
	b.fill("input[name=invite]", "WRONG-CODE")
	b.click2("main form button")
	b.sees("that one-time code is not valid")
	b.fill("input[name=invite]", code)
	b.fill("input[name=name]", "Erin's phone")
	if status := b.click("main form button"); status != 200 {
		t.Fatalf("enrolling answers %d\n%s", status, b.dump())
	}
	b.sees("Erin's phone")
	s.ask(t, "web01", "deploy", "first", 0)
	b.open("/")
	b.click("a.card")
	b.click("form[action$=approve] [data-passkey]")
	b.sees("approved", "by erin")
	other := s.browser(t, 360)
	other.authenticator()
	other.open("/enroll")
	other.fill("input[name=invite]", code)
	other.click2("main form button")
	other.sees("that one-time code is not valid")
	if fs, err := s.mfa.Factors(t.Context(), "Uerin"); err != nil || len(fs) != 1 {
		t.Errorf("erin's factors are %+v, %v", fs, err)
	}
	if _, err := json.Marshal(s.Events(audit.InviteRedeemed)); err != nil || len(s.Events(audit.InviteRedeemed)) != 1 {
		t.Error("the code was not redeemed once")
	}
}
