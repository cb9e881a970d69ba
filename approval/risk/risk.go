// Package risk tells an approver what is unusual about a request, and rules
// what they may refuse. It learns nothing and scores nothing: each finding is
// one comparison with the past, told with its evidence. It is pure: the past
// comes through History, which the stores implement.
package risk

import (
	"context"
	"time"
)

// Code names a kind of finding; rules use it: !("first_target" in risk).
type Code string

const (
	FirstTarget   Code = "first_target"   // first time for this user on this target
	FirstLogin    Code = "first_login"    // first time with this login there
	FirstNetwork  Code = "first_network"  // first time from this network (/24, /64)
	UnusualHour   Code = "unusual_hour"   // hours in which the user has not worked before
	AfterDenial   Code = "after_denial"   // the same was denied a short while ago
	DenialBurst   Code = "denial_burst"   // several denials in a day
	FailureBurst  Code = "failure_burst"  // several wrong codes within an hour
	RubberStamp   Code = "rubber_stamp"   // an approver approves much within seconds
	IdleGrant     Code = "idle_grant"     // open for long and not used
	UnusualVolume Code = "unusual_volume" // far above the user's own median

	UncheckedTicket Code = "unchecked_ticket" // an emergency whose ticket could not be looked up
)

// Finding is one unusual thing.
type Finding struct {
	Code     Code              `json:"code"`
	Text     string            `json:"text"`               // a sentence for the approver
	Evidence map[string]string `json:"evidence,omitempty"` // the figures compared
}

// History is the past, as the stores answer it. Each list is newest first and
// at most limit long.
type History interface {
	PastSessions(ctx context.Context, userID string, since time.Time, limit int) ([]PastSession, error)
	PastRequests(ctx context.Context, userID string, since time.Time, limit int) ([]PastRequest, error) // filed by the user
	PastVotes(ctx context.Context, userID string, since time.Time, limit int) ([]PastVote, error)       // given by the user
	PastGrants(ctx context.Context, userID string, since time.Time, limit int) ([]PastGrant, error)     // activated ones
	FactorFailures(ctx context.Context, userID string, since time.Time) (int, error)                    // events factor.failed about the user
}

// PastSession is one session of a user.
type PastSession struct {
	Target, Login, Source string
	StartedAt, EndedAt    time.Time // EndedAt zero: open
	Bytes                 int64     // in and out
}

// PastRequest is one request of a user.
type PastRequest struct {
	ID        string
	Targets   []string
	Login     string
	State     string // approval.RequestState
	FiledAt   time.Time
	DecidedAt time.Time
}

// PastVote is one approval given by a user.
type PastVote struct {
	RequestID   string
	FiledAt, At time.Time
}

// PastGrant is one grant of a user that was activated.
type PastGrant struct {
	ID          string
	Start, End  time.Time
	Ended       time.Time // zero: still open
	Sessions    int
	LastSession time.Time // start of the newest session, zero if none
}

// Subject is what is assessed.
type Subject struct {
	UserID  string
	Targets []string
	Login   string
	Source  string // address
	Now     time.Time
	Zone    *time.Location // for unusual hours; UTC if nil
}
