package main

import (
	"context"
	"errors"
	"fmt"

	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"jit-gateway/internal/audit"
	"jit-gateway/internal/backup"
	"jit-gateway/internal/config"
	"jit-gateway/internal/display"
	"jit-gateway/internal/identity"
	"jit-gateway/internal/seal"
	"jit-gateway/internal/store"
	"jit-gateway/internal/store/sqlite"
)

type restoreCmd struct {
	File     string   `arg:"" help:"Backup to restore." type:"existingfile"`
	Data     string   `help:"Data directory to restore into: empty, or not there yet." required:"" type:"path"`
	SealKey  string   `help:"The sealing key, which is not in the backup; it is copied to keys/seal.key." placeholder:"FILE" type:"existingfile"`
	Against  []string `help:"Copy of the audit log that was kept outside, to see what the backup has not: JSON lines of a file sink or of audit export, or a signed checkpoint. May be repeated." placeholder:"FILE" type:"existingfile" sep:"none"`
	Identity []string `short:"i" help:"age identity file or SSH private key, for an encrypted backup." type:"existingfile" sep:"none"`
}

// Help is shown below the usage.
func (restoreCmd) Help() string {
	return "What the backup has as open may have been used, ended or refused since. So every grant, token, request, invite and sign-in ends, " +
		"and every code up to now is spent; each is an event in the log. Users, keys and targets are as they were: " +
		"--against names what happened since, so that it can be done again."
}

// Run restores. It stops before anything is changed when the file is not
// whole, and ends with status 1 when the log is not what a copy says.
func (r restoreCmd) Run(ctx context.Context, s *io3) error {
	ids, err := identities(r.Identity)
	if err != nil {
		return err
	}
	f, err := os.Open(r.File)
	if err != nil {
		return err
	}
	defer f.Close()
	m, err := backup.Read(f, r.Data, ids...)
	if err != nil {
		return err
	}
	fmt.Fprintf(s.out, "Backup of %s, made %s, with %d events.\n", display.Line(m.Gateway, 100), m.Made.UTC().Format(time.RFC3339), m.Events)
	if err := r.sealKey(); err != nil {
		return err
	}
	good, err := r.begin(ctx, s, m)
	if err != nil {
		return fmt.Errorf("%w; the files are in %s, and no gateway may start on them: remove them and restore again", err, r.Data)
	}
	r.next(s, m)
	if !good {
		return exitError(1)
	}
	return nil
}

func (r restoreCmd) sealKey() error {
	if r.SealKey == "" {
		return nil
	}
	b, err := os.ReadFile(r.SealKey)
	if err != nil {
		return err
	}
	if _, err := seal.ParseKey(strings.TrimRight(string(b), "\r\n"), r.SealKey); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Join(r.Data, "keys"), 0o700); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(r.Data, "keys", "seal.key"), b, 0o600)
}

// begin makes the store one that a gateway may start on. good: the log is
// intact, and every copy agrees with it as far as it reaches.
func (r restoreCmd) begin(ctx context.Context, s *io3, m backup.Manifest) (good bool, err error) {
	keys := filepath.Join(r.Data, "keys")
	skey, err := config.Secret("file:" + filepath.Join(keys, "audit.key"))
	if err != nil {
		return false, err
	}
	vkey, err := audit.PublicKey(skey)
	if err != nil {
		return false, err
	}
	db, err := sqlite.Open(ctx, filepath.Join(r.Data, backup.StoreName), sqlite.Options{Now: now})
	if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	rep, err := audit.Verify(ctx, db, vkey, audit.VerifyOptions{Against: []string{m.Checkpoint}})
	if err != nil {
		return false, fmt.Errorf("verify the restored log: %w", err)
	}
	fmt.Fprintln(s.out, display.Line(rep.String(), 2000))
	good = rep.Intact()
	var found []*backup.Comparison
	for _, name := range r.Against {
		c, err := compare(ctx, db, name, vkey)
		if err != nil {
			return false, err
		}
		found = append(found, c)
		good = good && len(c.Differs) == 0 && c.Problem == ""
	}
	done, err := db.Restore(ctx, now(), spentStep(now()), r.event(m, rep))
	if err != nil {
		return false, err
	}
	fmt.Fprintf(s.out, "Ended: %d grants, %d tokens, %d requests, %d invites, %d browsers, %d changes that waited.\nSpent: the codes of %d authenticators up to now, %d recovery codes.\n",
		done.Grants, done.Tokens, done.Requests, done.Invites, done.Browsers, done.Acts, done.Factors, done.Codes)
	for _, c := range found {
		if err := r.tell(ctx, s, db, c); err != nil {
			return false, err
		}
	}
	signer, err := audit.NewSigner(skey)
	if err != nil {
		return false, err
	}
	_, err = (&audit.Checkpointer{Log: db, Source: db, Signer: signer, Now: now}).Sign(ctx)
	return good, err
}

// spentStep is the newest TOTP step that a gateway would take now: one ahead
// of the clock.
func spentStep(t time.Time) int64 { return t.Unix()/30 + 1 }

func (r restoreCmd) event(m backup.Manifest, rep audit.Report) audit.Event {
	return audit.Event{Type: audit.GatewayRestored, Outcome: audit.Success, Actor: audit.Actor{Name: "local-admin", Via: "restore"},
		Detail: map[string]string{"gateway": m.Gateway, "made": m.Made.UTC().Format(time.RFC3339), "events": strconv.FormatInt(rep.Events, 10), "root": rep.Root.String(), "intact": strconv.FormatBool(rep.Intact())}}
}

func compare(ctx context.Context, db *sqlite.DB, name, vkey string) (*backup.Comparison, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return backup.Compare(ctx, db, f, filepath.Base(name), vkey)
}

// maxTold bounds the missing events that are listed one by one.
const maxTold = 200

// tell says what a copy has more, to people and to the log.
func (r restoreCmd) tell(ctx context.Context, s *io3, db *sqlite.DB, c *backup.Comparison) error {
	ev := audit.Event{Type: audit.LogCompared, Outcome: audit.Success, Actor: audit.Actor{Name: "local-admin", Via: "restore"}, Detail: map[string]string{
		"copy": c.Copy, "events": strconv.FormatInt(c.Events, 10), "copy_events": strconv.FormatInt(c.Reaches, 10), "missing": strconv.FormatInt(c.Missing, 10), "differs": strconv.Itoa(len(c.Differs))}}
	if len(c.Differs) > 0 || c.Problem != "" {
		ev.Outcome = audit.Failure
	}
	if !c.Good() {
		ev.Reason = c.String()
	}
	var types []string
	for t, n := range c.Types {
		types = append(types, fmt.Sprintf("%s=%d", t, n))
	}
	slices.Sort(types)
	ev.Detail["types"] = strings.Join(types, " ")
	if _, err := db.Append(ctx, ev); err != nil {
		return err
	}
	fmt.Fprintln(s.out, display.Line(c.String(), 1000))
	for i, e := range c.Lost {
		if i == maxTold {
			fmt.Fprintf(s.out, "  and %d more\n", c.Missing-maxTold)
			break
		}
		line := fmt.Sprintf("%d %s %s", e.Seq, e.Time.UTC().Format(time.RFC3339), e.Type)
		for _, more := range []string{e.Actor.Name, e.User, e.Target, e.Request, e.Grant, e.Session} {
			if more != "" {
				line += " " + more
			}
		}
		fmt.Fprintln(s.out, "  "+display.Line(line, 300))
	}
	return again(ctx, s, db, c)
}

// again does anew what took access away and was lost: an account that was
// disabled, a key that was removed. What gave access is for people to decide.
func again(ctx context.Context, s *io3, db *sqlite.DB, c *backup.Comparison) error {
	why := func(e audit.Event) audit.Event {
		return audit.Event{Type: e.Type, Outcome: audit.Success, Actor: audit.Actor{Name: "local-admin", Via: "restore"}, User: e.User,
			Reason: fmt.Sprintf("event %d of %s, which the backup has not", e.Seq, c.Copy), Detail: e.Detail}
	}
	for _, e := range c.Lost {
		if e.Outcome != audit.Success {
			continue
		}
		var err error
		switch e.Type {
		case audit.UserDisabled:
			err = disable(ctx, db, e.User, why(e))
		case audit.KeyRemoved:
			err = db.RemoveKey(ctx, e.User, e.Detail["fingerprint"], why(e))
		case audit.FactorRemoved:
			err = db.RemoveFactor(ctx, e.User, e.Detail["factor"], why(e))
		default:
			continue
		}
		if errors.Is(err, store.ErrNotFound) || errors.Is(err, store.ErrConflict) {
			continue // it came and went after the backup
		}
		if err != nil {
			return err
		}
		fmt.Fprintf(s.out, "Done again: %s of user %s.\n", e.Type, display.Line(e.User, 64))
	}
	return nil
}

// next says what is left to do.
func (r restoreCmd) next(s *io3, m backup.Manifest) {
	conf := filepath.Join(r.Data, backup.ConfigName)
	say := func(format string, args ...any) { fmt.Fprintf(s.out, format+"\n", args...) }
	say("\nData directory  %s\nConfiguration   %s", r.Data, conf)
	if c, err := config.Load(conf); err != nil {
		say("It cannot be read here: %s", display.Line(err.Error(), 1000))
	} else if c.DataDir != r.Data || c.Store.Path != filepath.Join(r.Data, backup.StoreName) {
		say("It names the data directory %s and the store %s: change it before you start a gateway with it.", c.DataDir, c.Store.Path)
	}
	if r.SealKey == "" {
		say("The sealing key was at %s. It is not in the backup: put it where the configuration says.", display.Line(m.SealKey, 200))
	}
	say("Users wait for their next code, a minute at most; recovery codes are made anew.")
}

func disable(ctx context.Context, db *sqlite.DB, id string, ev audit.Event) error {
	u, err := db.User(ctx, id)
	if err != nil {
		return err
	}
	if u.State == identity.Disabled {
		return nil
	}
	u.State = identity.Disabled
	return db.UpdateUser(ctx, u, ev)
}
