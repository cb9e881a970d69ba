package web

import (
	"context"
	"net/http"

	"jit-gateway/approval"
	"jit-gateway/approval/mfa"
	"jit-gateway/internal/audit"
	"jit-gateway/internal/identity"
	"jit-gateway/internal/store"
)

// People is what the page needs for one's own account. What is nil is not offered.
type People struct {
	Passkeys *mfa.Passkeys
	Accounts Accounts
	Browsers Browsers
	Invites  identity.Invites
	// Client gives the lines to paste for the viewer's own clients.
	Client func(ctx context.Context, c approval.Caller, u identity.User) (Client, error)
}

// Accounts registers one's keys. Both stores implement it.
type Accounts interface {
	AddKey(ctx context.Context, k identity.Key, ev audit.Event) error
	RemoveKey(ctx context.Context, userID, fingerprint string, ev audit.Event) error
}

// Browsers lists where one is signed in. Both stores implement it.
type Browsers interface {
	PageSessionsOf(ctx context.Context, userID string) ([]store.PageSession, error)
}

// Client is how the viewer's own clients reach the gateway.
type Client struct {
	SSHConfig    string // for ~/.ssh/config
	KnownHosts   string // for ~/.ssh/known_hosts
	Host         string // address of the gateway
	SSHPort      int
	PostgresPort int // 0: there is no database listener
	CA           string
}

// handle is a page's handler.
type handle = func(http.ResponseWriter, *http.Request, *viewer) error

// personRoutes are those of requesters, approvers and one's own account.
func (s *Server) personRoutes(plain func(string, http.HandlerFunc), page func(string, handle)) {
	plain("POST /sign-in/passkey/begin", s.limited(s.beginPasskeySignIn))
	plain("POST /sign-in/passkey", s.limited(s.passkeySignIn))
	plain("GET /enroll", s.enrollForm)
	plain("POST /enroll/begin", s.limited(s.beginEnroll))
	plain("POST /enroll", s.limited(s.enroll))

	page("POST /passkey/begin", s.beginPasskey)
	page("GET /you", s.you)
	page("GET /you/client", s.client)
	page("POST /you/passkeys/begin", s.beginNewPasskey)
	page("POST /you/passkeys", s.addPasskey)
	page("POST /you/factors/{id}/rename", s.renameFactor)
	page("POST /you/factors/{id}/remove", s.removeFactor)
	page("GET /you/authenticator", s.authenticatorForm)
	page("POST /you/authenticator", s.replaceAuthenticator)
	page("POST /you/recovery", s.newRecovery)
	page("POST /you/keys/check", s.checkKey)
	page("POST /you/keys", s.addKey)
	page("POST /you/keys/remove", s.removeKey)
	page("POST /you/browsers/sign-out", s.signOutBrowser)

	page("POST /requests/approve", s.approveMany)
	page("GET /grants/{id}/extend", s.extendForm)
	page("POST /grants/{id}/extend", s.extend)
	page("POST /grants/{id}/revoke", s.revoke)
	page("POST /grants/{id}/review", s.review)
}
