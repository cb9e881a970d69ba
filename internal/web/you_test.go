package web_test

import (
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/pquerna/otp/totp"

	"jit-gateway/internal/audit"
)

// Keys are registered on the page without JavaScript: by a signature of
// ssh-keygen, under a fresh code.
func TestRegisterAKey(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	b := s.browser(t, 360).noScript().signIn("bob")
	file := filepath.Join(t.TempDir(), "id")
	if out, err := exec.Command("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "bob@laptop", "-f", file).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	pub, err := os.ReadFile(file + ".pub")
	check(t, err)
	private, err := os.ReadFile(file)
	check(t, err)
	b.click(".who a")
	b.do(chromedp.Click(chromedp.CSS("#keys > details summary")))
	b.fill("#keys textarea", string(private))
	b.click("#keys form button")
	b.sees("that is a private key: keep it to yourself")
	b.fill("#keys textarea", string(pub))
	b.click("#keys form button")
	text := regexp.MustCompile(`printf %s '([^']+)'`).FindStringSubmatch(b.text())
	b.shown("key")
	if text == nil {
		t.Fatalf("the page does not say what to sign:\n%s", b.dump())
	}
	sign := func(text string) string {
		cmd := exec.Command("ssh-keygen", "-Y", "sign", "-n", "jit-gateway", "-f", file)
		cmd.Stdin = strings.NewReader(text)
		out, err := cmd.Output()
		check(t, err)
		return string(out)
	}
	try := func(signature, code string) int {
		b.fill("textarea[name=signature]", signature)
		b.fill("input[name=code]", code)
		return b.click("main form button.primary")
	}
	if status := try(sign("something else"), s.code("bob")); status != 403 {
		t.Errorf("a signature of another text answers %d", status)
	}
	b.sees("the signature is not of this text")
	if status := try(sign(text[1]), "000000"); status != 403 {
		t.Errorf("a wrong code answers %d", status)
	}
	if keys, _ := s.DB.Keys(t.Context(), "Ubob"); len(keys) != 0 {
		t.Fatalf("bob has keys already: %+v", keys)
	}
	if status := try(sign(text[1]), s.code("bob")); status != 200 {
		t.Fatalf("registering answers %d\n%s", status, b.dump())
	}
	b.sees("bob@laptop", "SHA256:")
	b.wide(360)
	// Once more, and for somebody else: it is taken.
	dave := s.httpSignIn(t, "dave")
	if got := post(t, dave, s.URL+"/you/keys", url.Values{"key": {string(pub)}, "until": {time.Now().Add(time.Minute).UTC().Format(time.RFC3339)}, "signature": {sign(text[1])}, "code": {s.code("dave")}}, nil); got != 403 {
		t.Errorf("bob's signature registers the key for dave: %d", got)
	}
	b.do(chromedp.Click(chromedp.CSS("#keys .more summary")))
	b.fill("#keys .more input[name=code]", s.code("bob"))
	b.click("#keys .more button")
	b.sees("no SSH key yet")
	if n := len(s.Events(audit.KeyRemoved)); n != 1 {
		t.Errorf("%d keys removed, want 1", n)
	}
}

// The authenticator app is replaced and recovery codes are made anew, on a
// phone without JavaScript; the old ones stop working.
func TestReplaceFactors(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	b := s.browser(t, 360).noScript().signIn("bob")
	b.open("/you")
	b.do(chromedp.Click(chromedp.CSS("#recovery summary")))
	b.fill("#recovery input[name=code]", s.code("bob"))
	b.click("#recovery button")
	codes := strings.Fields(eval[string](b, `document.getElementById("codes").textContent`))
	b.shown("recovery")
	if len(codes) != 8 {
		t.Fatalf("the codes are %q", codes)
	}
	b.open("/you/authenticator")
	if n := eval[int](b, `document.querySelector("img").naturalWidth`); n < 100 {
		t.Errorf("the QR code is %d px wide", n)
	}
	secret := strings.ReplaceAll(eval[string](b, `document.getElementById("secret").textContent`), " ", "")
	fresh := func() string {
		c, err := totp.GenerateCode(secret, s.Clock.Now())
		check(t, err)
		return c
	}
	b.fill("input[name=first]", "000000")
	b.fill("input[name=code]", s.code("bob"))
	if status := b.click("main form button"); status != 403 {
		t.Errorf("a wrong code of the new app answers %d", status)
	}
	b.sees("that code is wrong")
	b.fill("input[name=first]", fresh())
	b.fill("input[name=code]", codes[0]) // a recovery code is a factor that one has
	if status := b.click("main form button"); status != 200 {
		t.Fatalf("replacing answers %d\n%s", status, b.dump())
	}
	b.sees("the new app is in use")
	old := s.code("bob")
	if _, err := s.mfa.VerifyCode(t.Context(), "Ubob", old, audit.Gateway); err == nil {
		t.Error("the old app is still good")
	}
	if _, err := s.mfa.VerifyCode(t.Context(), "Ubob", codes[1], audit.Gateway); err == nil {
		t.Error("an old recovery code is still good")
	}
}

// Where one is signed in can be seen, and ended from elsewhere.
func TestSignedInElsewhere(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	here := s.browser(t, 1280).signIn("bob")
	phone, laptop := s.httpSignIn(t, "bob"), s.httpSignIn(t, "bob")
	here.open("/you")
	here.sees("this browser", "another browser", "sign out everywhere else")
	here.click("#browsers li form button")
	here.open("/you")
	if n := eval[int](here, `document.querySelectorAll("#browsers li").length`); n != 2 {
		t.Errorf("%d browsers are signed in, want 2", n)
	}
	here.click("#browsers > form button")
	for what, c := range map[string]int{"phone": post(t, phone, s.URL+"/you/keys/check", nil, nil), "laptop": post(t, laptop, s.URL+"/you/keys/check", nil, nil)} {
		if c != 401 {
			t.Errorf("the %s is still signed in: %d", what, c)
		}
	}
	if status := here.open("/you"); status != 200 {
		t.Errorf("this browser was signed out too: %d", status)
	}
	if n := len(s.Events(audit.PageSignedOut)); n != 2 {
		t.Errorf("%d sign-outs in the log, want 2", n)
	}
	here.open("/you/client")
	here.sees("~/.ssh/config", "ProxyJump jit-gateway", "@cert-authority")
}

// shown looks at a page that no address shows, as TestEveryPage does.
func (b *tab) shown(name string) {
	b.t.Helper()
	axe, err := os.ReadFile("testdata/axe.min.js")
	check(b.t, err)
	if b.off { // axe-core needs timers
		b.scripts(true)
		defer b.scripts(false)
	}
	width := eval[int](b, `innerWidth`)
	looks := []look{{width, "light"}}
	dir := os.Getenv("JIT_SCREENSHOTS")
	if dir != "" {
		looks = []look{{360, "light"}, {360, "dark"}, {1280, "light"}, {1280, "dark"}, {width, "light"}}
	}
	for i, l := range looks {
		b.look(l)
		b.wide(l.width)
		if found := b.axe(string(axe)); found != "" {
			b.t.Errorf("%s at %d, %s:\n%s", name, l.width, l.scheme, found)
		}
		if dir != "" && i < 4 {
			b.picture(filepath.Join(dir, name+"-"+map[int]string{360: "phone", 1280: "desk"}[l.width]+"-"+l.scheme+".png"))
		}
	}
}
