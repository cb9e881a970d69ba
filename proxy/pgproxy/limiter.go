package pgproxy

import (
	"sync"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"golang.org/x/time/rate"
)

// A limiter bounds failed logins per address, and per user and address: a
// stranger must not be able to lock a user out from elsewhere. Tokens cannot
// be guessed; the limit is for the work, and for the audit log.
type limiter struct {
	mu   sync.Mutex
	seen *lru.Cache[string, *rate.Limiter]
}

const (
	failBurst    = 30
	failEvery    = time.Second
	failsTracked = 10000
)

func newLimiter() *limiter {
	c, err := lru.New[string, *rate.Limiter](failsTracked)
	if err != nil { // the size is a positive constant
		panic(err)
	}
	return &limiter{seen: c}
}

func (l *limiter) of(key string) *rate.Limiter {
	l.mu.Lock()
	defer l.mu.Unlock()
	r, ok := l.seen.Get(key)
	if !ok {
		r = rate.NewLimiter(rate.Every(failEvery), failBurst)
		l.seen.Add(key, r)
	}
	return r
}

// blocked reports whether no further login may be tried now.
func (l *limiter) blocked(now time.Time, keys ...string) bool {
	for _, k := range keys {
		if l.of(k).TokensAt(now) < 1 {
			return true
		}
	}
	return false
}

// failed counts a failed login.
func (l *limiter) failed(now time.Time, keys ...string) {
	for _, k := range keys {
		l.of(k).AllowN(now, 1)
	}
}
