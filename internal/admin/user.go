package admin

import (
	"slices"
	"strings"
	"time"

	"jit-gateway/internal/audit"
	"jit-gateway/internal/display"
	"jit-gateway/internal/identity"
)

// Disable takes everything from a user at once: it never waits.
func Disable(u identity.User, reason string) Change {
	u.State = identity.Disabled
	return Change{Update: &Update{User: u, Type: audit.UserDisabled, Detail: map[string]string{"reason": display.Line(reason, 0)}}}
}

// Enable gives it back.
func Enable(u identity.User, now time.Time) (Change, string) {
	u.State, u.DisabledFor, u.EnabledAt = identity.Active, "", now.UTC()
	return Change{Update: &Update{User: u, Type: audit.UserEnabled, Widens: true}}, "enable the user " + u.Name
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
