package dialogue

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"jit-gateway/approval"
	"jit-gateway/approval/mfa"
	"jit-gateway/internal/display"
)

// Proof asks for a code until one is right. Wrong codes are limited here and,
// across all connections, by package mfa.
func (d *Dialogue) Proof(ctx context.Context, t Terminal, c approval.Caller, prompt string) (mfa.Proof, error) {
	return d.proof(ctx, t, c, prompt, leftover{text: "Nothing was changed."})
}

func (d *Dialogue) proof(ctx context.Context, t Terminal, c approval.Caller, prompt string, left leftover) (mfa.Proof, error) {
	if t == nil {
		return mfa.Proof{}, refuse(nil, "This needs a code, and there is nobody to ask. Run it with a terminal: ssh -t %s …", d.o.Gateway)
	}
	if prompt == "" {
		prompt = "Code: "
	}
	actor := d.actor(ctx, c)
	for try := 1; ; try++ {
		code, err := t.Ask(ctx, prompt, false)
		if err != nil {
			return mfa.Proof{}, d.ended(ctx, err, left)
		}
		p, err := d.o.MFA.VerifyCode(ctx, c.UserID, code, actor)
		if err == nil {
			return p, nil
		}
		text := d.codeText(err)
		switch {
		case text == "":
			return mfa.Proof{}, fmt.Errorf("verify a code: %w", err)
		case !errors.Is(err, mfa.ErrWrongCode) && !errors.Is(err, mfa.ErrUsedCode):
			return mfa.Proof{}, refuse(err, "%s", text)
		case try >= d.o.Tries:
			return mfa.Proof{}, refuse(err, "%s That was the last of %d tries; the same command asks again.", text, d.o.Tries)
		}
		if err := t.Say(ctx, text); err != nil {
			return mfa.Proof{}, d.ended(ctx, err, left)
		}
	}
}

// codeText says what was wrong with a code, or "" for trouble that is not the
// code's.
func (d *Dialogue) codeText(err error) string {
	var locked *mfa.LockedError
	var skew *mfa.SkewError
	switch {
	case errors.As(err, &locked):
		return fmt.Sprintf("Too many wrong codes. No code is looked at until %s.", d.when(locked.Until))
	case errors.As(err, &skew):
		way := "ahead"
		off := skew.Offset
		if off < 0 {
			way, off = "behind", -off
		}
		return fmt.Sprintf("That code is wrong now: your device's clock seems to be %s %s. Set its time automatically.", LongDuration(off), way)
	case errors.Is(err, mfa.ErrWrongCode):
		return "That code is wrong."
	case errors.Is(err, mfa.ErrUsedCode):
		return "That code was used already. Wait for the next one."
	case errors.Is(err, mfa.ErrNoFactor):
		return fmt.Sprintf("You have no second factor yet. Ask an administrator for a one-time code, then run: ssh %s enroll", d.o.Gateway)
	}
	return ""
}

// Banner is a rule's consent text, each line of it harmless; empty without one.
func Banner(text string) string {
	var out []string
	for _, l := range strings.Split(strings.TrimSpace(text), "\n") {
		out = append(out, display.Line(strings.TrimRight(l, "\r"), 500))
	}
	return strings.Join(out, "\n")
}

// consent shows the rule's text before the code that agrees to it.
func (d *Dialogue) consent(ctx context.Context, t Terminal, g approval.Grant) error {
	text := Banner(g.Rule.Banner)
	if t == nil || text == "" {
		return nil
	}
	if err := t.Say(ctx, text+"\nWith your code you agree to that."); err != nil {
		return d.ended(ctx, err, waitsForCode(g))
	}
	return nil
}

// Activate takes a code and opens the window of g, now or at its start.
func (d *Dialogue) Activate(ctx context.Context, t Terminal, c approval.Caller, g approval.Grant) (approval.Grant, error) {
	if err := d.consent(ctx, t, g); err != nil {
		return g, err
	}
	p, err := d.proof(ctx, t, c, "", waitsForCode(g))
	if err != nil {
		return g, err
	}
	g, err = d.o.Approvals.Activate(ctx, c, g.ID, p)
	return g, d.refused(err)
}

// Confirm takes a code that lets this key and address use g.
func (d *Dialogue) Confirm(ctx context.Context, t Terminal, c approval.Caller, g approval.Grant) (approval.Grant, error) {
	p, err := d.proof(ctx, t, c, "", waitsForCode(g))
	if err != nil {
		return g, err
	}
	g, err = d.o.Approvals.Confirm(ctx, c, g.ID, p)
	return g, d.refused(err)
}

func waitsForCode(g approval.Grant) leftover {
	return leftover{fmt.Sprintf("Grant %s waits for your code.", g.ID), "activate " + g.ID}
}
