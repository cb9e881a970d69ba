package evidence

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"time"

	"jit-gateway/approval"
	"jit-gateway/approval/mfa"
	"jit-gateway/internal/audit"
	"jit-gateway/session"
)

// chain walks request → approval → second factor → credentials → sessions →
// invalidation.
func (p *pack) chain(m Manifest) {
	var r approval.Request
	if err := p.document(requestName, &r); err != nil {
		p.check(false, "%v", err)
		return
	}
	var g approval.Grant
	if err := p.document(grantName, &g); err != nil {
		p.check(false, "%v", err)
		return
	}
	p.check(m.Grant == g.ID && g.RequestID == r.ID && g.UserID == r.UserID && g.User == r.User, "grant %s was made from request %s", g.ID, r.ID)
	p.check(g.RequestDigest == r.Digest(), "the grant is bound to the request as it was filed (digest %.16s…)", r.Digest())
	filed := about(p.find(audit.RequestFiled), r.ID)
	p.check(len(filed) == 1 && digestIn(filed, r.Digest()), "the request was logged when it was filed")
	approvals := p.find(audit.RequestApproved)
	approved := about(approvals, r.ID)
	p.check(len(approved) == 1 && digestIn(approved, r.Digest()), "the approval was logged, of that very request")
	for _, e := range approvals {
		if e.Request != r.ID {
			p.check(true, "%s approved a longer window (request %s) with %s at %s", cmp.Or(e.Actor.Name, "the gateway"), e.Request, cmp.Or(e.Detail["factor"], "a rule"), e.Time.UTC().Format(time.RFC3339))
		}
	}
	for _, v := range r.Votes {
		p.vote(m, r, v)
	}
	p.check(g.Hash == g.Digest() && hashIn(approved, g.Hash), "the approval was of this grant: its window, targets and rule (hash %.16s…)", g.Hash)
	activated := p.find(audit.GrantActivated)
	started := p.find(audit.SessionStarted)
	if p.check(len(activated) > 0 || len(started) == 0, "a second factor activated the grant before any session") && len(activated) > 0 && len(started) > 0 {
		p.check(activated[0].Seq < started[0].Seq, "the activation comes before the first session")
	}
	p.window(m, g)
	p.invalidations(g)
	p.rows(started)
	ends := p.find(audit.SessionEnded, audit.SessionCrashed)
	open := len(started)
	for _, s := range started {
		if slices.ContainsFunc(ends, func(e audit.Event) bool { return e.Session == s.Session }) {
			open--
		}
	}
	p.check(open <= 0, "%d sessions, %d of them still open", len(started), max(open, 0))
	for _, e := range ends {
		p.check(g.EndedAt.IsZero() || g.End.IsZero() || !e.Time.After(latest(g).Add(time.Minute)), "session %s ended at %s", e.Session, e.Time.UTC().Format(time.RFC3339Nano))
	}
}

// latest is when nothing of the grant may live any more.
func latest(g approval.Grant) time.Time {
	if !g.EndedAt.IsZero() && g.EndedAt.Before(g.End) {
		return g.EndedAt
	}
	return g.End
}

func digestIn(events []audit.Event, digest string) bool {
	return slices.ContainsFunc(events, func(e audit.Event) bool { return e.Detail["digest"] == digest })
}

// invalidations: each credential that was minted was checked to be dead.
func (p *pack) invalidations(g approval.Grant) {
	minted, dead := p.find(audit.CredentialMinted), p.find(audit.CredentialDead)
	for _, c := range minted {
		id := c.Detail["credential"]
		i := slices.IndexFunc(dead, func(e audit.Event) bool { return e.Detail["credential"] == id })
		what := fmt.Sprintf("%s %s", c.Detail["kind"], c.Detail["name"])
		switch {
		case i >= 0:
			p.check(true, "%s was invalidated and checked%s", what, millis(dead[i]))
		case g.State != approval.Ended:
			p.check(true, "%s lives: the grant has not ended", what)
		default:
			p.check(false, "%s has no check that it is dead", what)
		}
	}
}

// millis is how long after the end the check was done.
func millis(e audit.Event) string {
	ms, err := strconv.ParseFloat(e.Detail["after_end_ms"], 64)
	if err != nil {
		return ""
	}
	return fmt.Sprintf(", %.0f ms after the end", ms)
}

// vote: whoever approved is in the log with the very factor, and a passkey
// signed the very request.
func (p *pack) vote(m Manifest, r approval.Request, v approval.Vote) {
	if !p.check(v.Digest == r.Digest() && v.UserID != r.UserID && v.Person != r.UserID, "%s, not the requester, approved it with %s at %s",
		v.User, v.Factor.Kind, v.At.UTC().Format(time.RFC3339)) {
		return
	}
	i := slices.IndexFunc(p.find(audit.RequestVoted, audit.RequestApproved), func(e audit.Event) bool {
		return e.Request == r.ID && e.Actor.ID == v.UserID && e.Actor.Name == v.User && e.Detail["factor"] == string(v.Factor.Kind) && e.Detail["evidence"] == v.Factor.Evidence
	})
	if p.check(i >= 0, "the log has the approval of %s with that factor", v.User) && v.Factor.Kind == mfa.Passkey {
		p.assertion("the passkey of "+v.User, v.Factor.Evidence, r.Digest(), m.Site)
	}
}

// assertion checks a passkey's signature anew. Whose passkey it is, is for the
// log to say; on which site it was used, for the manifest.
func (p *pack) assertion(whose, evidence, digest, site string) {
	if site == "" {
		p.check(true, "%s signed; the pack does not name the site, so the signature was not checked again", whose)
		return
	}
	if err := mfa.VerifyEvidence(evidence, digest, site); err != nil {
		p.check(false, "%s did not sign exactly this: %v", whose, err)
		return
	}
	p.check(true, "%s signed exactly this, on %s, with its user verified", whose, site)
}

// window: the grant's times are those that the log has.
func (p *pack) window(m Manifest, g approval.Grant) {
	moved := p.find(audit.GrantActivated, audit.GrantExtended)
	if len(moved) == 0 {
		p.check(g.Start.IsZero() && g.State != approval.Active, "the grant was never activated")
		return
	}
	last := moved[len(moved)-1]
	p.check(last.Detail["end"] == g.End.Format(time.RFC3339Nano) && moved[0].Detail["start"] == g.Start.Format(time.RFC3339Nano),
		"the window was from %s to %s", g.Start.UTC().Format(time.RFC3339), g.End.UTC().Format(time.RFC3339))
	first := moved[0]
	if first.Detail["factor"] == string(mfa.Passkey) && first.Detail["evidence"] != "" {
		p.assertion("the requester's passkey", first.Detail["evidence"], g.Hash, m.Site)
	}
}

// rows: the list of sessions is that of the log, no more and no less.
func (p *pack) rows(started []audit.Event) {
	var rows []session.Row
	if err := p.document(sessionsName, &rows); err != nil {
		p.check(false, "%v", err)
		return
	}
	ok := true
	for _, row := range rows {
		i := slices.IndexFunc(started, func(e audit.Event) bool { return e.Session == row.ID })
		if i < 0 || started[i].User != row.UserID || started[i].Actor.Name != row.User || started[i].Target != row.Target || started[i].Detail["login"] != row.Login {
			p.check(false, "session %s is in the list, and the log has another or none", row.ID)
			ok = false
		}
	}
	for _, e := range started {
		if !slices.ContainsFunc(rows, func(r session.Row) bool { return r.ID == e.Session }) {
			p.check(false, "session %s is in the log, and missing from the list", e.Session)
			ok = false
		}
	}
	if ok {
		p.check(true, "the list of sessions is that of the log")
	}
}

func hashIn(events []audit.Event, hash string) bool {
	return slices.ContainsFunc(events, func(e audit.Event) bool { return e.Detail["grant_hash"] == hash })
}

func about(events []audit.Event, request string) (out []audit.Event) {
	for _, e := range events {
		if e.Request == request {
			out = append(out, e)
		}
	}
	return out
}
