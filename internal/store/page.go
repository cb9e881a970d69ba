package store

import "time"

// PageSession is one signed-in browser. The cookie's value is a secret; ID is
// its SHA-256 in hex.
type PageSession struct {
	ID             string    `json:"id"`
	UserID         string    `json:"user_id"`
	CreatedAt      time.Time `json:"created_at"`
	ExpiresAt      time.Time `json:"expires_at"`
	LastSeen       time.Time `json:"last_seen,omitzero"`
	Source         string    `json:"source,omitempty"`          // address without port
	KeyFingerprint string    `json:"key_fingerprint,omitempty"` // SSH key that asked for the sign-in link
	KeySource      string    `json:"key_source,omitempty"`      // address that the key asked from
}

// Link is a one-time sign-in link to the page.
type Link struct {
	Hash           []byte // SHA-256 of the token in the link
	UserID         string
	KeyFingerprint string // SSH key that asked for it
	Source         string // address that it asked from
	ExpiresAt      time.Time
}
