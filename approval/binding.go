package approval

import (
	"fmt"
	"net/netip"
	"slices"
	"time"

	"jit-gateway/approval/policy"
)

// binding returns the index of the binding that lets the caller pass, the
// freshest if several do, and -1 if none does.
func binding(g Grant, rule policy.Rule, in AdmitInput) int {
	best := -1
	for i, b := range g.Bindings {
		ok := in.Token || b.KeyFingerprint == in.KeyFingerprint && samePlace(b.Source, in.Source, rule.Factor.SourcesShared)
		if ok && (best < 0 || b.FactorAt.After(g.Bindings[best].FactorAt)) {
			best = i
		}
	}
	return best
}

// samePlace reports whether two addresses are the same, or in one network
// that the rule lists as shared.
func samePlace(a, b string, shared []netip.Prefix) bool {
	x, y := address(a), address(b)
	if !x.IsValid() || !y.IsValid() {
		return false
	}
	return x == y || slices.ContainsFunc(shared, func(p netip.Prefix) bool { return p.Contains(x) && p.Contains(y) })
}

// fresh refuses a factor that is too old for the rule.
func fresh(g Grant, b Binding, rule policy.Rule, now time.Time) error {
	if limit := rule.Factor.MaxAge.Std(); limit > 0 && now.Sub(b.FactorAt) > limit {
		return &GrantError{ErrCodeNeeded, g, fmt.Sprintf("grant %s: the last code is older than %s", g.ID, rule.Factor.MaxAge)}
	}
	return nil
}
