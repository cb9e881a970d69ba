package command

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"jit-gateway/internal/admin"
	"jit-gateway/internal/audit"
	"jit-gateway/internal/dialogue"
	"jit-gateway/internal/display"
	"jit-gateway/internal/store"
	"jit-gateway/recording"
)

// Keeper keeps sealed recordings: `recording hold`, `release-hold`, `delete`.
type Keeper interface {
	Recording(ctx context.Context, session string) (store.Recording, error)
	Recordings(ctx context.Context, f store.RecordingFilter) ([]store.Recording, error)
	Hold(ctx context.Context, session, reason string, actor audit.Actor, name string) error
	Release(ctx context.Context, session, reason string, actor audit.Actor) error
	Judge(ctx context.Context, session string) (store.DeletionVerdict, error)
	Due(ctx context.Context) ([]store.Recording, error)
	// Delete carries a decision out; done says whether nothing is left.
	Delete(ctx context.Context, actor audit.Actor, o store.DeletionOrder) (done bool, err error)
}

// callerName is the caller for people who read it later.
func (c *call) callerName() string {
	if c.inv.LocalAdmin {
		return "the local administrator"
	}
	return c.inv.User.Name
}

type recordingHoldCmd struct {
	Sessions []string `arg:"" name:"session" help:"Sessions."`
	Reason   string   `help:"Why it must be kept, such as the number of a case. Asked for if not given." short:"r"`
}

// Help is shown below the usage.
func (*recordingHoldCmd) Help() string {
	return "Keeps recordings whatever their retention, until they are released. In an object store with Object Lock they are under its legal hold, too."
}

func (h *recordingHoldCmd) Run(c *call) error {
	reason, err := c.reason(h.Reason)
	if err != nil {
		return err
	}
	if err := c.confirmAdmin(); err != nil {
		return err
	}
	return c.each(h.Sessions, func(id string) (string, any, error) {
		id = cleanID(id)
		if err := c.kept(id, c.r.o.Keeper.Hold(c.ctx, id, reason, c.actor(), c.callerName())); err != nil {
			return "", nil, err
		}
		return "The recording of " + id + " is held.", map[string]string{"session": id, "hold": reason}, nil
	})
}

type recordingReleaseCmd struct {
	Sessions []string `arg:"" name:"session" help:"Sessions."`
	Reason   string   `help:"Why it need not be kept any more. Asked for if not given." short:"r"`
}

// Help is shown below the usage.
func (*recordingReleaseCmd) Help() string {
	return "Ends a hold. What is past its retention is deleted then, unless its rule wants two people for it."
}

func (h *recordingReleaseCmd) Run(c *call) error {
	reason, err := c.reason(h.Reason)
	if err != nil {
		return err
	}
	if err := c.confirmAdmin(); err != nil {
		return err
	}
	return c.each(h.Sessions, func(id string) (string, any, error) {
		id = cleanID(id)
		if err := c.kept(id, c.r.o.Keeper.Release(c.ctx, id, reason, c.actor())); err != nil {
			return "", nil, err
		}
		return "The recording of " + id + " is not held any more.", map[string]string{"session": id}, nil
	})
}

// kept words an error of the Keeper.
func (c *call) kept(id string, err error) error {
	if err == nil || errors.Is(err, context.Canceled) {
		return err
	}
	if isNotFound(err) {
		return failf("There is no sealed recording %s. See: %srecording list", display.Line(id, 40), c.prefix())
	}
	return failf("%s", dialogue.Sentence(err.Error()))
}

// kindDelete is what a deletion that takes two people is called.
const kindDelete = "recording.delete"

type deleteArgs struct {
	Sessions []string `json:"sessions"`
	Reason   string   `json:"reason"`
	ByName   string   `json:"by_name"`
}

type recordingDeleteCmd struct {
	Sessions []string `arg:"" optional:"" name:"session" help:"Sessions."`
	Due      bool     `help:"Those that are past their retention and wait for two people."`
	Reason   string   `help:"Why; it stays in the log. Asked for if not given." short:"r"`
}

// Help is shown below the usage.
func (*recordingDeleteCmd) Help() string {
	return "What is past its retention the gateway deletes by itself, unless the rule has two_to_delete: then one administrator asks here and another confirms. " +
		"Before its retention ends, a recording takes a second administrator too, once there are two. What is held or locked nobody deletes. " +
		"The hashes stay in the audit log, which says who deleted it and why."
}

func (d *recordingDeleteCmd) Run(c *call) error {
	ids, err := d.ids(c)
	if err != nil || len(ids) == 0 {
		return err
	}
	reason, err := c.reason(d.Reason)
	if err != nil {
		return err
	}
	var alone, together []string
	must := false
	for _, id := range ids {
		v, err := c.r.o.Keeper.Judge(c.ctx, id)
		if err == nil && v.Refused != "" {
			err = errors.New(v.Refused)
		}
		if err != nil {
			return c.kept(id, err)
		}
		if v.Two || v.Early {
			together = append(together, id)
		} else {
			alone = append(alone, id)
		}
		must = must || v.Two
	}
	if err := c.confirmAdmin(); err != nil {
		return err
	}
	if len(together) > 0 && !must {
		// Only too early: as everything that takes away for good, it wants a
		// second administrator if there is one.
		second, err := c.r.admin.SecondAdmin(c.ctx, c.inv.User)
		if err != nil {
			return err
		}
		if c.inv.LocalAdmin || !second {
			alone, together = append(alone, together...), nil
		}
	}
	if len(together) > 0 {
		args := deleteArgs{Sessions: together, Reason: reason, ByName: c.callerName()}
		act, err := c.r.admin.Ask(c.ctx, c.by(), kindDelete, args, fmt.Sprintf("delete the recording of %s: %s", strings.Join(together, ", "), reason))
		if err := c.told(admin.Outcome{Act: &act}, err); err != nil {
			return err
		}
	}
	if len(alone) == 0 {
		return nil
	}
	return c.each(alone, func(id string) (string, any, error) {
		done, err := c.r.o.Keeper.Delete(c.ctx, c.actor(), store.DeletionOrder{Session: id, ByName: c.callerName(), Reason: reason})
		if err != nil {
			return "", nil, c.kept(id, err)
		}
		return deletedText(id, done), map[string]any{"session": id, "done": done}, nil
	})
}

func (d *recordingDeleteCmd) ids(c *call) ([]string, error) {
	if d.Due == (len(d.Sessions) > 0) {
		return nil, usagef("Name sessions, or --due.")
	}
	var ids []string
	for _, id := range d.Sessions {
		ids = append(ids, cleanID(id))
	}
	if !d.Due {
		return ids, nil
	}
	list, err := c.r.o.Keeper.Due(c.ctx)
	for _, r := range list {
		ids = append(ids, r.Session)
	}
	if err == nil && len(ids) == 0 {
		c.say("No recording is past its retention and waits for two people.")
	}
	return ids, err
}

func deletedText(id string, done bool) string {
	if done {
		return "The recording of " + id + " is deleted."
	}
	return "The recording of " + id + " is not read any more; its bytes go as soon as what is under way is done."
}

// deleteConfirmed carries out what a second administrator has confirmed.
func deleteConfirmed(k Keeper) admin.Another {
	return func(ctx context.Context, by admin.By, act store.AdminAct) (string, error) {
		var args deleteArgs
		if err := json.Unmarshal(act.Args, &args); err != nil {
			return "", fmt.Errorf("read what is to be deleted: %w", err)
		}
		if by.LocalAdmin || by.User.ID == "" || by.User.Person() == act.Person {
			return "", fmt.Errorf("a deletion for two people takes two")
		}
		var texts []string
		for _, id := range args.Sessions {
			done, err := k.Delete(ctx, by.Actor, store.DeletionOrder{Session: id, ByName: args.ByName + " and " + by.User.Name,
				AskedBy: act.By, ConfirmedBy: by.User.ID, Reason: args.Reason})
			if err != nil {
				return strings.Join(texts, "\n"), &admin.Refusal{Text: dialogue.Sentence(err.Error())}
			}
			texts = append(texts, deletedText(id, done))
		}
		return strings.Join(texts, "\n"), nil
	}
}

// keptState says in a few words for how long a recording is kept.
func (c *call) keptState(id string) (string, *store.Recording) {
	if c.r.o.Keeper == nil {
		return "", nil
	}
	r, err := c.r.o.Keeper.Recording(c.ctx, id)
	if err != nil {
		return "", nil
	}
	switch {
	case r.Deletion != nil:
		return "deleted " + c.stamp(r.Deletion.OrderedAt) + " by " + r.Deletion.ByName + ": " + r.Deletion.Reason, &r
	case r.Hold != nil:
		return "held by " + r.Hold.ByName + ": " + r.Hold.Reason, &r
	}
	v, err := c.r.o.Keeper.Judge(c.ctx, id)
	switch {
	case err != nil || v.Until.IsZero():
		return "for ever", &r
	case !v.Early && v.Two:
		return "due, two people delete it", &r
	}
	return "until " + v.Until.Format("2006-01-02"), &r
}

// goneFailure is the answer about a recording that was deleted in order.
func goneFailure(err error) error {
	var gone *recording.Deleted
	if !errors.As(err, &gone) {
		return nil
	}
	return failf("%s", dialogue.Sentence(gone.Error()))
}
