// Package command is the command interface: one tree of commands, served over
// `ssh jit-gateway …` (by the SSH handler, which makes an Invocation of each
// session channel) and over admin.sock (Listen and Call, for the local
// administrator and for the subcommands of the binary).
//
// A command checks what it was given, calls one service, and prints: a table
// or sentences for people, with --json the service's own types for programs.
// It decides nothing about access. Questions (reason, code) go to the
// terminal, or to stderr with answers from stdin, so that stdout holds the
// result alone. Every string from a person, a peer or the store passes
// package display.
//
// Exit status: 0 done, 1 refused or failed, 2 the command line was wrong.
//
// Start reading at Runner.Run, then tree.go for the list.
package command

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"time"

	"golang.org/x/crypto/ssh"

	"jit-gateway/approval"
	"jit-gateway/approval/mfa"
	"jit-gateway/ca"
	"jit-gateway/internal/admin"
	"jit-gateway/internal/audit"
	"jit-gateway/internal/dialogue"
	"jit-gateway/internal/inventory"
	"jit-gateway/internal/source"
	"jit-gateway/internal/store"
	"jit-gateway/recording"
	"jit-gateway/session"
)

// Exit statuses.
const (
	OK     = 0
	Failed = 1
	Usage  = 2
)

// Options builds a Runner. Fields are required unless they say "optional";
// without an optional one its commands are not in the tree.
type Options struct {
	Approvals *approval.Service
	Dialogue  *dialogue.Dialogue
	MFA       *mfa.Verifier
	Users     admin.Users
	Inventory inventory.Inventory
	Targets   inventory.Store
	// Elsewhere says that a session's recording is kept by another gateway; nil
	// where there is one.
	Elsewhere func(ctx context.Context, session string) bool
	// Reload makes the inventory anew after Targets changed.
	Reload     func(ctx context.Context) error
	Sessions   *session.Manager
	Rows       session.Store
	Recordings *recording.Dir
	Authority  *ca.Authority
	Tokens     *ca.Tokens
	Feed       audit.Source
	Log        Log
	AuditLog   audit.LogReader
	AuditKey   string // the log's verifier key
	Public     Public
	Now        func() time.Time // time.Now if nil
	Logger     *slog.Logger     // slog.Default if nil

	// Acts keeps changes that wait for a second administrator: `confirm`.
	// Optional; without it one administrator is enough.
	Acts admin.Acts
	// Machines verifies machines' second factors: `user factor`, `activate
	// --token-stdin`. Optional.
	Machines *mfa.Machines
	// Findings lists what is unusual: `findings`. Optional.
	Findings func(ctx context.Context, f store.FindingFilter) ([]store.Finding, error)
	// ParseTargets reads what `target import` gets, in the format that was named
	// (yaml, csv, ansible), and completes entries with the defaults. JSON alone
	// without it. Optional.
	ParseTargets func(format string, raw []byte, defaults inventory.Target) ([]inventory.Target, error)
	// Health looks at the gateway itself: `health`. Optional.
	Health func(ctx context.Context) []HealthItem
	// Sync reads the configured sources of targets: `target sync`. Optional.
	Sync func(ctx context.Context, source string, dryRun, acceptLoss bool) ([]source.Result, error)
	// Check looks at a target and tells exactly what is wrong: `target check`.
	// With standing it also looks for other ways in. Optional.
	Check func(ctx context.Context, t inventory.Target, standing bool) ([]CheckResult, error)
	// PageLink makes a one-time link to the page: `web`. Optional.
	PageLink func(ctx context.Context, c approval.Caller) (url string, expires time.Time, err error)
	// Evidence writes the evidence pack of a grant, a zip file: `evidence`.
	// It checks that the caller may have it. Optional.
	Evidence func(ctx context.Context, c approval.Caller, grantID string, w io.Writer) error
	// Report writes the signed access report of a period as html, csv or json:
	// `report`. Optional.
	Report func(ctx context.Context, from, to time.Time, format string, w io.Writer) error
	// Rules reads the configuration again, or, dry, says what that would do:
	// `reload`. Optional.
	Rules func(ctx context.Context, who audit.Actor, dry bool) (Reloaded, error)
	// UserCert signs a key that the gateway accepts as first factor under the
	// admission's grant: `cert`. Optional.
	UserCert func(ctx context.Context, adm approval.Admission, key ssh.PublicKey) (*ssh.Certificate, error)
	// Keeper keeps sealed recordings: `recording hold`, `release-hold` and
	// `delete`. Optional; it needs Acts.
	Keeper Keeper
	// Backup writes a backup of the whole gateway: `backup`. Optional.
	Backup Backup
	// Search finds lines in recordings: `recording search`. Optional.
	Search func(ctx context.Context, text string, f store.LineFilter) ([]store.LineHit, error)
}

// Log takes events that change no row.
type Log interface {
	Append(ctx context.Context, ev audit.Event) (audit.Event, error)
	FindEvents(ctx context.Context, f audit.Filter) ([]audit.Event, error)
}

// Public is how people reach the gateway.
type Public struct {
	Name         string // as people call it, and as the certificates of the database port say
	Host         string // address for HostName and for database clients; Name if empty
	SSHPort      int    // 22 if zero
	PostgresPort int    // 0: no database listener
	URL          string // of the page; empty: no page
	// HostPattern is what the @cert-authority line covers besides the
	// gateway; the names of the user's targets if empty. Never "*".
	HostPattern string
	// CAFile is where database clients find the page CA; system roots if empty.
	CAFile string
}

// CheckResult is one thing that `target check` looked at.
type CheckResult struct {
	What   string `json:"what"`
	OK     bool   `json:"ok"`
	Detail string `json:"detail,omitempty"`
	Fix    string `json:"fix,omitempty"` // what to do, if not OK
}

// Runner runs commands. It is safe for concurrent use.
type Runner struct {
	o     Options
	admin *admin.Service
}

// New checks the options.
func New(o Options) (*Runner, error) {
	for name, missing := range map[string]bool{
		"Approvals": o.Approvals == nil, "Dialogue": o.Dialogue == nil, "MFA": o.MFA == nil,
		"Users": o.Users == nil, "Inventory": o.Inventory == nil, "Targets": o.Targets == nil,
		"Reload": o.Reload == nil, "Sessions": o.Sessions == nil, "Rows": o.Rows == nil,
		"Recordings": o.Recordings == nil, "Authority": o.Authority == nil, "Tokens": o.Tokens == nil,
		"Feed": o.Feed == nil, "Log": o.Log == nil, "AuditLog": o.AuditLog == nil,
		"Public.Name": o.Public.Name == "",
	} {
		if missing {
			return nil, errors.New("command: the option " + name + " is missing")
		}
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	if o.Public.Host == "" {
		o.Public.Host = o.Public.Name
	}
	if o.Public.SSHPort == 0 {
		o.Public.SSHPort = 22
	}
	changes, err := newAdmin(o)
	if err != nil {
		return nil, err
	}
	r := &Runner{o: o, admin: changes}
	_, err = r.parser(&call{r: r}, io.Discard) // a mistake in the tree shows at start
	return r, err
}
