package web_test

import (
	"context"
	"crypto/tls"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"

	"jit-gateway/approval"
)

// evil is another site, on another host name (the page is on localhost), that shows body.
func evil(t *testing.T, body string) string {
	t.Helper()
	srv := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		io.WriteString(w, body)
	}))
	t.Cleanup(srv.Close)
	return srv.URL
}

// Another site can neither post to the page nor frame it.
func TestCrossSite(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	r := s.ask(t, "web01", "deploy", "csrf", 0)
	b := s.browser(t, 1280).signIn("alice")
	b.open(evil(t, `<form method=post action="`+s.URL+`/requests/`+r.ID+`/withdraw"><button>Win</button></form>`))
	if status := b.click("button"); status != 403 {
		t.Errorf("a post from another site answers %d", status)
	}
	b.sees("came from another site")
	b.open(evil(t, `<form method=post action="`+s.URL+`/sign-out"><button>Out</button></form>`))
	b.click("button")
	if status := b.open("/"); status != 200 {
		t.Errorf("another site signed alice out: %d", status)
	}
	got, err := s.DB.Request(t.Context(), r.ID)
	check(t, err)
	if got.State != approval.Pending {
		t.Errorf("the request is %s", got.State)
	}

	b.open(evil(t, `<iframe id=f src="`+s.URL+`/"></iframe><p>frame</p>`))
	time.Sleep(300 * time.Millisecond)
	if n := eval[int](b, `[...document.querySelectorAll("iframe")].filter(f => { try { return f.contentDocument && f.contentDocument.body.innerText } catch { return false } }).length`); n != 0 {
		t.Error("the page can be framed and read")
	}
	for _, f := range frames(b) {
		if strings.HasPrefix(f, s.URL) {
			t.Errorf("the page is shown in a frame: %s", f)
		}
	}
}

// A click on another site's link to a request arrives, cookie and all.
func TestDeepLinkFromElsewhere(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	r := s.ask(t, "web01", "deploy", "from a mail", 0)
	b := s.browser(t, 360).signIn("bob")
	b.open(evil(t, `<a href="`+s.URL+`/requests/`+r.ID+`">request</a>`))
	b.click("a")
	b.sees("from a mail", "approve")
}

// Headers that a browser acts on, on pages, errors and files alike.
func TestHeaders(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	client := insecure()
	for _, path := range []string{"/", "/sign-in?t=x", "/nothing", "/static/style.css", "/static/app.js"} {
		resp, err := client.Get(s.URL + path)
		check(t, err)
		resp.Body.Close()
		h := resp.Header
		if c := h.Get("Content-Security-Policy"); !strings.Contains(c, "default-src 'none'") || !strings.Contains(c, "frame-ancestors 'none'") ||
			strings.Contains(c, "unsafe-inline") || strings.Contains(c, "unsafe-eval") {
			t.Errorf("%s: CSP %q", path, c)
		}
		for k, want := range map[string]string{"X-Content-Type-Options": "nosniff", "X-Frame-Options": "DENY", "Referrer-Policy": "no-referrer"} {
			if h.Get(k) != want {
				t.Errorf("%s: %s is %q", path, k, h.Get(k))
			}
		}
		if !strings.HasPrefix(path, "/static/") && h.Get("Cache-Control") != "no-store" {
			t.Errorf("%s may be cached: %q", path, h.Get("Cache-Control"))
		}
	}
}

// Nothing but the sign-in and the static files answers the signed-out, and no
// page lists the embedded files.
func TestSignedOut(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	client := insecure()
	for _, path := range []string{"/", "/events", "/requests", "/requests/R1", "/sessions", "/sessions/S1", "/sessions/S1/play"} {
		resp, err := client.Get(s.URL + path)
		check(t, err)
		resp.Body.Close()
		if resp.StatusCode != 401 {
			t.Errorf("%s answers %d", path, resp.StatusCode)
		}
	}
	for _, path := range []string{"/static/", "/static/vendor/", "/static/%2e%2e/templates/layout.html"} {
		resp, err := client.Get(s.URL + path)
		check(t, err)
		body, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if resp.StatusCode == 200 {
			t.Errorf("%s is served: %.80s", path, body)
		}
	}
}

// frames lists the addresses of the tab's frames.
func frames(b *tab) (out []string) {
	b.t.Helper()
	tree, err := chromedp.Run(b.ctx, func(ctx context.Context, t *chromedp.Target) (*page.FrameTree, error) {
		r, err := cdp.Call(ctx, t, page.GetFrameTree, cdp.Empty{})
		if err != nil {
			return nil, err
		}
		return r.FrameTree, nil
	})
	if err != nil {
		b.t.Fatal(err)
	}
	for _, f := range tree.ChildFrames {
		out = append(out, f.Frame.URL)
	}
	return out
}

// insecure is a client without cookies that takes the test's certificate.
func insecure() *http.Client {
	return &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}
