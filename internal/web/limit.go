package web

import (
	"errors"
	"net/http"
	"net/netip"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"golang.org/x/time/rate"
)

// errTooMany is said with status 429.
var errTooMany = errors.New("too many tries from here; wait a minute")

// limiter allows each key so many acts at once, and then one in a while. It
// remembers the keys that came last; a stranger who makes it forget another
// key has sent thousands of requests from as many networks.
type limiter struct {
	every time.Duration
	burst int
	now   func() time.Time
	keys  *lru.Cache[string, *rate.Limiter]
}

func newLimiter(burst int, every time.Duration, now func() time.Time) (*limiter, error) {
	keys, err := lru.New[string, *rate.Limiter](16384)
	return &limiter{every, burst, now, keys}, err
}

func (l *limiter) allow(key string) bool {
	b := rate.NewLimiter(rate.Every(l.every), l.burst)
	if old, ok, _ := l.keys.PeekOrAdd(key, b); ok {
		b = old
	}
	l.keys.Get(key) // is new again
	return b.AllowN(l.now(), 1)
}

// limits of what is tried without being signed in, or costs memory. The lock
// of the second factor after wrong codes is beside them, in package mfa.
type limits struct {
	source *limiter // by network: sign-ins, invites, passkey dialogues of strangers
	user   *limiter // by user: sign-ins that reached their factor, passkey dialogues
}

func newLimits(now func() time.Time) (out limits, err error) {
	if out.source, err = newLimiter(20, 3*time.Second, now); err != nil {
		return out, err
	}
	out.user, err = newLimiter(12, 5*time.Second, now)
	return out, err
}

// network is what an address is limited by: itself, or its /64 in IPv6, which
// one customer has whole.
func network(source string) string {
	a, err := netip.ParseAddr(source)
	if err != nil {
		return source
	}
	if a = a.Unmap().WithZone(""); a.Is6() {
		if p, err := a.Prefix(64); err == nil {
			return p.String()
		}
	}
	return a.String()
}

// limited refuses a stranger who tries too often.
func (s *Server) limited(h http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if !s.limits.source.allow(network(sourceOf(r))) {
			s.o.Logger.Warn("too many sign-ins", "source", sourceOf(r))
			s.tooMany(w, r)
			return
		}
		h(w, r)
	}
}

func (s *Server) tooMany(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Retry-After", "60")
	if r.Header.Get("Accept") == "application/json" {
		_ = tell(w, http.StatusTooManyRequests, nil, "", errTooMany)
		return
	}
	s.render(w, r, nil, http.StatusTooManyRequests, "error", map[string]any{"Message": sentence(errTooMany), "Status": http.StatusTooManyRequests})
}
