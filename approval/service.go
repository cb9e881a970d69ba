package approval

import (
	"context"
	"errors"
	"log/slog"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"

	"jit-gateway/approval/policy"
	"jit-gateway/approval/risk"
	"jit-gateway/internal/audit"
	"jit-gateway/internal/identity"
	"jit-gateway/internal/inventory"
)

// Caller is who acts, as the handler verified it.
type Caller struct {
	UserID         string
	KeyFingerprint string // SSH key of the connection, or empty
	Source         string // address without port
	Via            string // ssh, postgres, web, admin.sock
	LocalAdmin     bool   // over admin.sock: no User; may revoke and see, never asks or approves
}

// Ask is what a request asks for.
type Ask struct {
	Targets      []string          // names or aliases; or
	Selector     map[string]string // labels, all of which must match
	Login        string            // empty: the only login allowed, else *ChooseLogin
	Reason       string
	Ticket       string
	Duration     time.Duration // 0: the rule's default
	StartAt      time.Time
	EndsWithLast bool
	Extends      string // grant id; Targets and Login may be empty: the grant's
	BreakGlass   bool   // an emergency: a break-glass rule applies, loudly
}

// Options builds a Service.
type Options struct {
	Users     identity.Store
	Inventory inventory.Inventory
	Rules     func() *policy.Set // current set; swapped atomically on reload
	Requests  Requests
	Grants    Grants
	Log       interface { // pure events, such as refusals
		Append(ctx context.Context, ev audit.Event) (audit.Event, error)
	}
	Now   func() time.Time
	Roles Roles

	// Clock says whether the clock can be trusted: behind the store's
	// high-water mark nobody is admitted, approved or activated (G5). Required.
	Clock func(ctx context.Context) error
	// Feed lets Run follow users that are disabled and sessions that end. Required by Run.
	Feed audit.Source
	// OpenSessions counts the sessions that are open under a grant, for grants
	// that end with their last session. Optional: without it none does.
	OpenSessions func(ctx context.Context, grantID string) (int, error)
	// History is the past, for risk findings. Optional: without it there are none.
	History risk.History
	// Findings keeps them until somebody has looked. Optional: without it they are in the log alone.
	Findings Findings
	// Expiring is how long before its end the log says that a grant ends soon;
	// zero: never.
	Expiring time.Duration
	// Tickets checks the ticket of a request before it is filed. Optional.
	Tickets Tickets
	// Zone is where unusual hours are judged; UTC if nil.
	Zone *time.Location
	// Logger tells operators of trouble in Run; discarded if nil.
	Logger *slog.Logger
}

// Roles maps groups to what their members may see and do beyond rules.
type Roles struct {
	Admins   []string // groups
	Auditors []string // groups
}

// Service decides who may use what until when. It is safe for concurrent use,
// also by several gateways over one store: every change of a request or grant
// is one conditional update with its audit event.
type Service struct {
	o       Options
	oldSets *lru.Cache[string, *policy.Set] // approved rules that are no longer the current ones, compiled, by hash
}

// New returns a Service, or an error that names the missing option.
func New(o Options) (*Service, error) {
	for name, missing := range map[string]bool{
		"Users": o.Users == nil, "Inventory": o.Inventory == nil, "Rules": o.Rules == nil, "Requests": o.Requests == nil,
		"Grants": o.Grants == nil, "Log": o.Log == nil, "Now": o.Now == nil, "Clock": o.Clock == nil,
	} {
		if missing {
			return nil, errors.New("approval: option " + name + " is missing")
		}
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	cache, err := lru.New[string, *policy.Set](256)
	if err != nil {
		return nil, err
	}
	return &Service{o: o, oldSets: cache}, nil
}

// now is the time in the precision that stores keep.
func (s *Service) now() time.Time { return s.o.Now().UTC().Truncate(time.Millisecond) }
