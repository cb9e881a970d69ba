package approval

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"time"

	"jit-gateway/approval/mfa"
	"jit-gateway/approval/policy"
	"jit-gateway/approval/risk"
)

// RequestState is where a request stands. Only Pending requests change.
type RequestState string

const (
	Pending   RequestState = "pending"
	Approved  RequestState = "approved"
	Denied    RequestState = "denied"
	Withdrawn RequestState = "withdrawn"
	Expired   RequestState = "expired"
)

// Request is one user's wish. All but State, Votes, Decision and Version is
// immutable once filed; Digest covers the immutable part.
type Request struct {
	ID           string            `json:"id"`
	UserID       string            `json:"user_id"`
	User         string            `json:"user"`               // name at filing, for people
	Targets      []string          `json:"targets"`            // resolved names, sorted; frozen at filing
	Selector     string            `json:"selector,omitempty"` // the label selector that Targets came from
	Login        string            `json:"login"`              // login or role
	Reason       string            `json:"reason"`
	Ticket       string            `json:"ticket,omitempty"`
	Duration     time.Duration     `json:"duration"`
	StartAt      time.Time         `json:"start_at,omitzero"`        // scheduled; zero: at activation
	EndsWithLast bool              `json:"ends_with_last,omitempty"` // the requester wants the grant to end with its last session
	Extends      string            `json:"extends,omitempty"`        // the grant that this request would extend
	Rule         string            `json:"rule"`                     // name of the rule that admitted it
	RuleHash     string            `json:"rule_hash"`
	TargetHashes map[string]string `json:"target_hashes"`         // target name to inventory.Target.Hash
	Source       string            `json:"source,omitempty"`      // address that it was filed from
	Via          string            `json:"via,omitempty"`         // ssh, postgres, web
	BreakGlass   bool              `json:"break_glass,omitempty"` // an emergency was declared
	Risk         []risk.Finding    `json:"risk,omitempty"`        // what was unusual at filing
	History      policy.History    `json:"history,omitzero"`      // what rules saw of the past at filing
	FiledAt      time.Time         `json:"filed_at"`
	ExpiresAt    time.Time         `json:"expires_at"` // unanswered by then: Expired

	State    RequestState `json:"state"`
	Votes    []Vote       `json:"votes,omitempty"`
	Decision *Decision    `json:"decision,omitempty"`
	GrantID  string       `json:"grant_id,omitempty"` // once approved
	// EscalatedAt is when the rule's further groups were asked.
	EscalatedAt time.Time `json:"escalated_at,omitzero"`
	Version     int       `json:"version"` // for conditional updates
}

// Digest is the SHA-256, in hex, of the immutable part: what approvers sign
// with their factor, what --digest names, and what a grant is bound to.
func (r Request) Digest() string {
	r.State, r.Votes, r.Decision, r.GrantID, r.EscalatedAt, r.Version = "", nil, nil, "", time.Time{}, 0
	return digest(plainRequest(r))
}

// Vote is one approval.
type Vote struct {
	UserID   string        `json:"user_id"`
	Person   string        `json:"person"` // identity.User.Person of the voter
	User     string        `json:"user"`
	Duration time.Duration `json:"duration,omitempty"` // at most this; the shortest vote counts
	Comment  string        `json:"comment,omitempty"`
	Digest   string        `json:"digest"` // Request.Digest that the voter was shown
	Factor   FactorRecord  `json:"factor"`
	At       time.Time     `json:"at"`
}

// Decision is how a request ended.
type Decision struct {
	UserID string    `json:"user_id,omitempty"` // empty: the gateway (expiry, auto-approval)
	User   string    `json:"user,omitempty"`
	Reason string    `json:"reason,omitempty"`
	At     time.Time `json:"at"`
}

// FactorRecord is what is kept of a mfa.Proof.
type FactorRecord struct {
	Kind     mfa.Kind  `json:"kind"`
	FactorID string    `json:"factor_id"`
	Evidence string    `json:"evidence,omitempty"`
	At       time.Time `json:"at"`
}

// GrantState is where a grant stands: waiting → active → ended.
type GrantState string

const (
	Waiting GrantState = "waiting" // approved, not yet activated by its second factor
	Active  GrantState = "active"
	Ended   GrantState = "ended"
)

// EndCause says why a grant ended.
type EndCause string

const (
	CauseExpired  EndCause = "expired"
	CauseRestored EndCause = "restored" // the store began again from a backup
	CauseReleased EndCause = "released"
	CauseRevoked  EndCause = "revoked"
	CauseDisabled EndCause = "user_disabled"
	CauseLapsed   EndCause = "not_activated" // never activated in time
	CauseLast     EndCause = "last_session_ended"
	CauseVanished EndCause = "target_removed" // its targets left the inventory
)

// Grant is an approved request: a window with an exact end.
type Grant struct {
	ID            string            `json:"id"`
	RequestID     string            `json:"request_id"`
	RequestDigest string            `json:"request_digest"`
	UserID        string            `json:"user_id"`
	User          string            `json:"user"`
	Targets       []string          `json:"targets"`
	TargetHashes  map[string]string `json:"target_hashes"`
	Login         string            `json:"login"`
	Duration      time.Duration     `json:"duration"` // as approved: may be shorter than asked
	Rule          policy.Rule       `json:"rule"`     // as approved; Admit applies the stricter of this and the current one
	RuleHash      string            `json:"rule_hash"`
	Votes         []Vote            `json:"votes,omitempty"`
	ApprovedAt    time.Time         `json:"approved_at"`
	NotBefore     time.Time         `json:"not_before,omitzero"` // scheduled start
	ActivateBy    time.Time         `json:"activate_by"`
	BreakGlass    bool              `json:"break_glass,omitempty"`
	EndsWithLast  bool              `json:"ends_with_last,omitempty"` // ends with its last session
	Hash          string            `json:"hash"`                     // Digest at approval: what Admit compares

	State       GrantState   `json:"state"`
	ActivatedAt time.Time    `json:"activated_at,omitzero"`
	Factor      FactorRecord `json:"factor,omitzero"`
	Bindings    []Binding    `json:"bindings,omitempty"` // keys and addresses that pass silently
	Start       time.Time    `json:"start,omitzero"`
	End         time.Time    `json:"end,omitzero"` // exact; moved only by an extension
	EndedAt     time.Time    `json:"ended_at,omitzero"`
	Cause       EndCause     `json:"cause,omitempty"`
	EndedBy     string       `json:"ended_by,omitempty"` // User id
	EndReason   string       `json:"end_reason,omitempty"`
	ReviewedBy  string       `json:"reviewed_by,omitempty"` // break-glass
	ReviewedAt  time.Time    `json:"reviewed_at,omitzero"`
	ReviewNote  string       `json:"review_note,omitempty"`
	Extensions  []string     `json:"extensions,omitempty"` // requests that moved End
	// Raised is what approvers added to the rule's budget while it ran.
	Raised  policy.Budget `json:"raised,omitzero"`
	ToldEnd time.Time     `json:"told_end,omitzero"` // the End of which the log said that it is near
	Version int           `json:"version"`
}

// Binding is a key and a source address from which a code was given: a
// connection with both passes without a prompt.
type Binding struct {
	KeyFingerprint string    `json:"key_fingerprint,omitempty"`
	Source         string    `json:"source"` // address without port
	FactorAt       time.Time `json:"factor_at"`
	SpentAt        time.Time `json:"spent_at,omitzero"` // a rule with a factor per session: the session took it
}

// Digest is the SHA-256, in hex, of what was approved, not of what happened
// afterwards.
func (g Grant) Digest() string {
	return digest(struct {
		ID, RequestID, RequestDigest, UserID, Login, RuleHash string
		Targets                                               []string
		TargetHashes                                          map[string]string
		Duration                                              time.Duration
		Votes                                                 []plainVote
		ApprovedAt, NotBefore                                 time.Time
	}{g.ID, g.RequestID, g.RequestDigest, g.UserID, g.Login, g.RuleHash, g.Targets, g.TargetHashes, g.Duration, plain(g.Votes), g.ApprovedAt, g.NotBefore})
}

// Live reports whether the grant admits sessions at the time now.
func (g Grant) Live(now time.Time) bool {
	return g.State == Active && !now.Before(g.Start) && now.Before(g.End)
}

func digest(v any) string {
	b, err := json.Marshal(v)
	if err != nil { // only marshalable types get here
		panic(fmt.Sprintf("encode for digest: %v", err))
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}
