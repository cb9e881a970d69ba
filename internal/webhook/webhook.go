// Package webhook posts signed JSON to addresses that an administrator
// configured, without being turned against the network that it runs in.
//
// Signatures follow Standard Webhooks (https://www.standardwebhooks.com):
// headers webhook-id, webhook-timestamp and webhook-signature, the last
// "v1," and the base64 of HMAC-SHA-256 over "id.timestamp.body". Receivers
// use the id to deduplicate.
//
// Every connection's resolved address is checked when it is dialled, so that
// a name which resolves to an inner address is refused (SSRF); redirects are
// not followed; answers are read to a limit and dropped.
package webhook

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const (
	timeout   = 15 * time.Second
	maxAnswer = 64 << 10
)

// Sign returns the webhook-signature header. A secret that begins with
// "whsec_" is base64 after that; any other is used as it is.
func Sign(secret, id string, at time.Time, body []byte) (string, error) {
	key := []byte(secret)
	if rest, ok := strings.CutPrefix(secret, "whsec_"); ok {
		var err error
		if key, err = base64.StdEncoding.DecodeString(rest); err != nil {
			return "", errors.New("the webhook secret is not base64 after whsec_")
		}
	}
	if len(key) < 16 {
		return "", errors.New("the webhook secret is shorter than 16 bytes")
	}
	m := hmac.New(sha256.New, key)
	fmt.Fprintf(m, "%s.%d.", id, at.Unix())
	m.Write(body)
	return "v1," + base64.StdEncoding.EncodeToString(m.Sum(nil)), nil
}

// Options of a Client.
type Options struct {
	// Allow lists inner networks that may be posted to all the same; by
	// default only public unicast addresses are.
	Allow []netip.Prefix
	Now   func() time.Time // time.Now if nil
	// TLS roots and the like; the guard's dialer is put into a clone.
	Transport *http.Transport
}

// Client posts. It is safe for concurrent use.
type Client struct {
	http *http.Client
	now  func() time.Time
}

// NewClient returns a guarded client.
func NewClient(o Options) *Client {
	if o.Now == nil {
		o.Now = time.Now
	}
	t := &http.Transport{}
	if o.Transport != nil {
		t = o.Transport.Clone()
	}
	t.Proxy = nil // a proxy would dial for us, past the guard
	t.DialContext = (&net.Dialer{Timeout: 5 * time.Second, Control: func(_, address string, _ syscall.RawConn) error {
		return guard(address, o.Allow)
	}}).DialContext
	t.ResponseHeaderTimeout, t.TLSHandshakeTimeout = timeout, 5*time.Second
	t.MaxIdleConnsPerHost, t.IdleConnTimeout = 2, time.Minute
	return &Client{now: o.Now, http: &http.Client{Transport: t, Timeout: timeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}
}

// ErrGuard is the refusal of an address that is not for the outside.
var ErrGuard = errors.New("the address is not a public one")

// guard refuses loopback, private, link-local, multicast and other special
// addresses unless a listed network holds them.
func guard(address string, allow []netip.Prefix) error {
	ap, err := netip.ParseAddrPort(address)
	if err != nil {
		return fmt.Errorf("dial %q: %w", address, err)
	}
	ip := ap.Addr().Unmap()
	for _, p := range allow {
		if p.Contains(ip) {
			return nil
		}
	}
	for _, p := range special {
		if p.Contains(ip) {
			return fmt.Errorf("%s: %w; list its network to allow it", ip, ErrGuard)
		}
	}
	if !ip.IsGlobalUnicast() || ip.IsPrivate() {
		return fmt.Errorf("%s: %w; list its network to allow it", ip, ErrGuard)
	}
	return nil
}

// special networks that IsGlobalUnicast and IsPrivate let pass: shared
// address space (RFC 6598), documentation, benchmarking, NAT64, 6to4,
// IPv4-compatible and site-local addresses (both long deprecated, and still routed inside).
var special = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"), netip.MustParsePrefix("100.64.0.0/10"), netip.MustParsePrefix("192.0.0.0/24"),
	netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("198.18.0.0/15"), netip.MustParsePrefix("198.51.100.0/24"),
	netip.MustParsePrefix("203.0.113.0/24"), netip.MustParsePrefix("240.0.0.0/4"), netip.MustParsePrefix("64:ff9b::/96"),
	netip.MustParsePrefix("64:ff9b:1::/48"), netip.MustParsePrefix("2001:db8::/32"), netip.MustParsePrefix("2002::/16"),
	netip.MustParsePrefix("::/96"), netip.MustParsePrefix("fec0::/10"),
}

// StatusError is an answer other than 2xx.
type StatusError struct{ Status int }

func (e *StatusError) Error() string { return fmt.Sprintf("answered with status %d", e.Status) }

// Post sends body once, signed if secret is not empty. Errors never hold the
// URL's query or the secret.
func (c *Client) Post(ctx context.Context, url, secret, id string, body []byte) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return errors.New("the webhook's URL is malformed")
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "jit-gateway")
	if secret != "" {
		at := c.now()
		sig, err := Sign(secret, id, at, body)
		if err != nil {
			return err
		}
		req.Header.Set("webhook-id", id)
		req.Header.Set("webhook-timestamp", strconv.FormatInt(at.Unix(), 10))
		req.Header.Set("webhook-signature", sig)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		var inner *net.OpError
		if errors.As(err, &inner) {
			return fmt.Errorf("post to %s: %w", req.URL.Host, inner)
		}
		return fmt.Errorf("post to %s failed: %w", req.URL.Host, unwrapURL(err))
	}
	defer resp.Body.Close()
	io.Copy(io.Discard, io.LimitReader(resp.Body, maxAnswer)) // for the connection's reuse
	if resp.StatusCode/100 != 2 {
		return fmt.Errorf("post to %s: %w", req.URL.Host, &StatusError{resp.StatusCode})
	}
	return nil
}

// Do sends a request of another kind under the same guard: resolved addresses
// are checked, redirects are not followed. The caller limits what it reads and
// closes the body. Errors do not hold the URL.
func (c *Client) Do(req *http.Request) (*http.Response, error) {
	req.Header.Set("User-Agent", "jit-gateway")
	resp, err := c.http.Do(req)
	if err != nil {
		var inner *net.OpError
		if errors.As(err, &inner) {
			return nil, fmt.Errorf("ask %s: %w", req.URL.Host, inner)
		}
		return nil, fmt.Errorf("ask %s: %w", req.URL.Host, unwrapURL(err))
	}
	return resp, nil
}

// unwrapURL drops net/http's wrapper, whose text repeats the whole URL.
func unwrapURL(err error) error {
	if u := errors.Unwrap(err); u != nil {
		return u
	}
	return err
}
