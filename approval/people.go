package approval

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"jit-gateway/approval/mfa"
	"jit-gateway/internal/audit"
	"jit-gateway/internal/identity"
	"jit-gateway/internal/store"
)

// ProofAge is how old a proof may be that approves, activates or confirms.
const ProofAge = 5 * time.Minute

// caller reads who acts, as they are now: state, validity and key registration (G6, G10).
func (s *Service) caller(ctx context.Context, c Caller) (identity.User, error) {
	if c.UserID == "" {
		return identity.User{}, refuse(ErrForbidden, "this needs a user; the local administrator is none")
	}
	u, err := s.o.Users.User(ctx, c.UserID)
	if errors.Is(err, store.ErrNotFound) {
		return identity.User{}, refuse(ErrUserDisabled, "your account is gone")
	}
	if err != nil {
		return identity.User{}, fmt.Errorf("read the user: %w", err)
	}
	if !u.Usable(s.o.Now()) {
		return identity.User{}, refuse(ErrUserDisabled, "your account %s is disabled; ask an administrator", u.Name)
	}
	if err := s.machine(ctx, u, c); err != nil {
		return identity.User{}, err
	}
	if c.KeyFingerprint == "" {
		return u, nil
	}
	keys, err := s.o.Users.Keys(ctx, u.ID)
	if err != nil {
		return identity.User{}, fmt.Errorf("read the keys of %s: %w", u.Name, err)
	}
	if !slices.ContainsFunc(keys, func(k identity.Key) bool { return k.Fingerprint == c.KeyFingerprint && k.UserID == u.ID }) {
		return identity.User{}, refuse(ErrUserDisabled, "the key of this connection is no longer registered for %s", u.Name)
	}
	return u, nil
}

// machine holds a machine to its record: it comes from its addresses alone,
// and somebody who can still answer for it is its owner.
func (s *Service) machine(ctx context.Context, u identity.User, c Caller) error {
	if u.Kind != identity.Machine {
		return nil
	}
	if c.Source != "" && !u.MayComeFrom(address(c.Source)) || c.Source == "" && c.Via != "" {
		return refuse(ErrForbidden, "the machine %s may not come from %s; an administrator changes that: jit-gateway user set %s --source NETWORK", u.Name, c.Source, u.Name)
	}
	owner, err := s.o.Users.User(ctx, u.Owner)
	if u.Owner == "" || errors.Is(err, store.ErrNotFound) || err == nil && (!owner.Usable(s.o.Now()) || owner.Kind == identity.Machine) {
		return refuse(ErrForbidden, "nobody who is active answers for the machine %s; an administrator names an owner: jit-gateway user set %s --owner USER", u.Name, u.Name)
	}
	if err != nil {
		return fmt.Errorf("read the owner of %s: %w", u.Name, err)
	}
	return nil
}

// machineProof refuses a factor that is not for the kind of user: a code that a
// machine computes from a seed beside its key is no second factor (G1).
func machineProof(u identity.User, p mfa.Proof) error {
	forMachines := p.Kind() == mfa.JobToken || p.Kind() == mfa.MTLS
	switch {
	case u.Kind == identity.Machine && !forMachines:
		return refuse(ErrProofNeeded, "a machine proves itself by its job's token or its certificate: activate --token-stdin, or --challenge and --cert-stdin")
	case u.Kind != identity.Machine && forMachines:
		return refuse(ErrProofNeeded, "that second factor is for machines")
	}
	return nil
}

// actor is the caller as the log names them.
func actor(u identity.User, c Caller) audit.Actor {
	if c.LocalAdmin && u.ID == "" {
		return audit.Actor{Name: "local-admin", Source: c.Source, Via: c.Via}
	}
	return audit.Actor{ID: u.ID, Name: u.Name, Source: c.Source, Via: c.Via}
}

// proof checks that p is fresh, of the caller and of one of the kinds, and
// returns what is kept of it. A passkey signs what it is for, and so must be for digest.
func (s *Service) proof(c Caller, p mfa.Proof, kinds []string, digest string) (FactorRecord, error) {
	age := s.o.Now().Sub(p.At())
	switch {
	case !p.Valid() || p.UserID() != c.UserID || c.UserID == "":
		return FactorRecord{}, refuse(ErrProofNeeded, "this needs a code of your second factor")
	case age > ProofAge || age < -time.Minute:
		return FactorRecord{}, refuse(ErrProofNeeded, "that code was given too long ago; give a fresh one")
	case len(kinds) > 0 && !slices.Contains(kinds, string(p.Kind())):
		return FactorRecord{}, refuse(ErrProofNeeded, "the rule wants another second factor here: %s", wanted(kinds))
	case p.Kind() == mfa.Passkey && p.Digest() != digest:
		return FactorRecord{}, refuse(ErrProofNeeded, "the passkey was used for something else; use it for this")
	case p.Kind() == mfa.MTLS && p.Digest() != digest:
		return FactorRecord{}, refuse(ErrProofNeeded, "the certificate was used for something else; use it for this")
	}
	return FactorRecord{Kind: p.Kind(), FactorID: p.FactorID(), Evidence: p.Evidence(), At: p.At()}, nil
}

// wanted names the factors that a rule takes, and where they can be given.
func wanted(kinds []string) string {
	if slices.Equal(kinds, []string{string(mfa.Passkey)}) {
		return "a passkey, which the page takes"
	}
	return strings.Join(kinds, " or ")
}

// clock refuses while the clock cannot be trusted (G5).
func (s *Service) clock(ctx context.Context) error {
	if err := s.o.Clock(ctx); err != nil {
		return refuse(ErrClock, "the gateway cannot trust its clock or its store now, and lets nobody in: %v", err)
	}
	return nil
}

// address reads a source address; the zero Addr is outside every network.
func address(source string) netip.Addr {
	a, err := netip.ParseAddr(source)
	if err != nil {
		return netip.Addr{}
	}
	return a.Unmap().WithZone("")
}

// IsAdmin reports whether u is an administrator.
func (s *Service) IsAdmin(u identity.User) bool { return slices.ContainsFunc(s.o.Roles.Admins, u.In) }

// IsAuditor reports whether u is an auditor.
func (s *Service) IsAuditor(u identity.User) bool {
	return slices.ContainsFunc(s.o.Roles.Auditors, u.In)
}
