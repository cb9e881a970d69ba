package notify

import (
	"context"
	"errors"
	"slices"
	"strings"

	"jit-gateway/approval"
	"jit-gateway/internal/audit"
	"jit-gateway/internal/identity"
	"jit-gateway/internal/store"
)

// ended tells of a grant that is over: an emergency to those who review it,
// any other to its user if somebody else ended it.
func (r *Runner) ended(ctx context.Context, ev audit.Event) (Message, bool, error) {
	g, err := r.o.Store.Grant(ctx, ev.Grant)
	if err != nil {
		return Message{}, false, err
	}
	if g.BreakGlass && g.Rule.BreakGlass != nil && !g.ActivatedAt.IsZero() && g.ReviewedAt.IsZero() {
		m := r.aboutGrant(g, Review, text("the emergency of %s on %s is over and waits for a review", g.User, targets(g.Targets)))
		m.Next = r.command("review " + g.ID)
		m.To, err = r.users(ctx, func(u identity.User) bool {
			return u.ID != g.UserID && slices.ContainsFunc(g.Rule.BreakGlass.Reviews, u.In)
		})
		return m, true, err
	}
	if ev.Type != audit.GrantRevoked || ev.Actor.ID == g.UserID {
		return Message{}, false, nil
	}
	u, err := r.o.Store.User(ctx, g.UserID)
	m := r.aboutGrant(g, Ended, text("%s ended your access to %s", ev.Actor.Name, targets(g.Targets)))
	m.fact("they said", ev.Reason)
	m.To = []identity.User{u}
	return m, true, err
}

// expiring tells the user of a grant that it ends soon.
func (r *Runner) expiring(ctx context.Context, ev audit.Event) (Message, bool, error) {
	g, err := r.o.Store.Grant(ctx, ev.Grant)
	if err != nil || !g.Live(r.o.Now()) {
		return Message{}, false, err
	}
	u, err := r.o.Store.User(ctx, g.UserID)
	m := r.aboutGrant(g, Expiring, text("your access to %s ends at %s", targets(g.Targets), stamp(g.End)))
	if m.To = []identity.User{u}; !g.BreakGlass { // an emergency is not extended
		m.Next = r.command("extend " + g.ID)
	}
	return m, true, err
}

func (r *Runner) aboutGrant(g approval.Grant, about About, title Text) Message {
	m := Message{About: about, Title: title, Link: r.link("/grants/" + g.ID)}
	m.fact("grant", g.ID)
	m.fact("login", g.Login)
	if !g.Start.IsZero() {
		m.fact("from", stamp(g.Start))
	}
	end := g.End
	if !g.EndedAt.IsZero() {
		end = g.EndedAt
	}
	if !end.IsZero() {
		m.fact("to", stamp(end))
	}
	return m
}

// finding tells auditors, or administrators where there are no auditors.
func (r *Runner) finding(ctx context.Context, ev audit.Event) (Message, bool, error) {
	name := ev.User
	if u, err := r.o.Store.User(ctx, ev.User); err == nil {
		name = u.Name
	}
	m := Message{About: Finding, Title: text("unusual, about %s: %s", name, ev.Reason), Link: r.link("/findings"),
		Next: r.command("findings " + ev.Detail["finding"])}
	m.fact("finding", ev.Detail["finding"]+" ("+ev.Detail["code"]+")")
	m.fact("request", ev.Request)
	m.fact("target", ev.Target)
	var err error
	if m.To, err = r.holders(ctx, r.o.Roles.Auditors); err == nil && len(m.To) == 0 {
		m.To, err = r.holders(ctx, r.o.Roles.Admins)
	}
	// Whom it is about is not told: they might act before it is looked at.
	m.To = slices.DeleteFunc(m.To, func(u identity.User) bool { return u.ID == ev.User })
	return m, true, err
}

func (r *Runner) holders(ctx context.Context, groups []string) ([]identity.User, error) {
	return r.users(ctx, func(u identity.User) bool { return slices.ContainsFunc(groups, u.In) })
}

// disabled tells the user and the administrators.
func (r *Runner) disabled(ctx context.Context, ev audit.Event) (Message, bool, error) {
	u, err := r.o.Store.User(ctx, ev.User)
	if err != nil || u.State == identity.Active { // enabled again meanwhile
		return Message{}, false, err
	}
	admins, err := r.holders(ctx, r.o.Roles.Admins)
	m := Message{About: Account, Title: text("the account %s was disabled by %s", u.Name, ev.Actor.Name), To: unique(append([]identity.User{u}, admins...))}
	m.fact("reason", ev.Reason)
	m.fact("groups", strings.Join(u.Groups, ", "))
	return m, true, err
}

// accountEnds tells the user of an account that will be disabled by itself, who
// answers for it, and administrators, who can do something about it.
func (r *Runner) accountEnds(ctx context.Context, ev audit.Event) (Message, bool, error) {
	u, err := r.o.Store.User(ctx, ev.User)
	if err != nil || u.State != identity.Active {
		return Message{}, false, err
	}
	who := []identity.User{u}
	if u.Owner != "" {
		owner, err := r.o.Store.User(ctx, u.Owner)
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return Message{}, false, err
		} else if err == nil {
			who = append(who, owner)
		}
	}
	admins, err := r.holders(ctx, r.o.Roles.Admins)
	m := Message{About: Account, Title: text("the account %s will be disabled on %s", u.Name, ev.Detail["on"]), To: unique(append(who, admins...))}
	m.fact("reason", ev.Reason)
	return m, true, err
}

// alarm tells administrators of what must not happen.
func (r *Runner) alarm(ctx context.Context, ev audit.Event) (Message, bool, error) {
	m := Message{About: Alarm, Urgent: true, Link: r.link("/sessions/" + ev.Session),
		Title: text("a recording failed on %s, and its session was ended", ev.Target)}
	if ev.Type == audit.CredentialAlive {
		m.Title = text("a credential for %s outlived its session: %s", ev.Target, ev.Detail["name"])
	}
	if ev.Session == "" {
		m.Link = r.link("/audit")
	}
	m.fact("session", ev.Session)
	m.fact("grant", ev.Grant)
	m.fact("trouble", ev.Reason)
	var err error
	m.To, err = r.holders(ctx, r.o.Roles.Admins)
	return m, true, err
}

// change tells the other administrators that one of them must confirm.
func (r *Runner) change(ctx context.Context, ev audit.Event) (Message, bool, error) {
	m := Message{About: Change, Title: text("%s asks a second administrator to %s", ev.Actor.Name, ev.Detail["summary"]),
		Next: r.command("confirm " + ev.Detail["act"])}
	m.fact("change", ev.Detail["act"])
	users, err := r.holders(ctx, r.o.Roles.Admins)
	m.To = slices.DeleteFunc(users, func(u identity.User) bool { return u.ID == ev.Actor.ID })
	return m, true, err
}
