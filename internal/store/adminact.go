package store

import (
	"encoding/json"
	"time"
)

// ActState is where an administrator's act stands. Only waiting ones change.
type ActState string

const (
	ActWaiting   ActState = "waiting"
	ActConfirmed ActState = "confirmed"
	ActRefused   ActState = "refused"
	ActExpired   ActState = "expired"
)

// AdminAct is a change that one administrator wants and a second must confirm
// (guarantee G6).
type AdminAct struct {
	ID        string          `json:"id"`
	Kind      string          `json:"kind"`    // user.add, user.groups, recording.delete, …
	Args      json.RawMessage `json:"args"`    // what to do, for the code that does it
	Summary   string          `json:"summary"` // what it does, for the second administrator
	By        string          `json:"by"`      // User id who wants it
	Person    string          `json:"person"`  // identity.User.Person of that user
	CreatedAt time.Time       `json:"created_at"`
	ExpiresAt time.Time       `json:"expires_at"`
	State     ActState        `json:"state"`
	DecidedBy string          `json:"decided_by,omitempty"`
	DecidedAt time.Time       `json:"decided_at,omitzero"`
	Note      string          `json:"note,omitempty"`
}
