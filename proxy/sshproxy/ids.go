package sshproxy

import (
	"sync"

	lru "github.com/hashicorp/golang-lru/v2"
)

// sessionIDs are the SSH session ids of handshakes that this gateway is, or
// just was, the server of. A forwarded agent that is asked to sign one of
// them is being used by a host to log in here as its user.
type sessionIDs struct {
	mu     sync.Mutex
	live   map[string]int
	recent *lru.Cache[string, struct{}]
}

// maxRecentIDs are the handshakes that are remembered before they are logins.
const maxRecentIDs = 16384

// seen remembers a handshake whose authentication begins.
func (s *sessionIDs) seen(id []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.recent == nil {
		s.recent, _ = lru.New[string, struct{}](maxRecentIDs) // fails for sizes below 1 alone
	}
	s.recent.Add(string(id), struct{}{})
}

// add keeps an id as long as its connection lives.
func (s *sessionIDs) add(id []byte) (forget func()) {
	key := string(id)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.live == nil {
		s.live = map[string]int{}
	}
	s.live[key]++
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.live[key]--; s.live[key] <= 0 {
			delete(s.live, key)
		}
	}
}

// has reports whether the id is one of ours.
func (s *sessionIDs) has(id []byte) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.live[string(id)] > 0 {
		return true
	}
	return s.recent != nil && s.recent.Contains(string(id))
}
