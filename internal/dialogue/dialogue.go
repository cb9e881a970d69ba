package dialogue

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"jit-gateway/approval"
	"jit-gateway/approval/mfa"
	"jit-gateway/internal/audit"
	"jit-gateway/internal/display"
	"jit-gateway/internal/identity"
)

// Options builds a Dialogue. Fields without a stated default are required.
type Options struct {
	Approvals *approval.Service
	MFA       *mfa.Verifier
	Users     identity.Store
	Feed      audit.Source
	Now       func() time.Time // time.Now if nil
	Wait      time.Duration    // how long a wait for approval lasts; 15m if zero
	Pulse     time.Duration    // how often a wait shows that it is alive; 5s if zero
	Tries     int              // answers that may be wrong before it ends; 3 if zero
	Gateway   string           // how the gateway is called in commands; "jit-gateway" if empty
}

// A Dialogue asks, waits and takes codes. It is safe for concurrent use.
type Dialogue struct {
	o Options

	mu    sync.Mutex
	turns map[string]*turn
}

// New checks the options.
func New(o Options) (*Dialogue, error) {
	switch {
	case o.Approvals == nil:
		return nil, errors.New("dialogue: Approvals is missing")
	case o.MFA == nil:
		return nil, errors.New("dialogue: MFA is missing")
	case o.Users == nil:
		return nil, errors.New("dialogue: Users is missing")
	case o.Feed == nil:
		return nil, errors.New("dialogue: Feed is missing")
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Wait <= 0 {
		o.Wait = 15 * time.Minute
	}
	if o.Pulse <= 0 {
		o.Pulse = 5 * time.Second
	}
	if o.Tries <= 0 {
		o.Tries = 3
	}
	if o.Gateway == "" {
		o.Gateway = "jit-gateway"
	}
	return &Dialogue{o: o, turns: map[string]*turn{}}, nil
}

// maxRounds bounds the circle of Admit: choose a login, ask, activate, and a
// second activation for a grant that ended meanwhile.
const maxRounds = 6

// Admit returns an admission: silently under a live grant, else after the
// conversation of an in-band request. Without a terminal (nil) nobody is
// asked. What goes wrong is a *Refusal, whose text is for the user, unless
// the gateway itself failed.
//
// Connections of one user to one target take turns, so that a client which
// opens five at once asks once, and four pass silently afterwards.
func (d *Dialogue) Admit(ctx context.Context, t Terminal, in approval.AdmitInput) (approval.Admission, error) {
	adm, err := d.o.Approvals.Admit(ctx, in)
	if err == nil {
		return adm, nil
	}
	if t == nil {
		return adm, d.nobodyToAsk(ctx, in, err)
	}
	left := d.nothing(approval.Ask{Targets: []string{in.Target}, Login: in.Login})
	leave, err := d.takeTurn(ctx, in)
	if err != nil {
		return adm, d.ended(ctx, err, left)
	}
	defer leave()

	asked := false
	for range maxRounds {
		adm, err = d.o.Approvals.Admit(ctx, in)
		if err == nil {
			return adm, nil
		}
		var choose *approval.ChooseLogin
		var ge *approval.GrantError
		switch {
		case errors.As(err, &choose):
			if in.Login, err = d.chooseLogin(ctx, t, choose); err != nil {
				return adm, err
			}
		case errors.As(err, &ge) && errors.Is(err, approval.ErrNotActivated):
			if !asked {
				if err := t.Say(ctx, d.approvedText(ge.Grant)); err != nil {
					return adm, d.ended(ctx, err, left)
				}
			}
			if _, err = d.Activate(ctx, t, in.Caller, ge.Grant); err != nil {
				return adm, err
			}
		case errors.As(err, &ge) && errors.Is(err, approval.ErrCodeNeeded):
			if err := t.Say(ctx, display.Line(ge.Text, 0)); err != nil {
				return adm, d.ended(ctx, err, left)
			}
			if _, err = d.Confirm(ctx, t, in.Caller, ge.Grant); err != nil {
				return adm, err
			}
		case errors.Is(err, approval.ErrNoGrant) && in.GrantID == "" && !asked:
			asked = true
			if err = d.request(ctx, t, in); err != nil {
				return adm, err
			}
		default:
			return adm, d.refused(err)
		}
	}
	return adm, refuse(err, "%s: access changed while you were asked. Try again.", display.Line(in.Target, 64))
}

// request finds the user's pending request or files a new one, and waits
// until it is approved.
func (d *Dialogue) request(ctx context.Context, t Terminal, in approval.AdmitInput) error {
	r, found, err := d.pending(ctx, in)
	if err != nil {
		return d.refused(err)
	}
	if found {
		lead := fmt.Sprintf("Request %s (%s) is open since %s, sent to %s.", r.ID, display.Line(r.Reason, 80), r.FiledAt.UTC().Format("15:04 UTC"), d.SentTo(ctx, r))
		_, err = d.waitAfter(ctx, t, in.Caller, r, lead)
		return err
	}
	r, err = d.File(ctx, t, in.Caller, approval.Ask{Targets: []string{in.Target}, Login: in.Login}, true)
	if err != nil {
		return err
	}
	_, err = d.Wait(ctx, t, in.Caller, r)
	return err
}

// pending finds what the same command asked for before.
func (d *Dialogue) pending(ctx context.Context, in approval.AdmitInput) (approval.Request, bool, error) {
	open, err := d.o.Approvals.Requests(ctx, in.Caller, approval.RequestFilter{UserID: in.UserID, State: approval.Pending, Target: in.Target})
	if err != nil {
		return approval.Request{}, false, err
	}
	for _, r := range open {
		if r.UserID == in.UserID && r.Extends == "" && (in.Login == "" || r.Login == in.Login) {
			return r, true, nil
		}
	}
	return approval.Request{}, false, nil
}

func (d *Dialogue) chooseLogin(ctx context.Context, t Terminal, c *approval.ChooseLogin) (string, error) {
	names := make([]string, len(c.Logins))
	for i, l := range c.Logins {
		names[i] = display.Line(l, 64)
	}
	prompt := fmt.Sprintf("%s: as whom (%s): ", display.Line(c.Target, 64), strings.Join(names, ", "))
	var chosen string
	err := d.tries(ctx, t, prompt, func(answer string) (string, error) {
		for _, l := range c.Logins {
			if l == answer {
				chosen = l
				return "", nil
			}
		}
		return "That is not one of them.", nil
	})
	if errors.Is(err, io.EOF) {
		return "", refuse(err, "%s. Name one: --login %s, or %s@%s", prompt[:len(prompt)-2], names[0], names[0], display.Line(c.Target, 64))
	}
	if err != nil {
		return "", d.ended(ctx, err, d.nothing(approval.Ask{Targets: []string{c.Target}}))
	}
	return chosen, nil
}

// A turn is held by the one dialogue that talks for a user and a target.
type turn struct {
	ch   chan struct{} // capacity 1
	refs int
}

func (d *Dialogue) takeTurn(ctx context.Context, in approval.AdmitInput) (leave func(), err error) {
	key := in.UserID + "\x00" + in.Target + "\x00" + in.Login
	d.mu.Lock()
	tn := d.turns[key]
	if tn == nil {
		tn = &turn{ch: make(chan struct{}, 1)}
		d.turns[key] = tn
	}
	tn.refs++
	d.mu.Unlock()
	drop := func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		if tn.refs--; tn.refs == 0 {
			delete(d.turns, key)
		}
	}
	select {
	case tn.ch <- struct{}{}:
		return func() { <-tn.ch; drop() }, nil
	case <-ctx.Done():
		drop()
		return nil, context.Cause(ctx)
	}
}

func (d *Dialogue) actor(ctx context.Context, c approval.Caller) audit.Actor {
	a := audit.Actor{ID: c.UserID, Source: c.Source, Via: c.Via}
	if u, err := d.o.Users.User(ctx, c.UserID); err == nil {
		a.Name = u.Name
	}
	return a
}
