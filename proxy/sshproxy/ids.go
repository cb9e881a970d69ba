package sshproxy

import (
	"context"
	"sync"
)

// sessionIDs are the SSH session ids of the connections that this gateway is
// the server of, from before their authentication to their end. A forwarded
// agent that is asked to sign one of them is being used by a host to log in
// here as its user.
type sessionIDs struct {
	mu   sync.Mutex
	live map[string]struct{}
}

// hold keeps an id until ctx is done. (Session ids are hashes of a key
// exchange: no two connections have the same.)
func (s *sessionIDs) hold(ctx context.Context, id []byte) {
	key := string(id)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.live == nil {
		s.live = map[string]struct{}{}
	}
	s.live[key] = struct{}{}
	context.AfterFunc(ctx, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.live, key)
	})
}

// has reports whether the id is one of ours.
func (s *sessionIDs) has(id []byte) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, ok := s.live[string(id)]
	return ok
}
