package approval

import (
	"context"
	"time"

	"jit-gateway/approval/mfa"
	"jit-gateway/approval/policy"
	"jit-gateway/internal/audit"
	"jit-gateway/internal/identity"
	"jit-gateway/internal/inventory"
)

// Service decides who may use what until when.
type Service struct{ o Options }

// ApproveOptions says what exactly is approved.
type ApproveOptions struct {
	Duration time.Duration // 0: as asked; longer than asked is an error
	Digest   string        // Request.Digest that the approver was shown: required
	Comment  string
}

// AdmitInput says who wants to open what, as the handler verified it.
type AdmitInput struct {
	Caller
	Target  string
	Login   string                 // empty: the only one that live grants allow, else *ChooseLogin
	GrantID string                 // only this grant
	Needs   func(policy.Rule) bool // what the rule must allow; nil: nothing in particular
	Token   bool                   // a session token of GrantID was verified, with its source: stands for key and address
}

// GrantError is an error of Admit about one grant, so that a dialogue can go on from there.
type GrantError struct {
	Err   error // ErrNotActivated, ErrCodeNeeded, ErrNotYet, …
	Grant Grant
	Text  string
}

func (e *GrantError) Error() string { return e.Text }

// Unwrap returns the error to match.
func (e *GrantError) Unwrap() error { return e.Err }

// ChooseLogin says that several logins are possible.
type ChooseLogin struct {
	Target string
	Logins []string
}

func (e *ChooseLogin) Error() string { panic("not yet") }

// Preview is what a dialogue prints before it asks.
type Preview struct {
	Targets    []inventory.Target
	Login      string
	Rule       policy.Rule
	Default    time.Duration
	Max        time.Duration
	Auto       bool // the rule approves
	BreakGlass bool
	Ticket     string       // pattern that a ticket must match, empty if none is needed
	Quorums    []QuorumView // who can approve
	SentTo     string       // "sre-leads", for "Request R7K2 sent to sre-leads."
}

// QuorumView is where one quorum of a request stands.
type QuorumView struct {
	Label string          `json:"label"` // "sre-leads", "sre-leads or the owners of web01"
	Need  int             `json:"need"`
	Have  int             `json:"have"`
	Who   []identity.User `json:"who"` // who can still approve
}

// TargetView is a target as one user sees it.
type TargetView struct {
	Target   inventory.Target
	Logins   []string // that rules let the user ask for
	Rule     string
	Grants   []Grant   // waiting or live grants of the user on it
	Requests []Request // pending requests of the user on it
}

// New returns a Service, or an error that names the missing option.
func New(o Options) (*Service, error) { panic("not yet") }

func (s *Service) File(ctx context.Context, c Caller, a Ask) (Request, error)    { panic("not yet") }
func (s *Service) Preview(ctx context.Context, c Caller, a Ask) (Preview, error) { panic("not yet") }
func (s *Service) Approve(ctx context.Context, c Caller, requestID string, o ApproveOptions, p mfa.Proof) (Request, error) {
	panic("not yet")
}
func (s *Service) Deny(ctx context.Context, c Caller, requestID, reason string, p mfa.Proof) (Request, error) {
	panic("not yet")
}
func (s *Service) Withdraw(ctx context.Context, c Caller, requestID string) (Request, error) {
	panic("not yet")
}
func (s *Service) Activate(ctx context.Context, c Caller, grantID string, p mfa.Proof) (Grant, error) {
	panic("not yet")
}
func (s *Service) Confirm(ctx context.Context, c Caller, grantID string, p mfa.Proof) (Grant, error) {
	panic("not yet")
}
func (s *Service) Release(ctx context.Context, c Caller, grantID string) (Grant, error) {
	panic("not yet")
}
func (s *Service) Revoke(ctx context.Context, c Caller, grantID, reason string, p mfa.Proof) (Grant, error) {
	panic("not yet")
}
func (s *Service) Review(ctx context.Context, c Caller, grantID, note string, p mfa.Proof) (Grant, error) {
	panic("not yet")
}
func (s *Service) Acknowledge(ctx context.Context, c Caller, requestID, code, note string) error {
	panic("not yet")
}

// Admit admits a session under a live grant, or says with an error what is
// missing. Recheck looks at an admission again: user, key, target, rule, grant.
func (s *Service) Admit(ctx context.Context, in AdmitInput) (Admission, error) { panic("not yet") }
func (s *Service) Recheck(ctx context.Context, a Admission) (Admission, error) { panic("not yet") }

// Views. What the caller may not see is store.ErrNotFound.
func (s *Service) Request(ctx context.Context, c Caller, id string) (Request, error) {
	panic("not yet")
}
func (s *Service) Grant(ctx context.Context, c Caller, id string) (Grant, error) { panic("not yet") }
func (s *Service) Requests(ctx context.Context, c Caller, f RequestFilter) ([]Request, error) {
	panic("not yet")
}
func (s *Service) Grants(ctx context.Context, c Caller, f GrantFilter) ([]Grant, error) {
	panic("not yet")
}
func (s *Service) Targets(ctx context.Context, c Caller) ([]TargetView, error)    { panic("not yet") }
func (s *Service) Pending(ctx context.Context, c Caller) ([]Request, error)       { panic("not yet") }
func (s *Service) OpenReviews(ctx context.Context, c Caller) ([]Grant, error)     { panic("not yet") }
func (s *Service) Approvers(ctx context.Context, r Request) ([]QuorumView, error) { panic("not yet") }
func (s *Service) Refused(ctx context.Context, set *policy.Set) ([]*GrantError, error) {
	panic("not yet")
}

// Who may see and do what; nil is yes.
func (s *Service) CanWatch(ctx context.Context, userID, grantID string) error     { panic("not yet") }
func (s *Service) CanTerminate(ctx context.Context, userID, grantID string) error { panic("not yet") }
func (s *Service) CanReplay(ctx context.Context, userID, grantID string) error    { panic("not yet") }
func (s *Service) IsAdmin(u identity.User) bool                                   { panic("not yet") }
func (s *Service) IsAuditor(u identity.User) bool                                 { panic("not yet") }

// Run expires requests and grants until ctx is done.
func (s *Service) Run(ctx context.Context) error { panic("not yet") }

// WaitRequest blocks until the request is no longer pending.
func (s *Service) WaitRequest(ctx context.Context, feed audit.Source, id string) (Request, error) {
	panic("not yet")
}
