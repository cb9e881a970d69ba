package pgproxy

import (
	"context"
	"errors"
	"net"
	"slices"
	"time"

	"jit-gateway/approval"
	"jit-gateway/approval/policy"
	"jit-gateway/internal/dialogue"
	"jit-gateway/internal/inventory"
	"jit-gateway/proxy"
)

// Serve handles a connection that arrived through another handler, which
// knows the user already: the far end of `ssh -L 5433:orders:5432`. It is
// proxy.Handler. No password is asked: the SSH identity is the login, where a
// rule allows tunnels. The startup packet's user names the role; the user's
// own name stands for the only live grant. With a terminal a missing grant is
// asked for there; without one the refusal names the command.
func (s *Server) Serve(ctx context.Context, id proxy.Identity, t inventory.Target, login string, conn net.Conn) error {
	defer conn.Close()
	return proxy.Contain(s.o.Logger, s.o.Metrics.proxy(), "postgres tunnel", func() error {
		return s.tunnel(ctx, id, t, login, conn)
	})
}

func (s *Server) tunnel(ctx context.Context, id proxy.Identity, t inventory.Target, login string, conn net.Conn) error {
	greeted := time.AfterFunc(s.o.LoginTime, func() { conn.Close() }) // an SSH channel may have no deadlines
	g, err := s.greet(ctx, conn)
	if !greeted.Stop() {
		return errors.New("the client did not say what it wants in time")
	}
	if err != nil {
		return s.refuse(g.conn, nil, err)
	}
	if g.cancel != nil {
		s.cancelFor(g.cancel, id.Caller.Source)
		return nil
	}
	v := &visitor{conn: g.conn, start: g.start, source: id.Caller.Source, target: t, welcome: g.start.negotiate()}
	if v.database, err = s.tunnelDatabase(t, g.start); err != nil {
		return s.refuse(v.conn, v.welcome, err)
	}
	if login == "" && g.start.user != id.User.Name {
		login = g.start.user
	}
	if login != "" && !t.Allows(login) {
		return s.refuse(v.conn, v.welcome, fatal(stateNotAllowed, "%s has no role %q", t.Name, login).
			hint("Connect as one of its roles, or as %q for the only grant that you have.", id.User.Name))
	}
	// From here on notices may be sent: the client can see why it waits.
	v.welcome = append(v.welcome, authMessage(0)...)
	in := approval.AdmitInput{Caller: id.Caller, Target: t.Name, Login: login, Needs: func(r policy.Rule) bool { return r.Tunnel }}
	adm, err := s.admitTunnel(ctx, id, v, in)
	if err != nil {
		s.o.Metrics.login("not_admitted")
		return s.refuse(v.conn, v.welcome, s.notAdmitted(err, t.Name))
	}
	s.o.Metrics.login("tunnel")
	return s.session(ctx, v, adm)
}

func (s *Server) admitTunnel(ctx context.Context, id proxy.Identity, v *visitor, in approval.AdmitInput) (approval.Admission, error) {
	if s.o.Dialogue == nil {
		return s.o.Approvals.Admit(ctx, in)
	}
	var term dialogue.Terminal // a nil interface where there is nobody
	if id.Terminal != nil {
		term = &noticing{Terminal: id.Terminal, v: v}
	}
	return s.o.Dialogue.Admit(ctx, term, in)
}

// noticing is the terminal of the SSH session; what it is told, the waiting
// database client is told too.
type noticing struct {
	dialogue.Terminal
	v *visitor
}

func (n *noticing) Say(ctx context.Context, text string) error {
	n.notice(text)
	return n.Terminal.Say(ctx, text)
}

func (n *noticing) Ask(ctx context.Context, prompt string, echo bool) (string, error) {
	n.notice("Answer in your ssh session: " + prompt)
	return n.Terminal.Ask(ctx, prompt, echo)
}

// notice shows the text to the client. One that does not read, or has gone,
// is noticed when the session begins.
func (n *noticing) notice(text string) {
	m := append(n.v.welcome, (&pgError{Severity: severityNotice, Code: "00000", Message: text}).encode()...)
	n.v.welcome = nil
	n.v.conn.SetWriteDeadline(time.Now().Add(time.Second))
	n.v.conn.Write(m)
	n.v.conn.SetWriteDeadline(time.Time{})
}

// tunnelDatabase finds the database that a tunnelled client means: clients
// fill in the target, one of its databases, or, left alone, the user's name.
func (s *Server) tunnelDatabase(t inventory.Target, st *startup) (string, error) {
	p := t.Postgres
	if p == nil {
		return "", fatal(stateNotAllowed, "%s is not a database", t.Name)
	}
	if named, database, ok := s.place(st.database); ok && named.Name == t.Name {
		return database, nil
	}
	switch {
	case st.database == p.Database, slices.Contains(p.Databases, st.database):
		return st.database, nil
	case st.database == st.user:
		return "", nil
	}
	return "", fatal("3D000", "database %q is not reachable through %s", st.database, t.Name).hint("Connect to dbname=%s", t.Name)
}
