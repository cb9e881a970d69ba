package policy

import (
	"net/netip"
	"time"
)

// Effect of a rule that matches.
type Effect string

const (
	Allow Effect = "allow"
	Deny  Effect = "deny" // the first deny that matches wins over every allow
)

// Rule is one entry of the configuration's rules. Lists that select (users,
// groups, targets, labels, logins) are OR within a list and AND between lists;
// an empty list selects nothing for Users+Groups together, everything for the rest.
type Rule struct {
	Name   string `yaml:"name" json:"name"`
	Effect Effect `yaml:"effect" json:"effect,omitempty"` // allow if empty

	// Who may ask.
	Users    []string `yaml:"users" json:"users,omitempty"` // user names, globs
	Groups   []string `yaml:"groups" json:"groups,omitempty"`
	Machines bool     `yaml:"machines" json:"machines,omitempty"` // the rule is for machine identities, and for them only

	// For what.
	Targets []string          `yaml:"targets" json:"targets,omitempty"` // names, globs
	Kinds   []string          `yaml:"kinds" json:"kinds,omitempty"`
	Labels  map[string]string `yaml:"labels" json:"labels,omitempty"` // all must match; values may be globs
	Logins  []string          `yaml:"logins" json:"logins,omitempty"` // logins or roles, globs

	// Under which conditions.
	Sources []netip.Prefix `yaml:"sources" json:"sources,omitempty"`
	Hours   *Hours         `yaml:"hours" json:"hours,omitempty"`
	Ticket  string         `yaml:"ticket" json:"ticket,omitempty"` // regular expression that the whole ticket must match; empty: no ticket needed
	When    string         `yaml:"when" json:"when,omitempty"`     // CEL; an error denies

	// For how long.
	MaxDuration     Duration `yaml:"max_duration" json:"max_duration,omitempty"`         // 1h if zero
	DefaultDuration Duration `yaml:"default_duration" json:"default_duration,omitempty"` // 30m, or MaxDuration if shorter
	RequestLifetime Duration `yaml:"request_lifetime" json:"request_lifetime,omitempty"` // unanswered requests expire; 24h if zero
	ActivateWithin  Duration `yaml:"activate_within" json:"activate_within,omitempty"`   // after approval; 8h if zero
	MaxAhead        Duration `yaml:"max_ahead" json:"max_ahead,omitempty"`               // scheduled starts; 7 days if zero

	// Who says yes. Either Approve lists quorums, all of which must be met, or
	// Auto is true. A rule with neither is refused at load.
	Approve    []Quorum    `yaml:"approve" json:"approve,omitempty"`
	Auto       bool        `yaml:"auto" json:"auto,omitempty"`
	Escalate   *Escalation `yaml:"escalate" json:"escalate,omitempty"`
	BreakGlass *BreakGlass `yaml:"break_glass" json:"break_glass,omitempty"`

	Factor    Factor    `yaml:"factor" json:"factor"`
	Channels  *Channels `yaml:"channels" json:"channels,omitempty"` // SSH; DefaultChannels if nil
	Tunnel    bool      `yaml:"tunnel" json:"tunnel,omitempty"`     // databases: through ssh -L without a password
	Budget    Budget    `yaml:"budget" json:"budget,omitzero"`
	Recording Recording `yaml:"recording" json:"recording"`
	Session   Session   `yaml:"session" json:"session"`
	Postgres  Postgres  `yaml:"postgres" json:"postgres,omitzero"`
	Direct    bool      `yaml:"direct" json:"direct,omitempty"` // user certificates valid on the host itself
	Banner    string    `yaml:"banner" json:"banner,omitempty"` // consent text shown before the session
}

// Quorum is met by Count distinct eligible people, none of them the requester.
// A person may give one vote, which counts for every quorum that it fits.
type Quorum struct {
	Groups []string `yaml:"groups" json:"groups,omitempty"` // members of any of these
	Users  []string `yaml:"users" json:"users,omitempty"`
	Owners bool     `yaml:"owners" json:"owners,omitempty"` // members of the target's owner groups
	Count  int      `yaml:"count" json:"count,omitempty"`   // 1 if zero
}

// Escalation asks further groups when a request is unanswered after a while.
type Escalation struct {
	After  Duration `yaml:"after" json:"after"`
	Groups []string `yaml:"groups" json:"groups"`
}

// BreakGlass marks an emergency rule: no approval beforehand, loud, reviewed.
type BreakGlass struct {
	Notify  []string `yaml:"notify" json:"notify"`   // groups and users told at once
	Reviews []string `yaml:"reviews" json:"reviews"` // groups whose members may review
}

// Factor says which second factor a grant needs, and how often.
type Factor struct {
	Kinds         []string       `yaml:"kinds" json:"kinds,omitempty"` // any enrolled kind if empty
	Per           string         `yaml:"per" json:"per,omitempty"`     // "grant" (default), "session"
	MaxAge        Duration       `yaml:"max_age" json:"max_age,omitempty"`
	SourcesShared []netip.Prefix `yaml:"shared_sources" json:"shared_sources,omitempty"` // NAT ranges in which another address needs no fresh code
	ApproveKinds  []string       `yaml:"approve_kinds" json:"approve_kinds,omitempty"`   // what approvers must use
}

// Hours restricts use to times of day on days of the week in a time zone.
type Hours struct {
	Days []string `yaml:"days" json:"days"` // mon … sun
	From string   `yaml:"from" json:"from"` // HH:MM
	To   string   `yaml:"to" json:"to"`     // HH:MM, exclusive; earlier than From spans midnight
	Zone string   `yaml:"zone" json:"zone"` // IANA name
}

// Channels says what an SSH session may open (G10). Everything else is refused.
type Channels struct {
	Shell        bool     `yaml:"shell" json:"shell"`
	Exec         bool     `yaml:"exec" json:"exec"`
	ExecPatterns []string `yaml:"exec_patterns" json:"exec_patterns,omitempty"` // globs over the whole command line; shell metacharacters refused
	SFTP         string   `yaml:"sftp" json:"sftp,omitempty"`                   // "", "read", "write", "both"
	SFTPPaths    []string `yaml:"sftp_paths" json:"sftp_paths,omitempty"`       // path prefixes
	Agent        bool     `yaml:"agent" json:"agent"`
	Env          []string `yaml:"env" json:"env,omitempty"`                     // names, globs
	Local        []string `yaml:"local_forward" json:"local_forward,omitempty"` // host:port globs, networks with ports, unix:/path globs
	Remote       []string `yaml:"remote_forward" json:"remote_forward,omitempty"`
	ForceCommand string   `yaml:"force_command" json:"force_command,omitempty"`
}

// DefaultChannels is what a rule that names none allows: shell, exec, sftp and
// the environment that OpenSSH sends by default.
func DefaultChannels() Channels {
	return Channels{Shell: true, Exec: true, SFTP: "both", Env: []string{"LANG", "LC_*", "TERM", "COLORTERM", "NO_COLOR"}}
}

// Budget bounds what a database session or grant may do; zero is unlimited.
type Budget struct {
	Rows       int64  `yaml:"rows" json:"rows,omitempty"`
	Bytes      int64  `yaml:"bytes" json:"bytes,omitempty"` // of rows and COPY data to the client
	Statements int64  `yaml:"statements" json:"statements,omitempty"`
	Per        string `yaml:"per" json:"per,omitempty"` // "session" (default), or "grant": all its sessions together
}

// Recording says how sessions under the rule are recorded.
type Recording struct {
	Strict       bool     `yaml:"strict" json:"strict,omitempty"`               // wait for the disk before anything is released (G2)
	Input        bool     `yaml:"input" json:"input,omitempty"`                 // record pty input too; strict rules always do
	Content      bool     `yaml:"content" json:"content,omitempty"`             // record bulk content, not only size and SHA-256
	Recipients   []string `yaml:"recipients" json:"recipients,omitempty"`       // age recipients
	Index        string   `yaml:"index" json:"index,omitempty"`                 // "off", "metadata", "full" (default)
	RetainDays   int      `yaml:"retain_days" json:"retain_days,omitempty"`     // 0: for ever
	TwoToDelete  bool     `yaml:"two_to_delete" json:"two_to_delete,omitempty"` // deletion needs two people
	RedactParams []string `yaml:"redact_params" json:"redact_params,omitempty"` // regular expressions over statements whose bind values are not recorded
}

// Session limits.
type Session struct {
	IdleTimeout   Duration `yaml:"idle_timeout" json:"idle_timeout,omitempty"`
	Max           int      `yaml:"max" json:"max,omitempty"`                       // concurrent sessions per user under this rule
	TellWatched   bool     `yaml:"tell_watched" json:"tell_watched,omitempty"`     // tell the user who watches
	EndsWithLast  bool     `yaml:"ends_with_last" json:"ends_with_last,omitempty"` // the grant ends with its last session
	ApproversView bool     `yaml:"approvers_view" json:"approvers_view,omitempty"`
}

// Postgres settings for database sessions.
type Postgres struct {
	ReadOnly         bool              `yaml:"read_only" json:"read_only,omitempty"`
	StatementTimeout Duration          `yaml:"statement_timeout" json:"statement_timeout,omitempty"`
	Defaults         map[string]string `yaml:"defaults" json:"defaults,omitempty"` // run-time parameters set on the session role
}

// Duration is a time.Duration written like 90s, 30m, 8h or 7d.
type Duration time.Duration

// Std returns d as a time.Duration.
func (d Duration) Std() time.Duration { return time.Duration(d) }
