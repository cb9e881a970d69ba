// Package admin is what administrators do to users and targets, as data: the
// command interface and the page describe a change, this package decides
// whether one administrator is enough, keeps it for a second one if not, and
// makes it (guarantee G6).
//
// What makes an approver or widens access waits for a second administrator
// once there are two. What takes access away never waits. Whoever is at
// admin.sock owns the machine, its store and its keys; asking them for more
// would show a guarantee that does not exist.
//
// It refuses: a second administrator who is the same person, under whatever
// account; an act that was answered, or that has expired; a definition of a
// target that cannot work. Callers have taken a fresh second factor before
// they call Do or Decide.
//
// Start reading at Service.Do.
package admin

import (
	"context"
	"fmt"
	"time"

	"jit-gateway/approval/mfa"
	"jit-gateway/internal/audit"
	"jit-gateway/internal/identity"
	"jit-gateway/internal/inventory"
	"jit-gateway/internal/store"
)

// Kind is what Change is called in store.AdminAct.Kind.
const Kind = "change"

// A Change is one act. It is kept as JSON while it waits, so the names of its
// members stay.
type Change struct {
	Create  *identity.User     `json:"create,omitempty"`
	Update  *Update            `json:"update,omitempty"`
	Key     string             `json:"key,omitempty"` // authorized_keys line: for Create, or for User
	User    string             `json:"user,omitempty"`
	Invite  time.Duration      `json:"invite,omitempty"` // a one-time code for Create or User; negative: the default lifetime
	Targets []inventory.Target `json:"targets,omitempty"`
	Factor  *mfa.NewBinding    `json:"factor,omitempty"` // of the machine User
}

// Update is a user as it is to be. It is conditional on the version in it.
type Update struct {
	User   identity.User     `json:"user"`
	Type   audit.Type        `json:"type"`
	Detail map[string]string `json:"detail,omitempty"`
	Widens bool              `json:"widens,omitempty"`
}

// Widens reports whether somebody can do more after the change.
func (ch Change) Widens() bool {
	switch {
	case ch.Key != "", ch.Invite != 0, len(ch.Targets) > 0, ch.Factor != nil:
		return true
	case ch.Create != nil:
		return len(ch.Create.Groups) > 0
	case ch.Update != nil:
		return ch.Update.Widens
	}
	return false
}

// By is who makes a change.
type By struct {
	User       identity.User // zero for the local administrator
	LocalAdmin bool
	Actor      audit.Actor
}

// Outcome is what came of a change.
type Outcome struct {
	Change  Change
	Act     *store.AdminAct // waits for a second administrator, or was refused: nothing was changed
	User    *identity.User  // created, changed, or given a key
	Code    string          // one-time, for User: shown once, kept nowhere
	Expires time.Time       // of Code
	Targets []string
	Done    string // what came of an act of another kind
}

// A Refusal is an error whose text is for whoever asked.
type Refusal struct {
	Text string
	err  error
}

func (r *Refusal) Error() string { return r.Text }

// Unwrap returns the store's error.
func (r *Refusal) Unwrap() error { return r.err }

func refuse(err error, format string, args ...any) error {
	return &Refusal{fmt.Sprintf(format, args...), err}
}

// Users is the store of users.
type Users interface {
	identity.Store
	identity.Writer
	identity.Invites
}

// Acts is the store of changes that wait.
type Acts interface {
	CreateAdminAct(ctx context.Context, a store.AdminAct, ev audit.Event) error
	AdminAct(ctx context.Context, id string) (store.AdminAct, error)
	AdminActs(ctx context.Context, state store.ActState, n int) ([]store.AdminAct, error)
	// DecideAdminAct has one winner; the others get store.ErrConflict.
	DecideAdminAct(ctx context.Context, a store.AdminAct, ev audit.Event) error
}
