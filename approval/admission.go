package approval

import (
	"errors"
	"fmt"
	"time"

	"jit-gateway/approval/policy"
	"jit-gateway/internal/identity"
	"jit-gateway/internal/inventory"
)

// An Admission says that a user may open a session on a target now: approved,
// second factor given, checked against the current user, target, rule and
// clock. Only Service.Admit makes one; the zero value admits nothing. ca and
// session take nothing less (guarantee G1).
//
// It is small and never changes: sessions keep it on the stacks of what waits.
type Admission struct{ of *admitted }

type admitted struct {
	grant  Grant
	user   identity.User
	target inventory.Target
	rule   policy.Rule
	source string
	key    string
	token  bool
}

var nothing admitted

// is what was admitted, also of the zero value.
func (a Admission) is() *admitted {
	if a.of == nil {
		return &nothing
	}
	return a.of
}

// Check returns an error unless a was made by Service.Admit and its window is
// open at the time now. Every consumer MUST call it before acting.
func (a Admission) Check(now time.Time) error {
	switch {
	case a.of == nil:
		return errors.New("no admission")
	case !a.is().grant.Live(now):
		return fmt.Errorf("grant %s is not open at %s", a.is().grant.ID, now.UTC().Format(time.RFC3339))
	}
	return nil
}

// Grant is the live grant.
func (a Admission) Grant() Grant { return a.is().grant }

// User is the user as read at admission.
func (a Admission) User() identity.User { return a.is().user }

// Target is the definition that was approved and is still current.
func (a Admission) Target() inventory.Target { return a.is().target }

// Login is the login or role on the target.
func (a Admission) Login() string { return a.is().grant.Login }

// Rule is the stricter of the approved and the current rule.
func (a Admission) Rule() policy.Rule { return a.is().rule }

// Source is the client's address without port.
func (a Admission) Source() string { return a.is().source }

// KeyFingerprint is the SSH key of the outer connection, empty for a database token.
func (a Admission) KeyFingerprint() string { return a.is().key }

// End is the exact end of the window.
func (a Admission) End() time.Time { return a.is().grant.End }

// EndOf is the exact end as g, the admission's grant read again, has it: a
// rule that has become shorter shortens an extended window too.
func (a Admission) EndOf(g Grant) time.Time { return shortened(g, a.is().rule) }
