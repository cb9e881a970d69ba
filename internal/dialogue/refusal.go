package dialogue

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"jit-gateway/approval"
	"jit-gateway/internal/display"
	"jit-gateway/internal/store"
)

// A Refusal ends a dialogue without an admission. Its text is one or two
// sentences for the user and names the next step; it is safe to show.
type Refusal struct {
	Text string
	err  error
}

func (r *Refusal) Error() string { return r.Text }

// Unwrap returns the error behind it, which may be nil.
func (r *Refusal) Unwrap() error { return r.err }

func refuse(err error, format string, args ...any) error {
	return &Refusal{Text: fmt.Sprintf(format, args...), err: err}
}

// refused turns an error of package approval into a Refusal. What is not a
// decision (the store is down) stays an error: handlers tell the user no more
// than that the gateway cannot decide now.
func (d *Dialogue) refused(err error) error {
	var r *Refusal
	var ge *approval.GrantError
	switch {
	case err == nil || errors.As(err, &r):
		return err
	case errors.As(err, &ge) && errors.Is(err, approval.ErrNotYet):
		at := ge.Grant.Start
		if at.IsZero() {
			at = ge.Grant.NotBefore
		}
		return refuse(err, "Your window on %s opens at %s. The same command goes straight through then.", targets(ge.Grant.Targets), d.when(at))
	case IsDecision(err):
		return &Refusal{Text: Sentence(err.Error()), err: err}
	}
	return err
}

// IsDecision reports whether err is an answer of package approval or of the
// store to what a user wants, rather than trouble of the gateway: its text may
// be shown (see Sentence).
func IsDecision(err error) bool {
	var ge *approval.GrantError
	var cl *approval.ChooseLogin
	if errors.As(err, &ge) || errors.As(err, &cl) {
		return true
	}
	for _, known := range []error{
		approval.ErrNoGrant, approval.ErrNotActivated, approval.ErrCodeNeeded, approval.ErrNotYet,
		approval.ErrForbidden, approval.ErrOwnRequest, approval.ErrDigest, approval.ErrNotPending,
		approval.ErrUserDisabled, approval.ErrProofNeeded,
		approval.ErrInvalid, approval.ErrEnded, approval.ErrClock, store.ErrNotFound, store.ErrExists, store.ErrConflict,
	} {
		if errors.Is(err, known) {
			return true
		}
	}
	return false
}

// nobodyToAsk names the command that does what a question would have done.
func (d *Dialogue) nobodyToAsk(ctx context.Context, in approval.AdmitInput, err error) error {
	target := display.Line(in.Target, 64)
	login := ""
	if in.Login != "" {
		login = " --login " + display.Line(in.Login, 64)
	}
	var ge *approval.GrantError
	switch {
	case errors.As(err, &ge) && errors.Is(err, approval.ErrNotActivated):
		return refuse(err, "%s: approved, but not activated yet. Run: ssh %s activate %s", target, d.o.Gateway, ge.Grant.ID)
	case errors.As(err, &ge) && errors.Is(err, approval.ErrCodeNeeded):
		return refuse(err, "%s Run: ssh %s activate %s", Sentence(ge.Text), d.o.Gateway, ge.Grant.ID)
	case errors.Is(err, approval.ErrNoGrant) && in.GrantID == "":
		if r, found, perr := d.pending(ctx, in); perr == nil && found {
			return refuse(err, "%s: request %s is waiting for %s. Once approved, run: ssh %s activate %s", target, r.ID, d.SentTo(ctx, r), d.o.Gateway, r.ID)
		}
		return refuse(err, "%s: you have no access yet. Run: ssh %s request %s%s", target, d.o.Gateway, target, login)
	}
	return d.refused(err)
}

// Hint names the command that does what questions would do, for a client of
// which nobody knows yet whether it can be asked: err is why Admit refused.
// It is empty where no command helps, and for targets that do not exist alike.
func (d *Dialogue) Hint(ctx context.Context, in approval.AdmitInput, err error) string {
	var r *Refusal
	if !errors.As(d.nobodyToAsk(ctx, in, err), &r) {
		return ""
	}
	for _, lead := range []string{" Run: ", " run: "} {
		if before, command, ok := strings.Cut(r.Text, lead); ok {
			if strings.HasSuffix(before, "Once approved,") {
				return "Without a terminal, run once it is approved: " + command
			}
			return "Without a terminal, run: " + command
		}
	}
	return ""
}

// leftover is what a dialogue that stopped short leaves behind, as a sentence,
// and the command that goes on from there.
type leftover struct{ text, command string }

func (d *Dialogue) nothing(a approval.Ask) leftover {
	cmd := "request"
	for _, t := range a.Targets {
		cmd += " " + display.Line(t, 64)
	}
	for k, v := range a.Selector {
		cmd += " label:" + display.Line(k+"="+v, 128)
	}
	if a.Login != "" {
		cmd += " --login " + display.Line(a.Login, 64)
	}
	return leftover{"Nothing was asked for.", cmd}
}

func stillOpen(r approval.Request) leftover {
	return leftover{fmt.Sprintf("Request %s stays open; the same command resumes it.", r.ID), "activate " + r.ID}
}

// ended says how a dialogue stopped short: the person, the line, or the clock.
func (d *Dialogue) ended(ctx context.Context, err error, left leftover) error {
	var r *Refusal
	if errors.As(err, &r) {
		return err
	}
	if cause := context.Cause(ctx); cause != nil {
		err = cause
	}
	switch {
	case errors.Is(err, errPatience):
		return refuse(err, "Nobody has answered for %s. %s", LongDuration(d.o.Wait), left.text)
	case errors.Is(err, ErrInterrupted):
		return refuse(err, "%s", strings.TrimSpace("Stopped. "+left.text))
	case errors.Is(err, io.EOF):
		text := strings.TrimSpace("No answer came. " + left.text)
		if left.command != "" {
			text += fmt.Sprintf(" With a terminal: ssh -t %s %s", d.o.Gateway, left.command)
		}
		return refuse(err, "%s", text)
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded), ctx.Err() != nil:
		return refuse(err, "%s", strings.TrimSpace("The connection ended. "+left.text))
	}
	return err
}

// Sentence makes an error's text a sentence that may be shown.
func Sentence(s string) string {
	s = strings.TrimSpace(display.Line(s, 0))
	if s == "" {
		return s
	}
	if !strings.ContainsAny(s[len(s)-1:], ".!?:") {
		s += "."
	}
	if word, _, _ := strings.Cut(s, " "); strings.HasSuffix(word, ":") {
		return s // it begins with a name, which is as it is
	}
	return strings.ToUpper(s[:1]) + s[1:]
}

func targets(names []string) string {
	if len(names) > 3 {
		return fmt.Sprintf("%s and %d more", display.Line(names[0], 64), len(names)-1)
	}
	clean := make([]string, len(names))
	for i, n := range names {
		clean[i] = display.Line(n, 64)
	}
	return strings.Join(clean, ", ")
}
