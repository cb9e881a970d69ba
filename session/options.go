package session

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"jit-gateway/approval"
	"jit-gateway/ca"
	"jit-gateway/internal/audit"
	"jit-gateway/internal/clock"
	"jit-gateway/recording"
)

// Options builds a Manager. Fields are needed unless said otherwise.
type Options struct {
	Instance    string // id of this process: a new one at every start
	Store       Store
	Credentials Credentials
	Instances   Instances
	Grants      Grants
	Log         Log
	Feed        audit.Source
	Recordings  *recording.Dir
	Tokens      *ca.Tokens         // may be nil: no session tokens
	Cleaners    map[string]Cleaner // by Credential.Kind; ssh_cert, and pg_token with Tokens, are built in
	Clock       clock.Clock        // clock.System if zero
	Logger      *slog.Logger       // slog.Default if nil
	Metrics     *Metrics           // may be nil

	// Exclusive says that no other gateway can be using the store, so that
	// every other instance is dead (SQLite: the writer's lock is held).
	Exclusive bool
	// Alone, where several gateways share the store, runs fn while no other
	// gateway runs one under that name; ran is false if another does. May be nil.
	Alone func(ctx context.Context, name string, fn func(context.Context) error) (ran bool, err error)
	// Dead are instances that are known to have ended, whatever their last beat.
	Dead []string
	// StoreGrace is how long sessions outlive the last sight of the store:
	// 60 s if zero.
	StoreGrace time.Duration
	// CutGrace is how long after a termination attached transports are closed,
	// whatever their handler does: 75 ms if zero, so that a peer that does not
	// read cannot stretch the end past G3's 100 ms.
	CutGrace time.Duration
	// TellGrace is the same for the client's leg, once the target's is closed:
	// 1 s if zero. Nothing but the reason passes there.
	TellGrace time.Duration
	// DeadAfter is how long an instance's last beat is good for: 30 s if zero.
	// Where others may be cut off from the store it MUST be longer than their
	// StoreGrace, after which they have ended their sessions themselves.
	DeadAfter time.Duration
	// ClockTolerance is how far the clock may be behind the store's high-water
	// mark (G5): 2 s if zero, for gateways that disagree a little.
	ClockTolerance time.Duration
}

// Grants is what sessions need of the store of grants.
type Grants interface {
	Grant(ctx context.Context, id string) (approval.Grant, error)
}

// Log takes events that change no row.
type Log interface {
	Append(ctx context.Context, ev audit.Event) (audit.Event, error)
}

func (o *Options) check() error {
	missing := func(field string) error { return fmt.Errorf("session options: %s is missing", field) }
	switch {
	case o.Instance == "":
		return missing("Instance")
	case o.Store == nil:
		return missing("Store")
	case o.Credentials == nil:
		return missing("Credentials")
	case o.Instances == nil:
		return missing("Instances")
	case o.Grants == nil:
		return missing("Grants")
	case o.Log == nil:
		return missing("Log")
	case o.Feed == nil:
		return missing("Feed")
	case o.Recordings == nil:
		return missing("Recordings")
	case (o.Clock.Now == nil) != (o.Clock.Boot == nil) || (o.Clock.Now == nil) != (o.Clock.NewAlarm == nil):
		return errors.New("session options: Clock is half set")
	}
	for _, builtIn := range []string{KindSSHCert, KindToken} {
		if o.Cleaners[builtIn] != nil {
			return fmt.Errorf("session options: the cleaner of %q is built in", builtIn)
		}
	}
	if o.Clock.Now == nil {
		o.Clock = clock.System()
	}
	if o.Alone == nil {
		o.Alone = func(ctx context.Context, _ string, fn func(context.Context) error) (bool, error) {
			return true, fn(ctx)
		}
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	for d, def := range map[*time.Duration]time.Duration{
		&o.StoreGrace: time.Minute, &o.CutGrace: 75 * time.Millisecond, &o.TellGrace: time.Second,
		&o.DeadAfter: 30 * time.Second, &o.ClockTolerance: 2 * time.Second,
	} {
		if *d == 0 {
			*d = def
		}
		if *d < 0 {
			return errors.New("session options: a duration is negative")
		}
	}
	return nil
}
