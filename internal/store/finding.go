package store

import "time"

// Finding is something unusual that somebody should look at: it stays open
// until it is acknowledged.
type Finding struct {
	ID       string            `json:"id"`
	Code     string            `json:"code"` // risk.Code
	UserID   string            `json:"user_id,omitempty"`
	Target   string            `json:"target,omitempty"`
	Request  string            `json:"request,omitempty"`
	Grant    string            `json:"grant,omitempty"`
	Session  string            `json:"session,omitempty"`
	Text     string            `json:"text"`
	Evidence map[string]string `json:"evidence,omitempty"`
	RaisedAt time.Time         `json:"raised_at"`
	AckedBy  string            `json:"acked_by,omitempty"` // User id
	AckedAt  time.Time         `json:"acked_at,omitzero"`
	AckNote  string            `json:"ack_note,omitempty"`
}

// FindingFilter selects findings; zero fields select all. Newest first.
type FindingFilter struct {
	Code    string
	UserID  string
	Request string
	Open    bool // only those that nobody has acknowledged
	Since   time.Time
	Limit   int // 100 if zero
}
