package sshproxy

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"time"

	"jit-gateway/internal/audit"
	"jit-gateway/internal/dialogue"
	"jit-gateway/internal/identity"
	"jit-gateway/internal/inventory"
)

// Options builds a Server. Fields without a stated default are required.
type Options struct {
	Users     identity.Store
	Inventory inventory.Inventory
	Feed      audit.Source // followed for disabled users and removed keys
	Commands  func(context.Context, dialogue.Invocation) int

	// Secrets resolves the reference of a target's configured key; targets
	// with one are refused if it is nil.
	Secrets func(ref string) (string, error)
	// Egress are the addresses that targets see the gateway come from: the
	// source-address of user certificates. Empty: the local address of the
	// connection that is about to use the certificate.
	Egress []netip.Prefix
	// AllowTargetSources accepts outer logins from addresses of targets,
	// which are refused by default: a host with a forwarded agent must not
	// ride on live grants.
	AllowTargetSources bool
	// Name is how people call the gateway in commands; "jit-gateway" if empty.
	Name string
	// Register says where an unknown key is registered, for the banner.
	Register string
	// LoginTime bounds a handshake and outer authentication; 30s if zero.
	LoginTime time.Duration
	Log       *slog.Logger     // slog.Default if nil
	Now       func() time.Time // time.Now if nil
}

// A Server handles SSH connections of users.
type Server struct {
	o Options
}

// New checks the options.
func New(o Options) (*Server, error) {
	if o.Users == nil || o.Inventory == nil || o.Commands == nil {
		return nil, errors.New("sshproxy: Users, Inventory and Commands are needed")
	}
	return &Server{o: o}, nil
}

// ServeConn handles one connection of a user until it ends, or ctx does. It
// closes conn.
func (s *Server) ServeConn(ctx context.Context, conn net.Conn) {
	panic("not yet")
}

// Run follows the audit feed until ctx is done, and closes the connections of
// users who were disabled and of keys that were removed.
func (s *Server) Run(ctx context.Context) error { panic("not yet") }
