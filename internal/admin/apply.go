package admin

import (
	"context"
	"errors"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"

	"jit-gateway/internal/audit"
	"jit-gateway/internal/identity"
	"jit-gateway/internal/store"
)

// Apply makes a change effective. Whoever calls it has decided that it may be
// made: Do and Decide are the ways for people.
func (s *Service) Apply(ctx context.Context, by By, ch Change) (Outcome, error) {
	out := Outcome{Change: ch}
	u := identity.User{}
	switch {
	case ch.Create != nil:
		u = *ch.Create
		err := s.o.Users.CreateUser(ctx, u, audit.Event{Type: audit.UserAdded, Outcome: audit.Success, Actor: by.Actor, User: u.ID,
			Detail: map[string]string{"name": u.Name, "kind": string(u.Kind), "groups": strings.Join(u.Groups, ",")}})
		if errors.Is(err, store.ErrExists) {
			return out, refuse(err, "There is a user %s already.", u.Name)
		}
		if err != nil {
			return out, err
		}
		out.User = &u
	case ch.User != "":
		var err error
		if u, err = s.o.Users.User(ctx, ch.User); err != nil {
			return out, err
		}
	}
	if ch.Key != "" {
		if err := s.addKey(ctx, by, u, ch.Key); err != nil {
			return out, err
		}
		out.User = &u
	}
	switch {
	case ch.Factor != nil && s.o.Machines == nil:
		return out, refuse(nil, "Machines are not set up here.")
	case ch.Factor != nil:
		out.User = &u
		_, err := s.o.Machines.Add(ctx, u.ID, *ch.Factor, by.Actor)
		return out, err
	case ch.Update != nil:
		changed, err := s.update(ctx, by, *ch.Update)
		out.User = &changed
		return out, err
	case ch.Invite != 0:
		out.User = &u
		return out, s.invite(ctx, by, u, max(ch.Invite, 0), &out)
	case len(ch.Targets) > 0:
		var err error
		out.Targets, err = s.putTargets(ctx, by, ch.Targets)
		return out, err
	}
	return out, nil
}

func (s *Service) update(ctx context.Context, by By, up Update) (identity.User, error) {
	u := up.User
	err := s.o.Users.UpdateUser(ctx, u, audit.Event{Type: up.Type, Outcome: audit.Success, Actor: by.Actor, User: u.ID, Reason: up.Detail["reason"], Detail: up.Detail})
	if errors.Is(err, store.ErrConflict) {
		return u, refuse(err, "Somebody changed %s at the same moment. Look again.", u.Name)
	}
	if errors.Is(err, store.ErrExists) {
		return u, refuse(err, "Another account is linked to that already.")
	}
	if err != nil {
		return u, err
	}
	return s.o.Users.User(ctx, u.ID)
}

func (s *Service) addKey(ctx context.Context, by By, u identity.User, line string) error {
	key, _, options, rest, err := ssh.ParseAuthorizedKey([]byte(line))
	if _, isCert := key.(*ssh.Certificate); err != nil || isCert || len(rest)+len(options) > 0 {
		return refuse(err, "That is not a plain public key.")
	}
	fp := ssh.FingerprintSHA256(key)
	err = s.o.Users.AddKey(ctx, identity.Key{Fingerprint: fp, UserID: u.ID, Authorized: strings.TrimSpace(line), CreatedAt: s.o.Now().UTC()},
		audit.Event{Type: audit.KeyAdded, Outcome: audit.Success, Actor: by.Actor, User: u.ID, Detail: map[string]string{"fingerprint": fp, "by": "administrator"}})
	if errors.Is(err, store.ErrExists) {
		return refuse(err, "That key is registered already.")
	}
	return err
}

// invite makes a one-time code, which is in the outcome and nowhere else.
func (s *Service) invite(ctx context.Context, by By, u identity.User, ttl time.Duration, out *Outcome) error {
	who := by.User.ID
	if by.LocalAdmin {
		who = "local-admin"
	}
	code, inv := identity.NewInvite(u.ID, who, s.o.Now(), ttl)
	err := s.o.Users.CreateInvite(ctx, inv, audit.Event{Type: audit.UserInvited, Outcome: audit.Success, Actor: by.Actor, User: u.ID,
		Detail: map[string]string{"invite": inv.ID, "expires": inv.ExpiresAt.UTC().Format(time.RFC3339)}})
	if err != nil {
		return err
	}
	out.Code, out.Expires = code, inv.ExpiresAt
	return nil
}
