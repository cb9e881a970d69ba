package web_test

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"

	"jit-gateway/internal/audit"
	"jit-gateway/internal/identity"
	"jit-gateway/recording"
)

// view is one page to look at, and who looks.
type view struct{ name, user, path string }

// everyday is a gateway on a working day, and the pages that it has.
func everyday(t *testing.T) (*site, []view) {
	s := newSite(t)
	shell, sql := s.shell(t), s.sql(t)
	_, err := s.approvals.Deny(t.Context(), caller("bob"), s.ask(t, "web02", "admin", "quick look", 0).ID, "Ask for deploy, admin is not needed", s.proof(t, "bob"))
	check(t, err)
	live := s.begin(t, "web02", "deploy", "Roll out 2026.11.3, CHG-1187", "ssh")
	w := live.Recorder()
	check(t, w.Resize(1, 80, 24))
	check(t, w.Event(recording.Event{Channel: 1, Payload: recording.Shell{}}))
	check(t, w.Output(1, 1, []byte("\x1b[32mdeploy@web02\x1b[0m:~$ ./rollout 2026.11.3\r\n  1/4 pulled\r\n  2/4 migrated\r\n")))
	check(t, w.Flush())
	s.approve(t, s.ask(t, "orders", "orders_ro", "Count of refunds for finance", 30*time.Minute))
	waiting := s.ask(t, "web01", "admin", "nginx answers 502 on checkout, INC-4211", time.Hour)
	s.ask(t, "orders", "orders_rw", "Correct order 118, customer was charged twice", 20*time.Minute)
	check(t, s.DB.AddKey(t.Context(), identity.Key{Fingerprint: "SHA256:k3xY0zq8w9cVbQm2nL5tRfGhJk7pDsAaZx1C4vB6N8M", UserID: "Ubob", Authorized: "ssh-ed25519 AAAA", Comment: "bob@laptop", CreatedAt: s.Clock.Now().Add(-9 * 24 * time.Hour)},
		audit.Event{Type: audit.KeyAdded, Outcome: audit.Success, User: "Ubob"}))
	return s, append([]view{
		{"enroll", "", "/enroll"}, {"you", "bob", "/you"}, {"authenticator", "bob", "/you/authenticator"}, {"client", "alice", "/you/client"},
		{"ask-label", "alice", "/ask?label=role%3Dweb&login=deploy"}, {"choose-login", "alice", "/ask?target=orders"}, {"extend", "alice", "/grants/" + live.Row().GrantID + "/extend"},
		{"grant-approver", "bob", "/grants/" + live.Row().GrantID}, {"requests-mine", "alice", "/requests?mine"},
		{"sign-in", "", "/"}, {"inbox", "bob", "/"}, {"inbox-mine", "alice", "/"}, {"request", "bob", "/requests/" + waiting.ID},
		{"requests", "bob", "/requests"}, {"sessions", "carol", "/sessions"}, {"replay", "carol", "/sessions/" + shell.ID},
		{"sql", "carol", "/sessions/" + sql.ID}, {"live", "bob", "/sessions/" + live.ID()}, {"not-found", "bob", "/requests/RNONE"},
	}, s.more(t, shell, live.Row())...)
}

// Every page, on a phone and a desk, light and dark: nothing to scroll
// sideways, no violation that axe-core finds, no complaint in the console. With
// JIT_SCREENSHOTS set to a directory each is looked at in all four ways, and
// the pictures are left there.
func TestEveryPage(t *testing.T) {
	t.Parallel()
	s, views := everyday(t)
	axe, err := os.ReadFile("testdata/axe.min.js")
	check(t, err)
	dir := os.Getenv("JIT_SCREENSHOTS")
	users := map[string][]view{}
	for _, v := range views {
		users[v.user] = append(users[v.user], v)
	}
	for user, views := range users {
		b := s.browser(t, 1280)
		if user != "" {
			b.signIn(user)
		}
		for i, v := range views {
			b.open(v.path)
			if eval[bool](b, `!!document.querySelector("#player:not([data-live])")`) {
				b.until(`document.querySelector(".ap-player")`)
			}
			looks := []look{{360, "light"}, {360, "dark"}, {1280, "light"}, {1280, "dark"}}
			if dir == "" { // one of the four, in turn: make screenshots takes all
				looks = looks[(i+len(user))%4:][:1]
			}
			for _, l := range looks {
				b.look(l)
				b.wide(l.width)
				if found := b.axe(string(axe)); found != "" {
					t.Errorf("%s at %d, %s:\n%s", v.name, l.width, l.scheme, found)
				}
				if dir != "" {
					b.picture(filepath.Join(dir, v.name+"-"+map[int]string{360: "phone", 1280: "desk"}[l.width]+"-"+l.scheme+".png"))
				}
			}
			if c := b.complaints(); len(c) > 0 {
				t.Errorf("%s: the console says %q", v.name, c)
			}
		}
	}
}

type look struct {
	width  int
	scheme string
}

func (b *tab) look(l look) {
	b.t.Helper()
	b.do(chromedp.EmulateViewport(int64(l.width), 800), chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
		_, err := cdp.Call(ctx, t, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
			Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: l.scheme}, {Name: "prefers-reduced-motion", Value: "reduce"}}})
		return err
	}))
}

// until waits until an expression is true.
func (b *tab) until(js string) {
	b.t.Helper()
	for deadline := time.Now().Add(wait); !eval[bool](b, "!!("+js+")"); time.Sleep(30 * time.Millisecond) {
		if time.Now().After(deadline) {
			b.t.Fatalf("%s never came true\n%s", js, b.dump())
		}
	}
}

// axe says what axe-core finds wrong, or "".
func (b *tab) axe(source string) string {
	b.t.Helper()
	if !eval[bool](b, `!!window.axe`) {
		eval[bool](b, source+";true")
	}
	found := eval[string](b, `axe.run(document, {resultTypes: ["violations"]}).then(r => JSON.stringify(r.violations.map(v =>
		({id: v.id, help: v.help, nodes: v.nodes.map(n => n.html.slice(0, 160) + " " + n.any.map(a => a.message).join("; "))}))))`)
	var list []struct {
		ID, Help string
		Nodes    []string
	}
	check(b.t, json.Unmarshal([]byte(found), &list))
	var out strings.Builder
	for _, v := range list {
		out.WriteString(v.ID + ": " + v.Help + "\n  " + strings.Join(v.Nodes, "\n  ") + "\n")
	}
	return out.String()
}

func (b *tab) picture(path string) {
	b.t.Helper()
	png, err := chromedp.Run(b.ctx, chromedp.FullScreenshot(100))
	check(b.t, err)
	check(b.t, os.WriteFile(path, png, 0o644))
}

// The first view is small, and needs nothing but the page, one stylesheet and
// one module.
func TestFirstViewIsSmall(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.ask(t, "web01", "deploy", "small", 0)
	b := s.browser(t, 360).signIn("bob")
	b.open("/")
	type entry struct {
		Name string  `json:"name"`
		Size float64 `json:"size"`
	}
	var total float64
	list := eval[[]entry](b, `performance.getEntries().filter(e => "encodedBodySize" in e && !e.name.includes("/events")).map(e => ({name: e.name, size: e.encodedBodySize}))`)
	for _, e := range list {
		total += e.Size
		t.Logf("%6.0f bytes %s", e.Size, e.Name)
	}
	if total > 40_000 || total == 0 || len(list) > 4 {
		t.Errorf("the first view has %.0f bytes in %d answers", total, len(list))
	}
}
