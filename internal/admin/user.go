package admin

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"jit-gateway/internal/audit"
	"jit-gateway/internal/display"
	"jit-gateway/internal/identity"
	"jit-gateway/internal/store"
)

// Disable takes everything from a user at once: it never waits. What
// something else had disabled is disabled by an administrator from now on, so
// that nothing else enables it again.
func Disable(u identity.User, reason string) Change {
	u.State, u.DisabledFor = identity.Disabled, ""
	return Change{Update: &Update{User: u, Type: audit.UserDisabled, Detail: map[string]string{"reason": display.Line(reason, 0)}}}
}

// Enable gives it back.
func Enable(u identity.User, now time.Time) (Change, string) {
	u.State, u.DisabledFor, u.EnabledAt = identity.Active, "", now.UTC()
	return Change{Update: &Update{User: u, Type: audit.UserEnabled, Widens: true}}, "enable the user " + u.Name
}

// answeredFor refuses to enable an account while that of who answers for it is
// disabled: it would be disabled again in the same moment.
func (s *Service) answeredFor(ctx context.Context, ch Change) error {
	if ch.Update == nil || ch.Update.Type != audit.UserEnabled || ch.Update.User.Owner == "" {
		return nil
	}
	u := ch.Update.User
	owner, err := s.o.Users.User(ctx, u.Owner)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return err
	}
	if err != nil || owner.State != identity.Active {
		return refuse(nil, "The account that answers for %s is disabled. First name another: user set %s --owner USER", u.Name, u.Name)
	}
	return nil
}

// Regroup puts a user into exactly these groups. It widens if one is new.
func Regroup(u identity.User, groups []string) (Change, string) {
	had := u.Groups
	u.Groups = CleanGroups(groups)
	after := strings.Join(u.Groups, ",")
	up := Update{User: u, Type: audit.UserUpdated, Detail: map[string]string{"groups_before": strings.Join(had, ","), "groups": after},
		Widens: slices.ContainsFunc(u.Groups, func(g string) bool { return !slices.Contains(had, g) })}
	return Change{Update: &up}, "change the user " + u.Name + ", groups: " + after
}

// CleanGroups splits, sorts and compacts what a person typed: at commas and
// line ends, never at blanks, which names of groups may hold. "web leads" must
// not become the group leads.
func CleanGroups(gs []string) []string {
	var out []string
	for _, g := range gs {
		for _, one := range strings.FieldsFunc(g, func(r rune) bool { return r == ',' || r == '\n' || r == '\r' }) {
			if one = strings.TrimSpace(one); one != "" {
				out = append(out, one)
			}
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}
