package sqlstore

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"jit-gateway/approval"
	"jit-gateway/approval/mfa"
	"jit-gateway/internal/audit"
	"jit-gateway/internal/store"
)

// Restore is what a store that began again from a backup does first: what the
// backup has as open may have been used, ended or answered since. Grants and
// tokens end; every TOTP step up to step is spent, and every recovery code;
// browsers, sign-in links, invites, requests and changes that wait are over.
// Each is an event, and all of it is one transaction: start is the first one.
func (db *DB) Restore(ctx context.Context, now time.Time, step int64, start audit.Event) (r store.Restored, err error) {
	err = db.write(ctx, func(t *tx) error {
		r = store.Restored{}
		if _, err := t.append(start); err != nil {
			return err
		}
		for _, do := range []func(*tx, time.Time, *store.Restored) error{endTokens, endGrants, endRequests, endPages, endInvites, endActs} {
			if err := do(t, now, &r); err != nil {
				return err
			}
		}
		if err := spendFactors(t, step, &r); err != nil {
			return err
		}
		// The search index is not in a backup: it is built again from the recordings.
		_, err := t.exec("DELETE FROM cursors WHERE name = 'search'")
		return err
	})
	if err != nil {
		return r, fmt.Errorf("end what the backup has as open: %w", err)
	}
	return r, nil
}

const restoredWhy = "the store was restored from a backup"

func restoredEvent(typ audit.Type) audit.Event {
	return audit.Event{Type: typ, Outcome: audit.Success, Actor: audit.Gateway, Reason: restoredWhy}
}

func endTokens(t *tx, now time.Time, r *store.Restored) error {
	grants, err := t.all("SELECT DISTINCT grant_id FROM tokens WHERE dead_at = 0 ORDER BY grant_id")
	if err != nil {
		return err
	}
	for _, id := range grants {
		n, err := t.exec("UPDATE tokens SET dead_at = ? WHERE grant_id = ? AND dead_at = 0", ns(now), id)
		if err != nil {
			return err
		}
		r.Tokens += int(n)
		ev := restoredEvent(audit.TokenStopped)
		ev.Grant, ev.Detail = id, map[string]string{"tokens": strconv.FormatInt(n, 10)}
		if _, err := t.append(ev); err != nil {
			return err
		}
	}
	return nil
}

func endGrants(t *tx, now time.Time, r *store.Restored) error {
	docs, err := t.all("SELECT doc FROM grants WHERE state <> 'ended' ORDER BY approved_at, id")
	if err != nil {
		return err
	}
	for _, text := range docs {
		g, err := decode[approval.Grant](text)
		if err != nil {
			return err
		}
		g.State, g.Cause, g.EndReason, g.EndedAt = approval.Ended, approval.CauseRestored, restoredWhy, now
		if err := t.updateGrant(g); err != nil {
			return fmt.Errorf("grant %s: %w", g.ID, err)
		}
		ev := restoredEvent(audit.GrantRevoked)
		ev.User, ev.Request, ev.Grant = g.UserID, g.RequestID, g.ID
		if len(g.Targets) == 1 {
			ev.Target = g.Targets[0]
		}
		ev.Detail = map[string]string{"cause": string(g.Cause), "login": g.Login, "rule": g.Rule.Name}
		if _, err := t.append(ev); err != nil {
			return err
		}
		r.Grants++
	}
	return nil
}

func endRequests(t *tx, _ time.Time, r *store.Restored) error {
	docs, err := t.all("SELECT doc FROM requests WHERE state = 'pending' ORDER BY filed_at, id")
	if err != nil {
		return err
	}
	for _, text := range docs {
		q, err := decode[approval.Request](text)
		if err != nil {
			return err
		}
		version := q.Version
		q.State = approval.Expired
		q.Version++
		if text, err = encode(q); err != nil {
			return err
		}
		if err := t.must("UPDATE requests SET state = ?, version = ?, doc = ? WHERE id = ? AND version = ? AND state = 'pending'", string(q.State), q.Version, text, q.ID, version); err != nil {
			return fmt.Errorf("request %s: %w", q.ID, err)
		}
		ev := restoredEvent(audit.RequestExpired)
		ev.User, ev.Request = q.UserID, q.ID
		if _, err := t.append(ev); err != nil {
			return err
		}
		r.Requests++
	}
	return nil
}

// endPages signs every browser out, and spends links that nobody used.
func endPages(t *tx, now time.Time, r *store.Restored) error {
	users, err := t.all("SELECT DISTINCT user_id FROM page_sessions ORDER BY user_id")
	if err != nil {
		return err
	}
	for _, id := range users {
		n, err := t.exec("DELETE FROM page_sessions WHERE user_id = ?", id)
		if err != nil {
			return err
		}
		r.Browsers += int(n)
		ev := restoredEvent(audit.PageSignedOut)
		ev.User = id
		if _, err := t.append(ev); err != nil {
			return err
		}
	}
	n, err := t.exec("UPDATE page_links SET used_at = ? WHERE used_at = 0", ns(now))
	r.Links = int(n)
	return err
}

func endInvites(t *tx, now time.Time, r *store.Restored) error {
	users, err := t.all("SELECT DISTINCT user_id FROM invites WHERE used_at = 0 ORDER BY user_id")
	if err != nil {
		return err
	}
	for _, id := range users {
		n, err := t.exec("UPDATE invites SET used_at = ? WHERE user_id = ? AND used_at = 0", ns(now), id)
		if err != nil {
			return err
		}
		r.Invites += int(n)
		ev := restoredEvent(audit.InviteRevoked)
		ev.User, ev.Detail = id, map[string]string{"invites": strconv.FormatInt(n, 10)}
		if _, err := t.append(ev); err != nil {
			return err
		}
	}
	return nil
}

func endActs(t *tx, now time.Time, r *store.Restored) error {
	docs, err := t.all("SELECT doc FROM admin_acts WHERE state = 'waiting' ORDER BY created_at, id")
	if err != nil {
		return err
	}
	for _, text := range docs {
		a, err := decode[store.AdminAct](text)
		if err != nil {
			return err
		}
		a.State, a.DecidedAt, a.Note = store.ActExpired, now, restoredWhy
		if text, err = encode(a); err != nil {
			return err
		}
		if err := t.must("UPDATE admin_acts SET state = ?, doc = ? WHERE id = ? AND state = 'waiting'", string(a.State), text, a.ID); err != nil {
			return err
		}
		ev := restoredEvent(audit.AdminActConfirmed)
		ev.Outcome, ev.Detail = audit.Denied, map[string]string{"act": a.ID, "state": string(a.State), "asked_by": a.By}
		if _, err := t.append(ev); err != nil {
			return err
		}
		r.Acts++
	}
	return nil
}

// spendFactors makes sure that no code that was used after the backup is good
// again: steps up to step, and every recovery code.
func spendFactors(t *tx, step int64, r *store.Restored) error {
	users, err := t.all("SELECT DISTINCT user_id FROM factors WHERE kind IN ('totp', 'recovery') ORDER BY user_id")
	if err != nil {
		return err
	}
	for _, id := range users {
		steps, err := t.exec("UPDATE factors SET last_step = ? WHERE user_id = ? AND kind = ? AND last_step < ?", step, id, string(mfa.TOTP), step)
		if err != nil {
			return err
		}
		codes, err := t.exec("UPDATE factors SET last_step = 1 WHERE user_id = ? AND kind = ? AND last_step < 1", id, string(mfa.Recovery))
		if err != nil {
			return err
		}
		if steps+codes == 0 {
			continue
		}
		r.Factors, r.Codes = r.Factors+int(steps), r.Codes+int(codes)
		ev := restoredEvent(audit.FactorSpent)
		ev.User, ev.Detail = id, map[string]string{"until_step": strconv.FormatInt(step, 10), "totp": strconv.FormatInt(steps, 10), "recovery_codes": strconv.FormatInt(codes, 10)}
		if _, err := t.append(ev); err != nil {
			return err
		}
	}
	return nil
}
