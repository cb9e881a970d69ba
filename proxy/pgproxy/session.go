package pgproxy

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"jit-gateway/approval"
	"jit-gateway/internal/inventory"
	"jit-gateway/proxy"
	"jit-gateway/recording"
	"jit-gateway/session"
)

// session is steps 6 to 12: the client is known and admitted.
func (s *Server) session(ctx context.Context, v *visitor, adm approval.Admission) (err error) {
	t := adm.Target()
	v.target = t
	database, err := databaseOf(t, v.database)
	if err != nil {
		return s.refuse(v.conn, v.welcome, err)
	}

	// Step 6, begin.
	var sess *session.Session
	if err := s.aside(func() (err error) {
		sess, err = s.o.Sessions.Begin(ctx, adm, session.Meta{Protocol: "postgres", Source: v.source, Client: clientName(v.start)})
		return err
	}); err != nil {
		return s.refuse(v.conn, v.welcome, fatal(stateCannotNow, "%s", err.Error()).because(err))
	}
	out := session.Outcome{Cause: "logout"}
	defer func() { // Step 12, end; also after a panic.
		if out.Cause == "" {
			out = session.Outcome{Cause: "internal_error", Reason: "internal error"}
		}
		// What could not be ended is audited, and tried again by the manager.
		if ferr := sess.Finish(context.WithoutCancel(ctx), out); ferr != nil {
			s.o.Logger.Error("finish a session", "session", sess.ID(), "err", ferr)
		}
	}()
	ok := false
	defer func() {
		if !ok {
			out.Cause = ""
		}
	}()
	stopServer := context.AfterFunc(ctx, func() {
		sess.Terminate(session.Termination{Cause: "gateway_stopped", Reason: "the gateway is stopping"})
	})
	defer stopServer()

	l := &link{s: s, sess: sess, target: t, client: v.conn, ended: make(chan struct{})}
	// Steps 7 and 8: dial, verify, mint, log in.
	if err := s.aside(func() error { return s.connect(sess.Context(), l, v.start, database) }); err != nil {
		_, panicked := errors.AsType[*proxy.PanicError](err)
		ok = !panicked
		out = session.Outcome{Cause: "upstream_failed", Reason: err.Error()}
		var e *pgError
		if term, is := errors.AsType[*session.Termination](context.Cause(sess.Context())); is {
			e = fatal(stateAdmin, "%s", term.Reason)
		} else if e, is = errors.AsType[*pgError](err); !is || e.Severity == severityFatal {
			e = s.upstreamFailed(sess.ID(), t, err)
		}
		return s.refuse(v.conn, v.welcome, e.because(err))
	}
	defer l.up.conn.Close()

	// Step 9, relay.
	err = s.relay(l, v, adm)
	out, ok = outcomeOf(err), true
	return err
}

// upstreamFailed is what the client learns when the database refuses the
// gateway: that it does, and where the rest is to be found.
func (s *Server) upstreamFailed(id string, t inventory.Target, err error) *pgError {
	s.o.Logger.Warn("log in to a database", "session", id, "target", t.Name, "err", err)
	return fatal(stateUpstream, "the gateway could not log in to %s", t.Name).hint("Tell an administrator: session %s; `target check %s` says what is wrong.", id, t.Name)
}

func outcomeOf(err error) session.Outcome {
	var up *upstreamError
	switch {
	case err == nil:
		return session.Outcome{Cause: "logout"}
	case errors.Is(err, errRecording):
		return session.Outcome{Cause: "recording_failed", Reason: err.Error()}
	case errors.As(err, &up):
		return session.Outcome{Cause: "upstream_failed", Reason: err.Error()}
	case errors.Is(err, errGone):
		return session.Outcome{Cause: "disconnected", Reason: err.Error()}
	case protocolError(err) != nil:
		return session.Outcome{Cause: "protocol_error", Reason: err.Error()}
	}
	return session.Outcome{Cause: "disconnected", Reason: err.Error()}
}

// relay is steps 9 to 11.
func (s *Server) relay(l *link, v *visitor, adm approval.Admission) error {
	rule, sess := adm.Rule(), l.sess
	begun := time.Now()
	rec := sess.Recorder()
	l.tr = newTracker(func(q *recording.SQL) error { return rec.SQL(0, q) }, func() time.Duration { return time.Since(begun) })
	for _, expr := range rule.Recording.RedactParams {
		re, err := regexp.Compile(expr)
		if err != nil {
			return s.refuse(v.conn, v.welcome, fatal(stateInternal, "a rule's redaction does not compile").because(err))
		}
		l.tr.redact = append(l.tr.redact, re)
	}
	l.tr.budget = s.shared.open(adm.Grant().ID, s.o.Name, rule.Budget, adm.Grant().Raised)
	if b := l.tr.budget; b.per == "grant" && s.o.Budgets != nil {
		if err := b.used.share(sess.Context(), s.o.Budgets, b.grant); err != nil { // what was used before, and elsewhere
			return s.refuse(v.conn, v.welcome, fatal(stateCannotNow, "the gateway cannot count this session's budget now").because(err))
		}
		b.used.users.Add(1)
		defer b.used.users.Add(-1)
	}
	l.tr.spent = func(e *pgError) { s.jobs.Go(func() { l.cancel(e.Message) }) }
	l.limit = rule.Postgres.StatementTimeout.Std()
	l.talks = interactive(v.start)
	if s.o.Hold != nil {
		l.tr.hold = func(st *Statement) *pgError {
			if err := s.o.Hold(sess.Context(), sess, *st); err != nil {
				return fatal(stateNotAllowed, "%s", err.Error()).error()
			}
			return nil
		}
	}

	l.prepare()
	// The client's cancel key: the backend's pid with a secret of ours.
	keyData, forget := s.keys.add(l.up.pid, v.start.keyLength(), l)
	defer forget()
	ready := len(l.up.hello) - 6 // ReadyForQuery is the last
	hello := slices.Concat(v.welcome, l.up.hello[:ready], keyData, l.up.hello[ready:])
	l.up.hello = nil

	defer sess.Attach(l)()
	defer s.enter(l)()
	s.o.Metrics.session(1)
	defer s.o.Metrics.session(-1)
	if err := l.start(hello); err != nil {
		return err
	}

	// Steps 10 and 11: the deadline is the session manager's; its cause ends
	// the relay.
	var ends sync.WaitGroup
	ends.Add(1)
	cancelled := context.AfterFunc(sess.Context(), func() {
		defer ends.Done()
		l.terminate()
	})
	err := l.relay()
	if cancelled() {
		ends.Done()
	}
	ends.Wait()
	l.sweep() // the last bytes are counted
	return err
}

// connect is steps 7 and 8.
func (s *Server) connect(ctx context.Context, l *link, st *startup, database string) error {
	adm := l.sess.Admission()
	t := adm.Target()
	role := adm.Login()
	identity := t.Postgres.Identity
	if identity == "" {
		identity = "dynamic_role"
	}
	if adm.Rule().Postgres.ReadOnly {
		if err := s.readOnly(ctx, t, database, role); err != nil {
			return err
		}
	}
	var err error
	if l.at, err = endpointOf(t.Postgres); err != nil {
		return err
	}
	if identity == "client_cert" && l.at.tls != nil {
		// Asked for once the database's own certificate has been verified, so
		// that step 8 comes behind step 7 here too.
		l.at.tls.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return s.mintCert(ctx, l.sess, role) }
	}
	conn, err := l.at.dial(ctx) // step 7
	if err != nil {
		return fatal(stateUpstream, "the database of %s cannot be reached", t.Name).because(err)
	}
	defer func() {
		if l.up == nil {
			conn.Close()
		}
	}()

	user, password := role, ""
	minted := func() error { return nil }
	switch identity { // step 8
	case "dynamic_role":
		if user, password, minted, err = s.mintRole(ctx, l.sess, database, role); err != nil {
			return err
		}
		l.role = user
	case "static":
		ref, ok := t.Postgres.Static[role]
		if !ok || s.o.Secrets == nil {
			return fmt.Errorf("the target has no password for role %q", role)
		}
		if password, err = s.o.Secrets(ref); err != nil {
			return fmt.Errorf("read the password of role %q: %w", role, err)
		}
	case "client_cert":
	default:
		return fmt.Errorf("unknown identity %q of the target", identity)
	}
	up, err := login(ctx, conn, upstreamParams(st, adm, user, database), password)
	if err = cmp.Or(err, minted()); err != nil {
		return err
	}
	if l.role == "" {
		if err := s.rememberBackend(ctx, l.sess, up, database, role); err != nil {
			return err
		}
	}
	if l.at.tls != nil {
		l.at.tls = l.at.tls.Clone()
		l.at.tls.GetClientCertificate = nil // cancel requests carry no identity
	}
	l.up = up
	return nil
}

// upstreamParams are the client's own settings and the rule's, which come
// last and so win. In the startup packet they are what RESET goes back to.
func upstreamParams(st *startup, adm approval.Admission, user, database string) []param {
	rule := adm.Rule().Postgres
	out := []param{{"user", user}, {"database", database}}
	for _, p := range st.params {
		switch strings.ToLower(p.name) {
		case "role", "session_authorization", "user", "database", "replication":
		default:
			out = append(out, p)
		}
	}
	names := make([]string, 0, len(rule.Defaults))
	for name := range rule.Defaults {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		out = append(out, param{name, rule.Defaults[name]})
	}
	if d := rule.StatementTimeout.Std(); d > 0 {
		out = append(out, param{"statement_timeout", fmt.Sprint(max(1, d.Milliseconds()))})
	}
	if rule.ReadOnly {
		out = append(out, param{"default_transaction_read_only", "on"})
	}
	if user != adm.Login() {
		out = append(out, param{"role", adm.Login()}) // what it creates belongs to the allowed role
	}
	return out
}

// mintRole makes the session's role (step 8): intent, role, audit. The audit
// event is written while the login goes on; minted waits for it, and nothing is
// relayed before.
func (s *Server) mintRole(ctx context.Context, sess *session.Session, database, memberOf string) (role, password string, minted func() error, err error) {
	t := sess.Admission().Target()
	role = roleName(s.o.Installation, sess.ID())
	c, err := sess.Intend(ctx, session.Credential{Kind: KindRole, Name: role, Detail: detailOf(t, database, memberOf), ExpiresAt: sess.End().UTC()})
	if err != nil {
		return "", "", nil, err
	}
	password = randomSecret()
	if err := s.admins.createRole(ctx, t, role, memberOf, password, sess.End()); err != nil {
		return "", "", nil, err
	}
	told := make(chan error, 1)
	go func() { told <- s.contain(func() error { return sess.Minted(ctx, c.ID, nil) }) }()
	return role, password, func() error { return <-told }, nil
}

// certLife is long enough to log in with, and no longer.
const certLife = 2 * time.Minute

func (s *Server) mintCert(ctx context.Context, sess *session.Session, role string) (*tls.Certificate, error) {
	if s.o.Authority == nil {
		return nil, errors.New("no authority signs client certificates here")
	}
	t := sess.Admission().Target()
	c, err := sess.Intend(ctx, session.Credential{Kind: KindCert, Name: role + "/" + sess.ID(), Detail: detailOf(t, t.Postgres.Database, role),
		ExpiresAt: s.o.Now().Add(certLife).UTC()})
	if err != nil {
		return nil, err
	}
	cert, serial, err := s.o.Authority.ClientCert(sess.Admission(), role, certLife)
	if err != nil {
		return nil, err
	}
	return &cert, sess.Minted(ctx, c.ID, map[string]string{"serial": serial})
}

// rememberBackend writes down which backend a login that goes on existing
// has now: it must be gone when the session is, also after a crash.
func (s *Server) rememberBackend(ctx context.Context, sess *session.Session, up *upstream, database, role string) error {
	c := adminConn{conn: up.conn, r: newReader(up)}
	started, err := c.one(ctx, "SELECT backend_start FROM pg_stat_activity WHERE pid = pg_backend_pid()")
	if err != nil {
		return fmt.Errorf("ask which backend it is: %w", err)
	}
	up.early = nil
	if err := up.conn.SetDeadline(time.Time{}); err != nil {
		return err
	}
	t := sess.Admission().Target()
	d := detailOf(t, database, role)
	if ref := t.Postgres.Static[role]; ref != "" && t.Postgres.AdminUser == "" {
		d["static_password"] = ref // a reference
	}
	_, err = sess.Intend(ctx, session.Credential{Kind: KindBackend, Name: fmt.Sprintf("%d@%s", up.pid, started), Detail: d})
	return err
}

// databaseOf is the database that a session goes to.
func databaseOf(t inventory.Target, asked string) (string, error) {
	switch p := t.Postgres; {
	case p == nil:
		return "", fatal(stateInternal, "%s is no database", t.Name)
	case asked == "" || asked == p.Database:
		return p.Database, nil
	case slices.Contains(p.Databases, asked):
		return asked, nil
	default:
		return "", fatal("3D000", "database %q is not reachable through %s", asked, t.Name).
			hint("Reachable: %s", strings.Join(append([]string{p.Database}, p.Databases...), ", "))
	}
}

func clientName(st *startup) string { return st.get("application_name") }

// interactive reports whether a person is likely to read notices.
func interactive(st *startup) bool {
	name := strings.ToLower(st.get("application_name"))
	for _, p := range []string{"psql", "pgcli", "dbeaver", "pgadmin", "datagrip", "tableplus", "beekeeper"} {
		if strings.HasPrefix(name, p) {
			return true
		}
	}
	return false
}
