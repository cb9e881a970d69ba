// Package policy decides from rules: who may ask for which targets, for how
// long, under which conditions, and who must say yes. It is pure: every fact
// that a decision depends on is a field of Input, and the same Input always
// gets the same Verdict.
//
// The first deny rule that matches wins; else the first allow rule whose
// conditions all hold; else the answer is no. Whatever cannot be evaluated
// denies.
//
// Start reading at Rule, then Set.Decide; docs/rules.md tells the same to
// those who write rules.
package policy
