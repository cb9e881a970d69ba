package identity

import (
	"context"
	"time"

	"jit-gateway/internal/audit"
)

// PageSession is one signed-in browser.
type PageSession struct {
	ID             []byte // SHA-256 of the cookie
	UserID         string
	KeyFingerprint string // the SSH key that asked for the link, empty for other ways in
	Source         string // address that signed in, without port
	CreatedAt      time.Time
	ExpiresAt      time.Time
	LastSeen       time.Time
}

// Link is a one-time sign-in link to the page.
type Link struct {
	Hash           []byte // SHA-256 of the token in the link
	UserID         string
	KeyFingerprint string
	ExpiresAt      time.Time
}

// Pages keeps page sessions and one-time links. Both stores implement it.
type Pages interface {
	CreatePageSession(ctx context.Context, p PageSession, ev audit.Event) error
	PageSession(ctx context.Context, id []byte) (PageSession, error) // store.ErrNotFound
	TouchPageSession(ctx context.Context, id []byte, at time.Time) error
	DeletePageSession(ctx context.Context, id []byte, ev audit.Event) error
	// Link finds a link that is neither used nor expired at the time:
	// store.ErrNotFound otherwise.
	Link(ctx context.Context, hash []byte, now time.Time) (Link, error)
	// UseLink spends it: store.ErrConflict if it was spent or has expired.
	UseLink(ctx context.Context, hash []byte, now time.Time) error
	CreateLink(ctx context.Context, l Link, ev audit.Event) error
}
