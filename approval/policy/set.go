package policy

import (
	"fmt"
	"net/netip"
	"time"

	"jit-gateway/internal/identity"
	"jit-gateway/internal/inventory"
)

// Set is a compiled, immutable set of rules. A nil Set denies everything.
type Set struct {
	rules []Rule
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
	name := e.Rule
	if name == "" {
		name = fmt.Sprintf("number %d", e.Index+1)
	}
	return fmt.Sprintf("rule %s: %s: %s", name, e.Field, e.Msg)
}

// Input is everything that a decision depends on.
type Input struct {
	User       identity.User
	Target     inventory.Target
	Login      string
	Reason     string
	Ticket     string
	Duration   time.Duration // 0: the rule's default
	StartAt    time.Time     // scheduled; zero: now
	Now        time.Time
	Source     netip.Addr // of the client; the zero Addr is outside every network
	BreakGlass bool       // the emergency was asked for: only break-glass rules apply
	Risk       []string   // codes of risk findings
	History    History
}

// History is what `when:` can see of the past, as it stood when the request was filed.
type History struct {
	Requests30d int `json:"requests_30d,omitempty"` // by this user
	Denials7d   int `json:"denials_7d,omitempty"`
	Sessions30d int `json:"sessions_30d,omitempty"` // by this user, any target
	OnTarget30d int `json:"on_target_30d,omitempty"`
	Failures1h  int `json:"failures_1h,omitempty"` // wrong codes
}

// Verdict is what the rules say of an Input.
type Verdict struct {
	Allowed bool
	Rule    Rule   // the rule that allowed or denied; zero if none applied
	Known   bool   // some rule lets the user ask for this target and login: the reason may be told
	Reason  string // why not, as a sentence for the user; empty if allowed
}

// Step is what became of one rule, or of one of its conditions.
type Step struct {
	Rule   string `json:"rule"`
	Effect Effect `json:"effect"`
	Field  string `json:"field"` // YAML field of the condition
	OK     bool   `json:"ok"`
	Detail string `json:"detail"`
}

// NewSet checks and compiles rules. Its error joins one *FieldError for each mistake.
func NewSet(rules []Rule) (*Set, error) { panic("not yet") }

// Hash is the SHA-256, in hex, of the rules.
func (s *Set) Hash() string { panic("not yet") }

// Rules are the rules in order.
func (s *Set) Rules() []Rule { panic("not yet") }

// Rule returns the rule of that name.
func (s *Set) Rule(name string) (Rule, bool) { panic("not yet") }

// Decide applies the rules: the first deny that matches wins, then the first
// allow whose conditions all hold.
func (s *Set) Decide(in Input) Verdict { panic("not yet") }

// Check applies the deny rules and the one rule of that name.
func (s *Set) Check(name string, in Input) Verdict { panic("not yet") }

// Explain tells what became of each condition of each rule.
func (s *Set) Explain(in Input) []Step { panic("not yet") }

// Stricter combines what a grant was approved under with what the rule says now.
func Stricter(a, b Rule) Rule { panic("not yet") }

// Hash is the SHA-256, in hex, of the rule.
func (r Rule) Hash() string { panic("not yet") }

// Max is the longest duration that the rule allows.
func (r Rule) Max() time.Duration { panic("not yet") }

// Default is the duration when none is asked for.
func (r Rule) Default() time.Duration { panic("not yet") }

// SSH is what an SSH session under the rule may open: Channels, or the default.
func (r Rule) SSH() Channels { panic("not yet") }

// Glob reports whether s matches the pattern, where * is any run of
// characters and ? is one.
func Glob(pattern, s string) bool { panic("not yet") }
