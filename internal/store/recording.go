package store

import (
	"encoding/json"
	"time"
)

// Recording is what the store knows of a sealed recording: how long it is
// kept, who holds it, where it lies and, in the end, how it was deleted. The
// row stays when the bytes are gone.
type Recording struct {
	Session     string          `json:"session"`
	Grant       string          `json:"grant,omitempty"`
	UserID      string          `json:"user_id,omitempty"`
	Target      string          `json:"target,omitempty"`
	Rule        string          `json:"rule,omitempty"`
	RetainDays  int             `json:"retain_days,omitempty"`   // of the rule that the session was under; 0: for ever
	TwoToDelete bool            `json:"two_to_delete,omitempty"` // likewise
	RetainUntil time.Time       `json:"retain_until,omitzero"`   // zero: for ever
	StartedAt   time.Time       `json:"started_at"`
	SealedAt    time.Time       `json:"sealed_at"`
	Size        int64           `json:"size"`
	Hash        string          `json:"hash"`           // of the seal, as in the audit log
	Node        string          `json:"node,omitempty"` // of several gateways, the one whose directory it was sealed in
	Info        json.RawMessage `json:"info,omitempty"` // header and seal, for lists without opening the file

	Hold     *Hold     `json:"hold,omitempty"`
	Object   *Object   `json:"object,omitempty"` // nil: only in the gateway's directory
	Deletion *Deletion `json:"deletion,omitempty"`
}

// Hold keeps a recording whatever its retention, until it is released.
type Hold struct {
	By     string    `json:"by"` // User id; empty for the local administrator
	ByName string    `json:"by_name"`
	Reason string    `json:"reason"`
	At     time.Time `json:"at"`
}

// Object is a recording's copy in the object store.
type Object struct {
	Key         string    `json:"key"`
	Version     string    `json:"version,omitempty"`
	SHA256      string    `json:"sha256"`
	StoredAt    time.Time `json:"stored_at"`
	LockedUntil time.Time `json:"locked_until,omitzero"` // by Object Lock
	Held        bool      `json:"held,omitempty"`        // the object store's own legal hold is on
}

// Deletion is who ordered it, why, and when the bytes were gone.
type Deletion struct {
	By          string    `json:"by,omitempty"` // User id; empty for the gateway and the local administrator
	ByName      string    `json:"by_name"`
	ConfirmedBy string    `json:"confirmed_by,omitempty"` // User id of the second administrator
	Reason      string    `json:"reason"`
	Early       bool      `json:"early,omitempty"` // before its retention ended
	OrderedAt   time.Time `json:"ordered_at"`
	DoneAt      time.Time `json:"done_at,omitzero"`
	LastError   string    `json:"last_error,omitempty"`
}

// Deleted reports whether the recording may not be read any more.
func (r Recording) Deleted() bool { return r.Deletion != nil }

// RecordingFilter selects recordings; zero fields select all. Oldest seal
// first, and After continues behind a session of an earlier page.
type RecordingFilter struct {
	Local   bool      // has no copy in the object store, and no deletion is ordered
	Due     time.Time // retention ended before this, not held, no deletion is ordered
	Held    bool
	Ordered bool // deletion is ordered and not done
	Unequal bool // the object store's legal hold is not as the row's
	Present bool // no deletion is ordered
	Deleted bool // deletion is ordered, or done
	After   string
	Limit   int // 100 if zero
}

// DeletionVerdict says whether and by how many a recording may be deleted now.
type DeletionVerdict struct {
	Recording Recording
	Until     time.Time // end of its retention by the rule then and now; zero: for ever
	Early     bool      // before that
	Two       bool      // the rule wants two people
	Refused   string    // a sentence: nobody may now
}

// DeletionOrder is somebody's decision to delete.
type DeletionOrder struct {
	Session     string
	ByName      string
	AskedBy     string // User id of the first of two administrators
	ConfirmedBy string // of the second
	Reason      string
}
