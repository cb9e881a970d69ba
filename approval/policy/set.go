package policy

// Set is a compiled, immutable set of rules.
type Set struct {
	rules []Rule
}
