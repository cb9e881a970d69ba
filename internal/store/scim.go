package store

import "time"

// SCIMGroup is a group that a SCIM client manages. Who is in it is kept with
// the users: identity.User.Groups.
type SCIMGroup struct {
	ID         string    `json:"id"`
	Name       string    `json:"name"`                  // displayName, as the client gave it; unique
	ExternalID string    `json:"external_id,omitempty"` // the client's own id
	CreatedAt  time.Time `json:"created_at"`
	UpdatedAt  time.Time `json:"updated_at"`
	Version    int       `json:"version"` // for conditional updates
}
