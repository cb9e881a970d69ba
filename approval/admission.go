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
type Admission struct {
	ok     bool
	grant  Grant
	user   identity.User
	target inventory.Target
	rule   policy.Rule
	source string
	key    string
	token  bool
	at     time.Time
}

// Check returns an error unless a was made by Service.Admit and its window is
// open at the time now. Every consumer MUST call it before acting.
func (a Admission) Check(now time.Time) error {
	switch {
	case !a.ok:
		return errors.New("no admission")
	case !a.grant.Live(now):
		return fmt.Errorf("grant %s is not open at %s", a.grant.ID, now.UTC().Format(time.RFC3339))
	}
	return nil
}

// Grant is the live grant.
func (a Admission) Grant() Grant { return a.grant }

// User is the user as read at admission.
func (a Admission) User() identity.User { return a.user }

// Target is the definition that was approved and is still current.
func (a Admission) Target() inventory.Target { return a.target }

// Login is the login or role on the target.
func (a Admission) Login() string { return a.grant.Login }

// Rule is the stricter of the approved and the current rule.
func (a Admission) Rule() policy.Rule { return a.rule }

// Source is the client's address without port.
func (a Admission) Source() string { return a.source }

// KeyFingerprint is the SSH key of the outer connection, empty for a database token.
func (a Admission) KeyFingerprint() string { return a.key }

// End is the exact end of the window.
func (a Admission) End() time.Time { return a.grant.End }

// EndOf is the exact end as g, the admission's grant read again, has it: a
// rule that has become shorter shortens an extended window too.
func (a Admission) EndOf(g Grant) time.Time { return shortened(g, a.rule) }
