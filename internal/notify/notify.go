// Package notify tells people what waits for them: a request to those who can
// approve it, a decision to the requester, an emergency to everybody named.
//
// It is a cursor on the audit log for each channel: a signed webhook, a chat
// room that takes Slack's incoming webhooks, mail. A channel that is down is
// tried again with growing pauses and holds up no other; what it is told comes
// at least once and in order, with an id that stays the same. What became
// pointless meanwhile (a request that somebody answered) is left out.
//
// A message leads to the page and decides nothing: its link shows the request
// to whoever is signed in and may see it, and approving wants a fresh second
// factor there. Hostile text in reasons and names stays text in every form
// (guarantee G11): no markup, no mention, no header, no link.
//
// Start reading at Runner.Run, then compose.go for who is told what.
package notify

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"jit-gateway/approval"
	"jit-gateway/internal/audit"
	"jit-gateway/internal/display"
	"jit-gateway/internal/identity"
)

// A Channel carries messages. Send returns once the message is safe at the
// other side. After an error it is sent again, unless the error says that
// trying again is pointless: see Lost.
type Channel interface {
	Name() string
	Send(ctx context.Context, m Message) error
}

// Lost wraps an error that will come again each time.
type Lost struct{ Err error }

func (e *Lost) Error() string { return e.Err.Error() }

// Unwrap returns the cause.
func (e *Lost) Unwrap() error { return e.Err }

// Store keeps the cursors and what notifications are about.
type Store interface {
	audit.Cursors
	Append(ctx context.Context, ev audit.Event) (audit.Event, error)
	Request(ctx context.Context, id string) (approval.Request, error)
	Grant(ctx context.Context, id string) (approval.Grant, error)
	User(ctx context.Context, id string) (identity.User, error)
	Users(ctx context.Context) ([]identity.User, error)
}

// Approvers tells who can still approve a request.
type Approvers interface {
	Approvers(ctx context.Context, r approval.Request) ([]approval.QuorumView, error)
}

// Options builds a Runner.
type Options struct {
	Store     Store
	Approvers Approvers
	Channels  []Channel
	Only      map[string][]About // by channel: what it is told; everything if empty
	Roles     approval.Roles
	Gateway   string // its name, for commands that a message names
	URL       string // of the page; empty: no links
	Now       func() time.Time
	Logger    *slog.Logger
	Metrics   *Metrics      // may be nil
	Pause     time.Duration // before the first new try; a second if zero
}

// giveUp is how long one message is tried before those behind it have their turn.
const giveUp = 24 * time.Hour

// Runner feeds the channels.
type Runner struct{ o Options }

// New returns a Runner, or an error that names what is missing.
func New(o Options) (*Runner, error) {
	if o.Store == nil || o.Approvers == nil || o.Gateway == "" {
		return nil, errors.New("notify: Store, Approvers or Gateway is missing")
	}
	seen := map[string]bool{}
	for _, c := range o.Channels {
		if c.Name() == "" || seen[c.Name()] {
			return nil, fmt.Errorf("notify: the name %q is empty or given twice", c.Name())
		}
		seen[c.Name()] = true
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	o.URL = strings.TrimSuffix(o.URL, "/")
	return &Runner{o}, nil
}

// Begin makes channels that never ran start with what happens from now on.
// Call it before anything is served.
func (r *Runner) Begin(ctx context.Context) error {
	for _, c := range r.o.Channels {
		if err := r.follower(c).Begin(ctx); err != nil {
			return fmt.Errorf("begin to notify %s: %w", c.Name(), err)
		}
	}
	return nil
}

// Run feeds every channel until ctx is done.
func (r *Runner) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx) // one that cannot go on ends all: the caller begins again, or stops
	for _, c := range r.o.Channels {
		g.Go(func() error { return r.follower(c).Run(ctx) })
	}
	return g.Wait()
}

func (r *Runner) follower(c Channel) *audit.Follower {
	d := &delivery{r: r, c: c}
	return &audit.Follower{Name: "notify:" + c.Name(), Store: r.o.Store, Handle: d.handle, Pause: r.o.Pause,
		OnError: func(ev audit.Event, err error, next time.Duration) {
			r.o.Metrics.count(c.Name(), "retried")
			r.o.Logger.Warn("a notification is not delivered yet", "channel", c.Name(), "event", ev.ID, "error", err, "next_try", next)
		}}
}

// delivery is one channel's way through the log.
type delivery struct {
	r       *Runner
	c       Channel
	failing string    // id of the event that fails
	since   time.Time // since when
}

func (d *delivery) handle(ctx context.Context, ev audit.Event) (bool, error) {
	if rule, ok := told[ev.Type]; !ok || !d.wants(rule.about...) {
		return false, nil
	}
	m, ok, err := d.r.compose(ctx, ev)
	if err != nil {
		return true, err
	}
	if !ok || !d.wants(m.About) {
		return false, nil
	}
	err = d.c.Send(ctx, m)
	if err == nil {
		d.failing = ""
		d.r.o.Metrics.count(d.c.Name(), "sent")
		return true, d.log(ctx, audit.NotificationSent, ev, m, "")
	}
	if ctx.Err() != nil {
		return true, err
	}
	now := d.r.o.Now()
	if d.failing != ev.ID {
		d.failing, d.since = ev.ID, now
	}
	var lost *Lost
	if !errors.As(err, &lost) && now.Sub(d.since) < giveUp {
		return true, err
	}
	d.failing = ""
	d.r.o.Metrics.count(d.c.Name(), "lost")
	d.r.o.Logger.Error("a notification is lost", "channel", d.c.Name(), "event", ev.ID, "error", err)
	return true, d.log(ctx, audit.NotificationLost, ev, m, err.Error())
}

func (d *delivery) wants(about ...About) bool {
	only := d.r.o.Only[d.c.Name()]
	return len(only) == 0 || slices.ContainsFunc(about, func(a About) bool { return slices.Contains(only, a) })
}

// log says what was told to whom, so that "everybody was told" can be shown.
func (d *delivery) log(ctx context.Context, t audit.Type, ev audit.Event, m Message, why string) error {
	out := audit.Event{Type: t, Outcome: audit.Success, Actor: audit.Gateway, User: ev.User, Target: ev.Target, Request: ev.Request, Grant: ev.Grant,
		Reason: display.Line(why, 300),
		Detail: map[string]string{"channel": d.c.Name(), "about": string(m.About), "event": ev.ID, "to": display.Line(strings.Join(m.names(), ","), 1000)}}
	if t == audit.NotificationLost {
		out.Outcome = audit.Failure
	}
	if p, ok := d.c.(interface{ Reaches(identity.User) bool }); ok {
		n := 0
		for _, u := range m.To {
			if p.Reaches(u) {
				n++
			}
		}
		out.Detail["reached"] = strconv.Itoa(n)
	}
	_, err := d.r.o.Store.Append(ctx, out)
	return err
}
