package command

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"golang.org/x/crypto/ssh"

	"jit-gateway/approval/mfa"
	"jit-gateway/internal/audit"
	"jit-gateway/internal/dialogue"
	"jit-gateway/internal/display"
	"jit-gateway/internal/identity"
	"jit-gateway/internal/store"
)

type enrollCmd struct {
	Code     string `arg:"" optional:"" help:"One-time code; asked for if not given."`
	NewKey   bool   `help:"Print a one-time code with which you register a further key of yours." xor:"what"`
	Replace  bool   `help:"Replace your second factor, with a code of the present one." xor:"what"`
	Recovery bool   `help:"Print new recovery codes; the present ones stop working." xor:"what"`
	Remove   string `help:"Remove this key of yours." placeholder:"SHA256:…" xor:"what"`
}

// Help is shown below the usage.
func (*enrollCmd) Help() string {
	return "With a one-time code it registers the key of this connection, and a second factor if you have none.\n\nExample: ssh -t enroll@jit-gateway enroll 7K2M9…"
}

// enrolTries is how often a first code may be wrong before the invite is lost.
const enrolTries = 5

func (e *enrollCmd) Run(c *call) error {
	known := c.inv.User.ID != ""
	switch {
	case (e.NewKey || e.Replace || e.Recovery || e.Remove != "") && !known:
		return failf("That is for registered users.")
	case e.NewKey:
		return c.newKeyCode()
	case e.Replace:
		return c.replaceFactor()
	case e.Recovery:
		return c.newRecovery()
	case e.Remove != "":
		return c.removeKey(e.Remove)
	case c.inv.LocalAdmin:
		return failf("Enrolment registers the key of an SSH connection; admin.sock has none.")
	}
	return c.enroll(e.Code)
}

// enroll redeems a one-time code. The code is spent at the last moment, with
// the first code of the authenticator, so that somebody who turns back at the
// QR code can come again.
func (c *call) enroll(code string) error {
	users, now := c.r.o.Users, c.r.o.Now
	code, err := c.ask("One-time code: ", code, "A one-time code is needed: "+EnrollCommand(c.r.o.Public, "CODE"))
	if err != nil {
		return err
	}
	inv, err := identity.OpenInvite(c.ctx, users, code, now())
	if err != nil {
		return c.wrongInvite(err)
	}
	u, err := users.User(c.ctx, inv.UserID)
	if err != nil {
		return err
	}
	switch {
	case !u.Usable(now()):
		return failf("The user %s is disabled. Ask an administrator.", display.Line(u.Name, 64))
	case c.inv.User.ID != "" && c.inv.User.ID != u.ID:
		return failf("This key belongs to %s, the code is for %s. Use another key.", display.Line(c.inv.User.Name, 64), display.Line(u.Name, 64))
	case c.inv.User.ID == "" && c.inv.Offered == nil:
		return failf("This connection has no key that could be registered. Name one with -i KEY.")
	}
	actor := audit.Actor{ID: u.ID, Name: u.Name, Source: c.inv.Caller.Source, Via: c.inv.Caller.Via}
	have, err := c.r.o.MFA.Factors(c.ctx, u.ID)
	if err != nil {
		return err
	}
	fresh := !hasTOTP(have) && u.Kind != identity.Machine // a machine's second factor is no authenticator
	if !fresh && u.Kind != identity.Machine {
		answer, err := c.term.Ask(c.ctx, fmt.Sprintf("%s has a second factor. Replace it with a new one? [y/N]: ", display.Line(u.Name, 64)), true)
		if errors.Is(err, dialogue.ErrInterrupted) {
			return failf("Stopped; the one-time code is still good.")
		}
		fresh = strings.HasPrefix(strings.ToLower(answer), "y")
	}
	redeem := func() (identity.Invite, error) {
		got, err := identity.Redeem(c.ctx, users, code, now(), actor)
		if err != nil {
			return got, c.wrongInvite(err)
		}
		return got, c.registerKey(u, actor)
	}
	if !fresh {
		if _, err := redeem(); err != nil {
			return err
		}
		c.say("%s: this key is registered.", display.Line(u.Name, 64))
		return c.afterEnroll(u)
	}
	enrolment := c.r.o.MFA.BeginTOTP(u.Name)
	first, err := c.showSecret(u, enrolment)
	if err != nil {
		return err
	}
	got, err := redeem()
	if err != nil {
		return err
	}
	recovery, err := c.confirmCode(first, func(code string) ([]string, error) {
		var list []string
		var err error
		if hasTOTP(have) {
			_, list, err = c.r.o.MFA.ResetTOTP(c.ctx, u.ID, got.ID, enrolment, code, actor)
		} else {
			_, list, err = c.r.o.MFA.ConfirmTOTP(c.ctx, u.ID, enrolment, code, actor)
		}
		return list, err
	})
	if err != nil {
		return err
	}
	c.say("%s: key and second factor are registered.", display.Line(u.Name, 64))
	c.showRecovery(recovery)
	return c.afterEnroll(u)
}

// registerKey adds the connection's key, whose signature was verified, unless
// it is the user's already.
func (c *call) registerKey(u identity.User, actor audit.Actor) error {
	if c.inv.User.ID == u.ID {
		return nil
	}
	fp := ssh.FingerprintSHA256(c.inv.Offered)
	err := c.r.o.Users.AddKey(c.ctx, identity.Key{Fingerprint: fp, UserID: u.ID, Authorized: keyLine(c.inv.Offered), CreatedAt: c.r.o.Now().UTC()},
		audit.Event{Type: audit.KeyAdded, Outcome: audit.Success, Actor: actor, User: u.ID, Detail: map[string]string{"fingerprint": fp, "by": "invite"}})
	if errors.Is(err, store.ErrExists) {
		return failf("This key is registered already, for another user.")
	}
	return err
}

// showSecret shows what the authenticator needs and asks for its first code.
func (c *call) showSecret(u identity.User, e mfa.Enrolment) (code string, err error) {
	qr, err := qrText(e.URI)
	if err != nil {
		return "", err
	}
	c.say("Second factor of %s: scan this with an authenticator app, or type the secret.\n%sSecret: %s\n%s", display.Line(u.Name, 64), qr, e.Secret, e.URI)
	code, err = c.term.Ask(c.ctx, "Code that the app shows now: ", false)
	switch {
	case errors.Is(err, dialogue.ErrInterrupted), errors.Is(err, io.EOF):
		return "", failf("Stopped; nothing was registered, and the one-time code is still good.")
	}
	return code, err
}

func (c *call) confirmCode(code string, try func(code string) ([]string, error)) ([]string, error) {
	for n := 1; ; n++ {
		list, err := try(code)
		switch {
		case err == nil:
			return list, nil
		case !errors.Is(err, mfa.ErrWrongCode) && !errors.Is(err, mfa.ErrUsedCode):
			return nil, err
		case n == enrolTries:
			return nil, failf("That code is wrong too. No second factor was registered; ask an administrator for a new one-time code.")
		}
		c.say("That code is wrong. Is the time of your device set automatically?")
		if code, err = c.term.Ask(c.ctx, "Code that the app shows now: ", false); err != nil {
			return nil, failf("Stopped; no second factor was registered. Ask an administrator for a new one-time code.")
		}
	}
}

func (c *call) showRecovery(codes []string) {
	if len(codes) == 0 {
		return
	}
	c.say("Recovery codes, each good once in place of a code. Keep them where the authenticator is not:\n  %s", strings.Join(codes, "\n  "))
}

func (c *call) afterEnroll(u identity.User) error {
	if c.root.JSON {
		return c.json(map[string]string{"user": u.Name, "key": c.inv.Caller.KeyFingerprint})
	}
	// Until these lines are there, the short name means nothing to ssh.
	first := outerCommand(c.r.o.Public, "", u.Name)
	c.say("Next, once, the lines for your ssh client:\n  %s config --known-hosts >> ~/.ssh/known_hosts\n  %s config --ssh >> ~/.ssh/config", first, first)
	return nil
}

// wrongInvite counts in the log: somebody may be guessing.
func (c *call) wrongInvite(err error) error {
	if !errors.Is(err, identity.ErrInvite) {
		return err
	}
	ev := audit.Event{Type: audit.LoginFailed, Outcome: audit.Denied, Actor: c.actor(), User: c.inv.User.ID, Reason: "one-time code not valid",
		Detail: map[string]string{"fingerprint": c.inv.Caller.KeyFingerprint, "source": c.inv.Caller.Source}}
	if _, lerr := c.r.o.Log.Append(c.ctx, ev); lerr != nil {
		return fmt.Errorf("record a wrong one-time code: %w", lerr)
	}
	return failf("%s", dialogue.Sentence(identity.ErrInvite.Error()))
}

func hasTOTP(fs []mfa.Factor) bool {
	for _, f := range fs {
		if f.Kind == mfa.TOTP {
			return true
		}
	}
	return false
}

// newKeyCode gives the user a one-time code for a further key, under a fresh
// second factor: a key alone registers nothing.
func (c *call) newKeyCode() error {
	if _, err := c.r.o.Dialogue.Proof(c.ctx, c.term, c.inv.Caller, ""); err != nil {
		return err
	}
	return c.apply(change{User: c.inv.User.ID, Invite: keyCodeLifetime})
}

func (c *call) replaceFactor() error {
	proof, err := c.r.o.Dialogue.Proof(c.ctx, c.term, c.inv.Caller, "Code of the present factor: ")
	if err != nil {
		return err
	}
	u := c.inv.User
	enrolment := c.r.o.MFA.BeginTOTP(u.Name)
	first, err := c.showSecret(u, enrolment)
	if err != nil {
		return err
	}
	recovery, err := c.confirmCode(first, func(code string) ([]string, error) {
		_, list, err := c.r.o.MFA.ReplaceTOTP(c.ctx, u.ID, proof, enrolment, code, c.actor())
		return list, err
	})
	if err != nil {
		return err
	}
	c.say("The second factor is replaced.")
	c.showRecovery(recovery)
	return nil
}

func (c *call) newRecovery() error {
	proof, err := c.r.o.Dialogue.Proof(c.ctx, c.term, c.inv.Caller, "")
	if err != nil {
		return err
	}
	codes, err := c.r.o.MFA.NewRecoveryCodes(c.ctx, c.inv.User.ID, proof, c.actor())
	if err != nil {
		return err
	}
	if c.root.JSON {
		return c.json(codes)
	}
	c.print("%s", strings.Join(codes, "\n"))
	return nil
}

func (c *call) removeKey(fp string) error {
	if _, err := c.r.o.Dialogue.Proof(c.ctx, c.term, c.inv.Caller, ""); err != nil {
		return err
	}
	return c.dropKey(c.inv.User, fp)
}

func (c *call) dropKey(u identity.User, fp string) error {
	err := c.r.o.Users.RemoveKey(c.ctx, u.ID, fp, audit.Event{Type: audit.KeyRemoved, Outcome: audit.Success, Actor: c.actor(), User: u.ID,
		Detail: map[string]string{"fingerprint": display.Line(fp, 100)}})
	if isNotFound(err) {
		return failf("%s has no key %s.", display.Line(u.Name, 64), display.Line(fp, 100))
	}
	if err == nil {
		c.say("The key %s is removed; its connections end now.", display.Line(fp, 100))
	}
	return err
}
