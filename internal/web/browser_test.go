package web_test

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// chrome is one Chromium for the whole package; every tab has cookies of its own.
var chrome context.Context

// chromium is Chromium without windows around its pages. JIT_CHROMIUM names
// another one, such as /usr/bin/chromium.
func chromium() string {
	if path := os.Getenv("JIT_CHROMIUM"); path != "" {
		return path
	}
	return "/usr/bin/chromium-headless-shell"
}

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "jit-chromium-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	opts := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(chromium()), chromedp.UserDataDir(dir),
		chromedp.IgnoreCertErrors, chromedp.DisableGPU, chromedp.Flag("disable-quic", true), chromedp.Flag("disable-background-networking", true),
		chromedp.Flag("disable-component-update", true), chromedp.Flag("hide-scrollbars", true))
	if os.Geteuid() == 0 {
		opts = append(opts, chromedp.NoSandbox)
	}
	alloc, stop := chromedp.NewExecAllocator(context.Background(), opts...)
	defer stop()
	var cancel context.CancelFunc
	chrome, cancel = chromedp.NewContext(alloc)
	defer cancel()
	if err := chromedp.Do(chrome); err != nil {
		fmt.Fprintln(os.Stderr, "chromium did not start (testdata/deps.sh test installs it):", err)
		return 1
	}
	return m.Run()
}

// tab is one browser as a person has it.
type tab struct {
	t      *testing.T
	ctx    context.Context
	site   *site
	errors chan string // what the page's console complained of
	off    bool        // the page's scripts do not run
}

const wait = 20 * time.Second

// browser opens a tab that is that wide; 360 is a phone.
func (s *site) browser(t *testing.T, width int64) *tab {
	t.Helper()
	b := &tab{t: t, site: s, errors: make(chan string, 100)}
	ctx, cancel := chromedp.NewContext(chrome, chromedp.WithNewBrowserContext(), chromedp.WithListener(func(ev any) {
		switch e := ev.(type) {
		case *runtime.EventExceptionThrown:
			b.complain(e.ExceptionDetails.Text)
		case *log.EventEntryAdded: // CSP refusals too
			if e.Entry.Source == log.EntrySourceSecurity || e.Entry.Source == log.EntrySourceViolation {
				b.complain(e.Entry.Text)
			}
		}
	}))
	t.Cleanup(cancel)
	b.ctx = ctx
	height := int64(800)
	b.do(chromedp.EmulateViewport(width, height))
	return b
}

func (b *tab) complain(s string) {
	select {
	case b.errors <- s:
	default:
	}
}

func (b *tab) do(steps ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	if err := chromedp.Do(b.ctx); err != nil { // allocates the tab, which outlives the timeout below
		b.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(b.ctx, wait)
	defer cancel()
	if err := chromedp.Do(ctx, steps...); err != nil {
		b.t.Fatalf("%v\nthe page: %s", err, b.dump())
	}
}

func (b *tab) dump() string {
	ctx, cancel := context.WithTimeout(b.ctx, 2*time.Second)
	defer cancel()
	s, err := chromedp.Run(ctx, chromedp.Evaluate[string](`location.href + "\n" + document.body?.innerText`))
	if err != nil {
		return err.Error()
	}
	return s
}

// open goes to a path of the page, or to an address, and returns the status.
func (b *tab) open(path string) int {
	b.t.Helper()
	if strings.HasPrefix(path, "/") {
		path = b.site.URL + path
	}
	return b.load(chromedp.Navigate(path))
}

// click clicks, and returns the status of the page that follows.
func (b *tab) click(css string) int {
	b.t.Helper()
	return b.load(chromedp.Click(chromedp.CSS(css)))
}

func (b *tab) load(step chromedp.Action[chromedp.Void]) int {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, wait)
	defer cancel()
	r, err := chromedp.RunResponse(ctx, step)
	if err != nil {
		b.t.Fatalf("%v\nthe page: %s", err, b.dump())
	}
	return int(r.Status)
}

// fill types into a field. chromedp's SendKeys is not for it: it reads the
// node's attributes before it takes the node's lock (query.go, SendKeys), while
// the tab's event goroutine may write them, as after Clear: a data race.
func (b *tab) fill(css, text string) {
	b.t.Helper()
	b.do(chromedp.WaitVisible(chromedp.CSS(css)))
	if !eval[bool](b, fmt.Sprintf(`(e => { e.focus(); e.value = ""; return document.activeElement === e })(document.querySelector(%q))`, css)) {
		b.t.Fatalf("%s does not take the focus\nthe page: %s", css, b.dump())
	}
	b.do(chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
		_, err := cdp.Call(ctx, t, input.InsertText, input.InsertTextParams{Text: text})
		return err
	}))
}

func eval[T any](b *tab, js string) T {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, wait)
	defer cancel()
	v, err := chromedp.Run(ctx, chromedp.Evaluate[T](js, chromedp.EvalAwaitPromise))
	if err != nil {
		b.t.Fatalf("%s: %v\nthe page: %s", js, err, b.dump())
	}
	return v
}

// text is what the page shows.
func (b *tab) text() string { return eval[string](b, shownText) }

// shownText is nothing between two pages.
const shownText = `document.body?.innerText ?? ""`

// sees waits until the page shows each of the texts.
func (b *tab) sees(want ...string) {
	b.t.Helper()
	for deadline := time.Now().Add(wait); ; time.Sleep(30 * time.Millisecond) {
		ctx, cancel := context.WithTimeout(b.ctx, wait)
		got, err := chromedp.Run(ctx, chromedp.Evaluate[string](shownText))
		cancel()
		missing := ""
		if err != nil { // a page that went away under the question; the next one is asked
			got = ""
		}
		for _, w := range want {
			if !strings.Contains(strings.ToLower(got), strings.ToLower(w)) {
				missing = w
			}
		}
		if missing == "" {
			return
		}
		if time.Now().After(deadline) {
			b.t.Fatalf("the page does not say %q:\n%s", missing, b.dump())
		}
	}
}

func (b *tab) seesNot(unwanted ...string) {
	b.t.Helper()
	got := strings.ToLower(b.text())
	for _, u := range unwanted {
		if strings.Contains(got, strings.ToLower(u)) {
			b.t.Fatalf("the page says %q:\n%s", u, got)
		}
	}
}

func (b *tab) path() string { return eval[string](b, `location.pathname`) }

// noScript turns the page's own scripts off.
func (b *tab) noScript() *tab {
	b.t.Helper()
	b.off = true
	b.scripts(false)
	return b
}

func (b *tab) scripts(on bool) {
	b.t.Helper()
	b.do(chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
		_, err := cdp.Call(ctx, t, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: !on})
		return err
	}))
}

// signIn goes the way of a person: link, then code.
func (b *tab) signIn(user string) *tab {
	b.t.Helper()
	b.open(b.site.link(b.t, user))
	b.fill("input[name=code]", b.site.code(user))
	if status := b.click("form[action='/sign-in'] button"); status != 200 {
		b.t.Fatalf("sign-in: status %d\n%s", status, b.dump())
	}
	return b
}

// click2 clicks where no page follows.
func (b *tab) click2(css string) {
	b.t.Helper()
	b.do(chromedp.Click(chromedp.CSS(css)))
}

// complaints are the errors that the page's scripts ran into.
func (b *tab) complaints() (out []string) {
	for {
		select {
		case s := <-b.errors:
			out = append(out, s)
		default:
			return out
		}
	}
}

// removeMax lets a form be sent that the browser would refuse.
func removeMax(b *tab) chromedp.Action[chromedp.Void] {
	return chromedp.Func(func(context.Context, *chromedp.Target) error {
		eval[bool](b, `document.querySelector("input[name=minutes]").removeAttribute("max"), true`)
		return nil
	})
}

// chooseSpeed sets the player's speed.
func chooseSpeed(b *tab, speed string) chromedp.Action[chromedp.Void] {
	return chromedp.Func(func(context.Context, *chromedp.Target) error {
		eval[bool](b, `(s => (s.value = "`+speed+`", s.dispatchEvent(new Event("change")), true))(document.querySelector("#player-tools select"))`)
		return nil
	})
}
