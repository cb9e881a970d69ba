package identity

import (
	"context"
	"fmt"
	"regexp"
	"strings"
)

var (
	validName = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{0,63}$`)
	// reserved names would read as somebody else in the log or as a command.
	reserved = map[string]bool{"gateway": true, "local-admin": true, "root": true, "jit-gateway": true, "enroll": true}
)

// ValidName returns an error that says what a user name may be, unless name is one.
func ValidName(name string) error {
	if !validName.MatchString(name) {
		return fmt.Errorf("%q is not a user name: write up to 64 lower-case letters, digits, dots, dashes or underscores, beginning with a letter or digit", name)
	}
	if reserved[name] {
		return fmt.Errorf("%q is a reserved name", name)
	}
	return nil
}

// LoginName makes a login name of what an identity provider calls somebody:
// lower case, without a domain. It may be none: see ValidName.
func LoginName(s string) string {
	s, _, _ = strings.Cut(strings.ToLower(strings.TrimSpace(s)), "@")
	return s
}

// ValidGroup is the same for names of groups, which may come from elsewhere
// and so may hold blanks, colons, slashes and capitals.
func ValidGroup(name string) error {
	if !validGroup.MatchString(name) {
		return fmt.Errorf("%q is not a group name", name)
	}
	return nil
}

var validGroup = regexp.MustCompile(`^[\p{L}\p{N}][\p{L}\p{N} ._:/@+-]{0,127}$`)

// maxOwners is how long a chain of owners may be: an account, its owner, and some history.
const maxOwners = 8

// Person resolves who answers for u through any number of owners. User.Person
// takes one step alone, which an account that is owned by an owned account
// would slip through. A circle, an owner who is missing, and a chain beyond reason are
// errors: then nobody knows who it is, and callers refuse.
func Person(ctx context.Context, s Store, u User) (string, error) {
	seen := map[string]bool{}
	for range maxOwners {
		if u.Owner == "" || u.Owner == u.ID {
			return u.ID, nil
		}
		if seen[u.ID] {
			return "", fmt.Errorf("the owners of %q form a circle", u.Name)
		}
		seen[u.ID] = true
		owner, err := s.User(ctx, u.Owner)
		if err != nil {
			return "", fmt.Errorf("look up the owner of %q: %w", u.Name, err)
		}
		u = owner
	}
	return "", fmt.Errorf("%q has too many owners above it", u.Name)
}
