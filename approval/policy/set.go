package policy

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
)

// Set is a compiled, immutable set of rules. A nil Set denies everything.
type Set struct {
	rules []*compiled
	hash  string
}

// compiled is a rule with what had to be parsed.
type compiled struct {
	Rule
	hours  *hours
	ticket *regexp.Regexp
	when   *when
}

// FieldError names the rule and the YAML field that is wrong, so that the
// reader of the configuration can add file and line.
type FieldError struct {
	Rule  string // name, may be empty
	Index int    // position in the list, from 0
	Field string // path below the rule, as in YAML: "hours.from", "approve[0].count"
	Msg   string // what is wrong and what would be right
}

func (e *FieldError) Error() string {
	name := fmt.Sprintf("%q", e.Rule)
	if e.Rule == "" {
		name = fmt.Sprintf("number %d", e.Index+1)
	}
	return fmt.Sprintf("rule %s: %s: %s", name, e.Field, e.Msg)
}

// NewSet checks and compiles rules. Its error joins one *FieldError for each
// mistake, in the order of the rules.
func NewSet(rules []Rule) (*Set, error) {
	s := &Set{}
	var errs []error
	names := map[string]int{}
	for i, r := range rules {
		c := &checker{rule: r, index: i}
		if first, ok := names[r.Name]; ok && r.Name != "" {
			c.bad("name", "rule number %d has the same name", first+1)
		}
		names[r.Name] = i
		out := c.compile()
		errs = append(errs, c.errs...)
		s.rules = append(s.rules, out)
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	b, err := json.Marshal(s.Rules())
	if err != nil {
		return nil, fmt.Errorf("encode rules: %w", err)
	}
	sum := sha256.Sum256(b)
	s.hash = hex.EncodeToString(sum[:])
	return s, nil
}

// Hash is the SHA-256, in hex, of the rules in their order.
func (s *Set) Hash() string {
	if s == nil {
		return ""
	}
	return s.hash
}

// Rules are the rules in order.
func (s *Set) Rules() []Rule {
	if s == nil {
		return nil
	}
	out := make([]Rule, len(s.rules))
	for i, c := range s.rules {
		out[i] = c.Rule
	}
	return out
}

// Rule returns the rule of that name.
func (s *Set) Rule(name string) (Rule, bool) {
	if c := s.find(name); c != nil {
		return c.Rule, true
	}
	return Rule{}, false
}

func (s *Set) find(name string) *compiled {
	if s == nil {
		return nil
	}
	i := slices.IndexFunc(s.rules, func(c *compiled) bool { return c.Name == name })
	if i < 0 {
		return nil
	}
	return s.rules[i]
}

// Hash is the SHA-256, in hex, of the rule.
func (r Rule) Hash() string {
	b, err := json.Marshal(r)
	if err != nil { // strings, numbers and prefixes always encode
		panic(fmt.Sprintf("encode rule %q: %v", r.Name, err))
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}
