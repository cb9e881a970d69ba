// Package identity holds who people and machines are: users, their groups,
// keys and owners. It decides nothing about access.
//
// Stores return the errors of package store, wrapped.
// "The same person" is decided by owner, never by name: see User.Person.
package identity

import (
	"context"
	"net/netip"
	"slices"
	"time"

	"jit-gateway/internal/audit"
)

// Kind of a user.
type Kind string

const (
	Human   Kind = "human"
	Machine Kind = "machine"
)

// State of a user. A disabled user can do nothing and has no live sessions.
type State string

const (
	Active   State = "active"
	Disabled State = "disabled"
)

// User is a person or a machine identity.
type User struct {
	ID         string    `json:"id"`   // never reused
	Name       string    `json:"name"` // login name: [a-z0-9][a-z0-9._-]{0,63}
	Kind       Kind      `json:"kind"`
	Owner      string    `json:"owner,omitempty"` // User id of the person behind an alternate or machine account
	State      State     `json:"state"`
	Groups     []string  `json:"groups,omitempty"`
	Email      string    `json:"email,omitempty"` // for notifications only; never links identities
	Issuer     string    `json:"issuer,omitempty"`
	Subject    string    `json:"subject,omitempty"`    // OIDC (issuer, subject)
	SCIMID     string    `json:"scim_id,omitempty"`    // id that the SCIM client gave (externalId)
	ValidUntil time.Time `json:"valid_until,omitzero"` // contractors: disabled by itself afterwards
	CreatedAt  time.Time `json:"created_at"`
	LastSeen   time.Time `json:"last_seen,omitzero"`
	Version    int       `json:"version"` // for conditional updates

	DisplayName string         `json:"display_name,omitempty"` // for people, from an identity provider
	UserName    string         `json:"user_name,omitempty"`    // what the SCIM client calls them, in lower case
	Sources     []netip.Prefix `json:"sources,omitempty"`      // machines: the only addresses that they come from
	DisabledFor string         `json:"disabled_for,omitempty"` // why, where no administrator did it: a Disabled… constant
	EnabledAt   time.Time      `json:"enabled_at,omitzero"`    // by an administrator, after having been disabled
	Announced   string         `json:"announced,omitempty"`    // the coming end that was announced, so that it is once
}

// Why an account is disabled, where no administrator did it. What disabled it
// may enable it again; only an administrator enables the rest.
const (
	DisabledBySCIM     = "scim"
	DisabledDormant    = "dormant"
	DisabledValidUntil = "valid_until"
	DisabledByOwner    = "owner" // the account of who answers for it was disabled
)

// Person is the id of the human who answers for u: two users with the same
// Person are the same person for every rule about two people (G6).
func (u User) Person() string {
	if u.Owner != "" {
		return u.Owner
	}
	return u.ID
}

// In reports whether u belongs to the group.
func (u User) In(group string) bool { return slices.Contains(u.Groups, group) }

// MayComeFrom reports whether u may come from that address: a machine only
// from those on record, and one without any from nowhere.
func (u User) MayComeFrom(source netip.Addr) bool {
	source = source.Unmap().WithZone("")
	return u.Kind != Machine || slices.ContainsFunc(u.Sources, func(p netip.Prefix) bool { return p.Contains(source) })
}

// Usable reports whether u may do anything at all at the time now.
func (u User) Usable(now time.Time) bool {
	return u.State == Active && (u.ValidUntil.IsZero() || now.Before(u.ValidUntil))
}

// Key is a registered SSH public key. A key belongs to one user.
type Key struct {
	Fingerprint string    `json:"fingerprint"` // SHA256:… as ssh-keygen -l prints
	UserID      string    `json:"user_id"`
	Authorized  string    `json:"authorized"` // authorized_keys form without comment
	Comment     string    `json:"comment,omitempty"`
	CreatedAt   time.Time `json:"created_at"`
}

// Invite is a one-time code that lets its holder register a first key and
// second factor. Only the SHA-256 of the code is stored.
type Invite struct {
	ID        string    `json:"id"`
	UserID    string    `json:"user_id"`
	CodeHash  []byte    `json:"-"`
	CreatedBy string    `json:"created_by"` // User id, or "local-admin"
	CreatedAt time.Time `json:"created_at"`
	ExpiresAt time.Time `json:"expires_at"`
	UsedAt    time.Time `json:"used_at,omitzero"`
}

// Store is what the packages that read users need. Both stores implement it.
type Store interface {
	User(ctx context.Context, id string) (User, error)         // store.ErrNotFound
	UserByName(ctx context.Context, name string) (User, error) // store.ErrNotFound
	UserByKey(ctx context.Context, fingerprint string) (User, Key, error)
	Users(ctx context.Context) ([]User, error) // by name
	Keys(ctx context.Context, userID string) ([]Key, error)
}

// Writer changes users. Each call is one transaction with its event.
type Writer interface {
	CreateUser(ctx context.Context, u User, ev audit.Event) error // store.ErrExists
	// UpdateUser is conditional on u.Version and increments it: store.ErrConflict.
	UpdateUser(ctx context.Context, u User, ev audit.Event) error
	AddKey(ctx context.Context, k Key, ev audit.Event) error // store.ErrExists, also when another user has it
	RemoveKey(ctx context.Context, userID, fingerprint string, ev audit.Event) error
	TouchUser(ctx context.Context, id string, seen time.Time) error // LastSeen only; no event
}

// Invites is the store of one-time codes.
type Invites interface {
	CreateInvite(ctx context.Context, inv Invite, ev audit.Event) error
	InviteByHash(ctx context.Context, codeHash []byte) (Invite, error) // store.ErrNotFound
	// UseInvite marks it used at the time; store.ErrConflict if used or expired by then.
	UseInvite(ctx context.Context, id string, at time.Time, ev audit.Event) error
}
