package webhook

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"
)

// The example of the Standard Webhooks specification.
func TestSignMatchesTheSpecification(t *testing.T) {
	got, err := Sign("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "msg_p5jXN8AQM9LWM0D4loKWxJek", time.Unix(1614265330, 0), []byte(`{"test": 2432232314}`))
	if err != nil || got != "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=" {
		t.Errorf("got %q, %v", got, err)
	}
	for _, bad := range []string{"fifteen-bytes!!", "whsec_%%%", "whsec_AAAA"} {
		if _, err := Sign(bad, "id", time.Now(), nil); err == nil || strings.Contains(err.Error(), bad) {
			t.Errorf("%q: got %v", bad, err)
		}
	}
}

func TestGuardRefusesInnerAddresses(t *testing.T) {
	for _, a := range []string{"127.0.0.1:80", "10.1.2.3:80", "172.20.0.1:80", "192.168.1.1:80", "169.254.169.254:80", "100.64.0.1:80",
		"0.0.0.0:80", "224.0.0.1:80", "255.255.255.255:80", "[::1]:80", "[::]:80", "[fe80::1]:80", "[fc00::1]:80", "[::ffff:10.0.0.1]:80",
		"[64:ff9b::a00:1]:80", "[2002:a00:1::]:80", "[::a00:1]:80", "[fec0::1]:80"} {
		if err := guard(a, nil); !errors.Is(err, ErrGuard) {
			t.Errorf("%s: got %v", a, err)
		}
	}
	for _, a := range []string{"1.1.1.1:443", "[2606:4700::1111]:443"} {
		if err := guard(a, nil); err != nil {
			t.Errorf("%s: got %v", a, err)
		}
	}
	if err := guard("10.1.2.3:80", []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}); err != nil {
		t.Errorf("a listed network was refused: %v", err)
	}
}

func TestPost(t *testing.T) {
	const secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
	var verified bool
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/away" {
			http.Redirect(w, r, "/hook", http.StatusTemporaryRedirect)
			return
		}
		body, _ := io.ReadAll(r.Body)
		want, _ := Sign(secret, r.Header.Get("webhook-id"), time.Unix(1700000000, 0), body)
		verified = r.Header.Get("webhook-signature") == want && r.Header.Get("webhook-timestamp") == "1700000000"
	}))
	defer srv.Close()
	loopback := []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	c := NewClient(Options{Allow: loopback, Now: func() time.Time { return time.Unix(1700000000, 0) }})
	if err := c.Post(context.Background(), srv.URL+"/hook", secret, "E1", []byte(`{}`)); err != nil || !verified {
		t.Errorf("got %v, verified %v", err, verified)
	}
	var status *StatusError
	if err := c.Post(context.Background(), srv.URL+"/away?key=s3cret", secret, "E1", nil); !errors.As(err, &status) || status.Status != 307 {
		t.Errorf("a redirect: got %v", err)
	} else if strings.Contains(err.Error(), "s3cret") {
		t.Error("the error shows the query")
	}
	if err := NewClient(Options{}).Post(context.Background(), srv.URL+"/hook?key=s3cret", secret, "E1", nil); !errors.Is(err, ErrGuard) {
		t.Errorf("loopback: got %v", err)
	} else if strings.Contains(err.Error(), "s3cret") {
		t.Error("the error shows the query")
	}
}
