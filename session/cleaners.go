package session

import (
	"context"
	"fmt"

	"jit-gateway/ca"
)

// keyCleaner ends ssh_cert credentials: a certificate without its key is
// nothing, and the key was in this process's memory only.
type keyCleaner struct{ m *Manager }

func (k keyCleaner) key(c Credential) (key Destroyer, live bool) {
	s, live := k.m.Get(c.SessionID)
	if !live {
		return nil, false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.held[c.ID], true
}

func (k keyCleaner) Invalidate(_ context.Context, c Credential) error {
	if key, _ := k.key(c); key != nil {
		key.Destroy()
	}
	return nil
}

func (k keyCleaner) Check(_ context.Context, c Credential) error {
	key, live := k.key(c)
	switch {
	case !live: // its process is gone, or its session has ended and dropped it
		return nil
	case key != nil && key.Destroyed():
		return nil
	case !c.ExpiresAt.IsZero() && !k.m.o.Clock.Now().Before(c.ExpiresAt):
		return nil
	}
	return fmt.Errorf("the key was not handed over for destruction; the certificate is good until %s", clockTime(c.ExpiresAt))
}

// tokenCleaner ends pg_token credentials: all tokens of a grant at once.
type tokenCleaner struct{ tokens *ca.Tokens }

func (t tokenCleaner) Invalidate(ctx context.Context, c Credential) error {
	return t.tokens.Kill(ctx, c.GrantID)
}

func (t tokenCleaner) Check(ctx context.Context, c Credential) error {
	n, err := t.tokens.Alive(ctx, c.GrantID)
	if err == nil && n > 0 {
		err = fmt.Errorf("%d tokens of grant %s still work", n, c.GrantID)
	}
	return err
}
