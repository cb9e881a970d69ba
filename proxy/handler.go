package proxy

import (
	"context"
	"net"

	"jit-gateway/approval"
	"jit-gateway/internal/identity"
	"jit-gateway/internal/inventory"
)

// Identity is who is at the other end of a connection, as another handler has
// verified it already.
type Identity struct {
	User     identity.User
	Caller   approval.Caller
	Terminal Terminal // nil when there is nobody to ask
	Grant    string   // if not empty, nothing but this grant may be used: a certificate for it logged in
}

// Terminal is the person at the other end: dialogue.Terminal, which documents
// the methods.
type Terminal interface {
	Say(ctx context.Context, text string) error
	Ask(ctx context.Context, prompt string, echo bool) (string, error)
	Alive(ctx context.Context) error
}

// A Handler terminates one wire protocol on a connection whose user is known:
// a tunnel, or a nested hop. An empty login means that the protocol names it.
//
// Serve MUST NOT return before every goroutine that it started has ended, and
// MUST NOT relay a byte before session.Manager.Begin succeeded. It closes conn.
type Handler interface {
	Serve(ctx context.Context, id Identity, t inventory.Target, login string, conn net.Conn) error
}
