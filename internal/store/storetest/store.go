// Package storetest is the contract that every store is held to: Run plays it
// against any implementation. What a store promises is written on the
// interfaces of the packages that use it; here it is tried, races and failures
// included.
//
// Start reading at Run.
package storetest

import (
	"context"
	"time"

	"jit-gateway/approval"
	"jit-gateway/approval/mfa"
	"jit-gateway/approval/risk"
	"jit-gateway/ca"
	"jit-gateway/internal/audit"
	"jit-gateway/internal/identity"
	"jit-gateway/internal/inventory"
	"jit-gateway/internal/store"
	"jit-gateway/session"
)

// Store is all that a store implements.
type Store interface {
	identity.Store
	identity.Writer
	identity.Invites
	inventory.Store
	mfa.Store
	approval.Requests
	approval.Grants
	session.Store
	session.Credentials
	session.Instances
	ca.TokenStore
	risk.History
	audit.Source
	audit.Log
	audit.LogReader
	Events
	Subjects
	SCIM
	Page
	Findings
	AdminActs
	Recordings
	Lines
	Gateways
	Close() error
}

// Events is the log beyond audit.Source.
type Events interface {
	Append(ctx context.Context, ev audit.Event) (audit.Event, error)
	AppendAll(ctx context.Context, evs []audit.Event) ([]audit.Event, error) // all or none
	FindEvents(ctx context.Context, f audit.Filter) ([]audit.Event, error)   // newest first
	Leaf(ctx context.Context, seq int64) (audit.Leaf, error)
	Cursor(ctx context.Context, name string) (int64, error) // -1 at first
	SaveCursor(ctx context.Context, name string, seq int64) error
}

// Subjects finds users by what an identity provider calls them.
type Subjects interface {
	UserBySubject(ctx context.Context, issuer, subject string) (identity.User, error)
	UserBySCIM(ctx context.Context, scimID string) (identity.User, error)
}

// Page keeps browsers' sign-ins and one-time links.
type Page interface {
	CreatePageSession(ctx context.Context, s store.PageSession, ev audit.Event) error
	PageSession(ctx context.Context, id string) (store.PageSession, error)
	PageSessionsOf(ctx context.Context, userID string) ([]store.PageSession, error) // newest first
	TouchPageSession(ctx context.Context, id string, seen time.Time) error
	DeletePageSession(ctx context.Context, id string, ev audit.Event) error
	DeletePageSessionsOf(ctx context.Context, userID string, ev audit.Event) (int, error)
	CreateLink(ctx context.Context, l store.Link, ev audit.Event) error
	Link(ctx context.Context, hash []byte, now time.Time) (store.Link, error)
	UseLink(ctx context.Context, hash []byte, now time.Time, ev audit.Event) error
}

// Findings keeps what somebody should look at.
type Findings interface {
	RaiseFinding(ctx context.Context, f store.Finding, ev audit.Event) error
	Finding(ctx context.Context, id string) (store.Finding, error)
	Findings(ctx context.Context, f store.FindingFilter) ([]store.Finding, error)
	AckFinding(ctx context.Context, id, by, note string, when time.Time, ev audit.Event) error
}

// AdminActs keeps what waits for a second administrator.
type AdminActs interface {
	CreateAdminAct(ctx context.Context, a store.AdminAct, ev audit.Event) error
	AdminAct(ctx context.Context, id string) (store.AdminAct, error)
	AdminActs(ctx context.Context, state store.ActState, limit int) ([]store.AdminAct, error)
	DecideAdminAct(ctx context.Context, a store.AdminAct, ev audit.Event) error
}

// Recordings keeps what is known of sealed recordings.
type Recordings interface {
	AddRecording(ctx context.Context, r store.Recording) error
	Recording(ctx context.Context, session string) (store.Recording, error)
	Recordings(ctx context.Context, f store.RecordingFilter) ([]store.Recording, error)
	HoldRecording(ctx context.Context, session string, h store.Hold, ev audit.Event) error
	ReleaseRecording(ctx context.Context, session string, ev audit.Event) error
	StoreRecording(ctx context.Context, session string, o store.Object, ev audit.Event) error
	ObjectHeld(ctx context.Context, session string, held bool) error
	OrderDeletion(ctx context.Context, session string, d store.Deletion, ev audit.Event) error
	DeletionDone(ctx context.Context, session string, when time.Time, ev audit.Event) error
	DeletionFailed(ctx context.Context, session, why string, ev audit.Event) error
}

// Lines is the full-text index over recordings.
type Lines interface {
	IndexLines(ctx context.Context, session string, lines []store.Line) error
	SearchLines(ctx context.Context, query string, f store.LineFilter) ([]store.LineHit, error)
	DropIndex(ctx context.Context, session string) error
}
