package approval

import (
	"context"
	"time"

	"jit-gateway/internal/audit"
)

// Requests keeps requests. Both stores implement it.
type Requests interface {
	CreateRequest(ctx context.Context, r Request, ev audit.Event) error // with Version 1; store.ErrExists if the id was ever used
	Request(ctx context.Context, id string) (Request, error)            // store.ErrNotFound
	ListRequests(ctx context.Context, f RequestFilter) ([]Request, error)
	// UpdateRequest writes State and what follows it in Request if the
	// stored Version is r.Version and the state is Pending (store.ErrConflict
	// otherwise), increments Version, and in the same transaction creates the
	// grant if g is not nil.
	UpdateRequest(ctx context.Context, r Request, g *Grant, ev audit.Event) error
}

// RequestFilter selects requests; zero fields select all. Newest first.
type RequestFilter struct {
	UserID string
	State  RequestState
	Target string
	Since  time.Time
	Limit  int // 100 if zero
}

// Grants keeps grants. Both stores implement it.
type Grants interface {
	Grant(ctx context.Context, id string) (Grant, error) // store.ErrNotFound
	ListGrants(ctx context.Context, f GrantFilter) ([]Grant, error)
	// UpdateGrant writes what may change after approval (State and all that
	// follows it in Grant, and End) if the stored Version is g.Version, and
	// increments it: store.ErrConflict otherwise.
	UpdateGrant(ctx context.Context, g Grant, ev audit.Event) error
}

// GrantFilter selects grants; zero fields select all. Newest first.
type GrantFilter struct {
	UserID string
	States []GrantState
	Target string
	Since  time.Time
	Limit  int // 100 if zero
	// OpenReview asks for emergencies that were used and not reviewed. A store may
	// ignore it and return more.
	OpenReview bool
}
