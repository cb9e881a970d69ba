package proxy

import (
	"net/netip"
	"sync"

	lru "github.com/hashicorp/golang-lru/v2"
	"golang.org/x/time/rate"
)

// rateSources bounds the addresses whose rate is remembered: a scan from more
// of them pushes out the oldest, which then start afresh.
const rateSources = 16384

// limits says who may have one more connection.
type limits struct {
	max, perSource int
	rate           rate.Limit
	burst          int
	balancers      []netip.Prefix

	mu      sync.Mutex
	total   int
	sources map[netip.Prefix]int // at most max
	rates   *lru.Cache[netip.Prefix, *rate.Limiter]
}

func newLimits(o ServeOptions) *limits {
	or := func(n, def int) int {
		if n == 0 {
			return def
		}
		return n
	}
	l := &limits{max: or(o.MaxConns, 4096), perSource: or(o.MaxPerSource, 1024), rate: rate.Limit(o.RatePerSec),
		burst: or(o.Burst, 1000), balancers: o.PROXYFrom, sources: map[netip.Prefix]int{}}
	if l.rate == 0 {
		l.rate = 500
	}
	l.rates, _ = lru.New[netip.Prefix, *rate.Limiter](rateSources) // fails for sizes below 1 only
	return l
}

func (l *limits) balancer(a netip.Addr) bool {
	for _, p := range l.balancers {
		if p.Contains(a) {
			return true
		}
	}
	return false
}

// enter counts a connection before its source is known; leave takes it back.
func (l *limits) enter() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.total >= l.max {
		return false
	}
	l.total++
	return true
}

func (l *limits) leave() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.total--
}

// take counts a connection from the source, or says which limit refuses it.
func (l *limits) take(a netip.Addr) (leave func(), why string) {
	key := sourceKey(a)
	l.mu.Lock()
	defer l.mu.Unlock()
	r, ok := l.rates.Get(key)
	if !ok {
		r = rate.NewLimiter(l.rate, l.burst)
		l.rates.Add(key, r)
	}
	switch {
	case !r.Allow():
		return nil, "rate"
	case l.sources[key] >= l.perSource:
		return nil, "source"
	}
	l.sources[key]++
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		if l.sources[key]--; l.sources[key] == 0 {
			delete(l.sources, key)
		}
	}, ""
}

// sourceKey is what counts as one source: an IPv4 address, or the /64 that one
// IPv6 host has for itself.
func sourceKey(a netip.Addr) netip.Prefix {
	bits := 32
	if a.Is6() {
		bits = 64
	}
	p, err := a.WithZone("").Prefix(bits)
	if err != nil { // no address: a unix socket
		return netip.Prefix{}
	}
	return p
}
