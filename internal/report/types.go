package report

import "time"

// Report is everything that a report says. Times of day are UTC; durations are
// in seconds.
type Report struct {
	Gateway     string     `json:"gateway"`
	From        time.Time  `json:"from"`
	To          time.Time  `json:"to"` // exclusive
	MadeAt      time.Time  `json:"made_at"`
	RulesHash   string     `json:"rules_hash"`
	Counts      []Count    `json:"counts"`
	Grants      []Grant    `json:"grants"`
	Refused     []Request  `json:"requests_not_granted"`
	Checks      []Check    `json:"failed_checks"`
	Findings    []Finding  `json:"findings"`
	Eligibility []Eligible `json:"eligibility"`
}

// Count is the size of one population.
type Count struct {
	Name string `json:"name"`
	N    int    `json:"count"`
}

// Grant is one grant that was in force, or waited for its code, in the period.
type Grant struct {
	ID            string    `json:"grant"`
	Request       string    `json:"request"`
	User          string    `json:"user"`
	UserID        string    `json:"user_id"`
	Targets       []string  `json:"targets"`
	Login         string    `json:"login"`
	Rule          string    `json:"rule"`
	Reason        string    `json:"reason"`
	Ticket        string    `json:"ticket,omitempty"`
	FiledAt       time.Time `json:"filed_at"`
	ApprovedAt    time.Time `json:"approved_at"`
	ApprovedBy    []string  `json:"approved_by"` // empty: by the rule itself
	TimeToApprove int64     `json:"seconds_to_approval"`
	Asked         int64     `json:"asked_seconds"`
	Granted       int64     `json:"granted_seconds"` // as approved, without extensions
	Open          int64     `json:"open_seconds"`    // how long the window was open
	Used          int64     `json:"used_seconds"`    // how long any session was, sessions side by side counted once
	Start         time.Time `json:"start,omitzero"`
	End           time.Time `json:"end,omitzero"`
	Ended         string    `json:"ended,omitempty"` // cause; empty: still open
	Sessions      int       `json:"sessions"`
	Extensions    int       `json:"extensions,omitempty"`
	State         string    `json:"use"` // used, unused, not_activated, waiting
	BreakGlass    bool      `json:"break_glass,omitempty"`
	Review        string    `json:"review,omitempty"` // of an emergency: open, or done
	ReviewedBy    string    `json:"reviewed_by,omitempty"`
	ReviewedAt    time.Time `json:"reviewed_at,omitzero"`
	ReviewNote    string    `json:"review_note,omitempty"`
}

// Request is one that was filed in the period and became no grant, or that was
// refused before it was filed (then without an id).
type Request struct {
	ID       string    `json:"request,omitempty"`
	User     string    `json:"user"`
	Targets  []string  `json:"targets"`
	Login    string    `json:"login,omitempty"`
	Rule     string    `json:"rule,omitempty"`
	Reason   string    `json:"reason,omitempty"`
	FiledAt  time.Time `json:"filed_at"`
	State    string    `json:"state"` // pending, denied, withdrawn, expired, refused
	By       string    `json:"by,omitempty"`
	Why      string    `json:"why,omitempty"`
	Answered int64     `json:"seconds_to_answer,omitempty"`
}

// Check is an after-check that found a credential alive, or could not look.
type Check struct {
	At      time.Time `json:"at"`
	Session string    `json:"session,omitempty"`
	Grant   string    `json:"grant,omitempty"`
	Target  string    `json:"target,omitempty"`
	Kind    string    `json:"kind,omitempty"`
	Name    string    `json:"name,omitempty"`
	Trouble string    `json:"trouble"`
	DeadAt  time.Time `json:"dead_at,omitzero"` // when a later check found it dead
}

// Finding is something unusual that was raised in the period.
type Finding struct {
	ID       string    `json:"finding"`
	Code     string    `json:"code"`
	User     string    `json:"user,omitempty"`
	Request  string    `json:"request,omitempty"`
	Target   string    `json:"target,omitempty"`
	Text     string    `json:"text"`
	RaisedAt time.Time `json:"raised_at"`
	SeenBy   string    `json:"seen_by,omitempty"` // empty: nobody has looked at it
	SeenAt   time.Time `json:"seen_at,omitzero"`
	Note     string    `json:"note,omitempty"`
}

// Eligible is what one user may ask for as one login under one rule, as of the
// moment of the report.
type Eligible struct {
	User    string    `json:"user"`
	UserID  string    `json:"user_id"`
	Kind    string    `json:"kind"`
	Owner   string    `json:"owner,omitempty"` // who answers for the account
	Groups  []string  `json:"groups"`
	Rule    string    `json:"rule"`
	Login   string    `json:"login"`
	Consent string    `json:"consent"` // who says yes
	Targets []string  `json:"targets"`
	Used    []string  `json:"used_targets"` // those on which a grant of the period was used
	Last    time.Time `json:"last_used,omitzero"`
	Dormant bool      `json:"dormant"` // none of them was used in the period
}
