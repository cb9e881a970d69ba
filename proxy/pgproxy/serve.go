package pgproxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"time"

	"jit-gateway/approval"
	"jit-gateway/ca"
	"jit-gateway/internal/audit"
	"jit-gateway/internal/dialogue"
	"jit-gateway/internal/display"
	"jit-gateway/internal/inventory"
	"jit-gateway/proxy"
)

// A visitor is a client whose startup packet was read.
type visitor struct {
	conn   net.Conn
	start  *startup
	source string
	target inventory.Target
	// database is the one that was asked for, empty for the target's own.
	database string
	// welcome is what the client has yet to be told: it goes out with the
	// first words of the database, or with the refusal.
	welcome []byte
}

// ServeConn handles one connection of a client until it ends, or ctx does. It
// closes conn. A panic ends this connection alone.
func (s *Server) ServeConn(ctx context.Context, conn net.Conn) {
	defer conn.Close()
	// The error is the connection's: it was told to the client and, where it
	// matters, audited.
	err := s.contain(func() error { return s.serve(ctx, conn) })
	if err != nil {
		s.o.Logger.Debug("a PostgreSQL connection ended", "source", conn.RemoteAddr(), "err", err)
	}
}

// contain turns a panic into an error: it ends this connection alone.
func (s *Server) contain(fn func() error) error {
	return proxy.Contain(s.o.Logger, s.o.Metrics.proxy(), "postgres", fn)
}

// aside runs fn in a goroutine of its own and waits for it: what a login takes
// of stack is not kept for as long as its session lasts.
func (s *Server) aside(fn func() error) error {
	done := make(chan error, 1)
	go func() {
		stretch(0)
		done <- s.contain(fn)
	}()
	return <-done
}

// stretch makes the stack of a goroutine that has just begun as large as a
// login needs, in one step. It would else grow there in three, and each time
// be copied with all that is on it.
//
//go:noinline
func stretch(i int) byte {
	var room [12 << 10]byte
	return room[i]
}

// serve handles a connection on the gateway's own listener.
func (s *Server) serve(ctx context.Context, conn net.Conn) error {
	var v *visitor
	var adm approval.Admission
	err := s.aside(func() (err error) {
		v, adm, err = s.admit(ctx, conn)
		return err
	})
	if err != nil || v == nil {
		return err
	}
	return s.session(ctx, v, adm)
}

// admit is steps 1 to 5. No visitor: there was no more to do. With an error
// the client has been told.
func (s *Server) admit(ctx context.Context, conn net.Conn) (v *visitor, adm approval.Admission, err error) {
	// Step 1, connect. Time and number are bounded until the client is known.
	source, loopback := sourceOf(conn)
	select {
	case s.logins <- struct{}{}:
	default:
		s.o.Metrics.login("too_many")
		return nil, adm, errors.New("too many connections in authentication")
	}
	leave := sync.OnceFunc(func() { <-s.logins })
	defer leave()
	defer abortOn(ctx, conn)() // until here: the end of a session has words for the client
	if err := conn.SetDeadline(time.Now().Add(s.o.LoginTime)); err != nil {
		return nil, adm, err
	}
	g, err := s.greet(ctx, conn)
	if err != nil {
		return nil, adm, s.refuse(g.conn, nil, err)
	}
	if g.cancel != nil {
		leave()
		s.cancelFor(g.cancel, source)
		return nil, adm, nil
	}
	v = &visitor{conn: g.conn, start: g.start, source: source}
	if !g.secure && !loopback {
		return nil, adm, s.refuse(v.conn, nil, fatal(stateNotAllowed, "TLS is required").hint("Connect with sslmode=verify-full."))
	}

	// Step 2, authenticate; the target (step 3) is part of what a token is for.
	token, err := s.authenticate(ctx, v, g.endPoint)
	if err != nil {
		return nil, adm, s.refuse(v.conn, v.welcome, err)
	}
	leave()
	if err := v.conn.SetDeadline(time.Time{}); err != nil {
		return nil, adm, err
	}

	// Steps 4 and 5: a token is good for its live grant and nothing else.
	adm, err = s.o.Approvals.Admit(ctx, approval.AdmitInput{
		Caller: approval.Caller{UserID: token.UserID, Source: source, Via: "postgres"},
		Target: v.target.Name, Login: token.Login, GrantID: token.GrantID, Token: true,
	})
	if err != nil {
		s.o.Metrics.login("not_admitted")
		return nil, adm, s.refuse(v.conn, v.welcome, s.notAdmitted(err, v.target.Name))
	}
	s.o.Metrics.login("passed")
	return v, adm, nil
}

// refuse tells the client why, on whatever it can read by now.
func (s *Server) refuse(conn net.Conn, before []byte, err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return nil // a port scan, a health check
	}
	if _, isNet := errors.AsType[net.Error](err); isNet {
		return err
	}
	e := asPGError(err)
	if e.Code == stateProtocol {
		s.o.Metrics.broken()
	}
	conn.SetWriteDeadline(time.Now().Add(time.Second))
	conn.Write(append(before, e.encode()...))
	return err
}

// place finds target and database in the startup packet's database name.
func (s *Server) place(name string) (t inventory.Target, database string, ok bool) {
	name, database, _ = strings.Cut(name, "/")
	t, ok = s.o.Inventory.Target(name)
	return t, database, ok && t.Kind == inventory.Postgres && t.Postgres != nil
}

// authenticate is the SCRAM exchange. Unknown user, unknown target, wrong,
// expired, revoked and foreign token all look the same, and take the same.
func (s *Server) authenticate(ctx context.Context, v *visitor, endPoint []byte) (ca.Verifier, error) {
	var none ca.Verifier
	t, database, known := s.place(v.start.database)
	lookup := t.Name
	if !known {
		lookup, _, _ = strings.Cut(v.start.database, "/")
	}
	v.target, v.database = t, database
	byAddress, byUser := "a "+v.source, "u "+v.start.user+" "+v.source
	if s.fails.blocked(s.o.Now(), byAddress, byUser) {
		s.o.Metrics.login("limited")
		return none, fatal(stateTooMany, "too many failed logins from this address").hint("Wait a minute.")
	}
	salt, iterations, candidates, err := s.o.Tokens.Candidates(ctx, v.start.user, lookup)
	if err != nil {
		return none, fatal(stateCannotNow, "the gateway cannot check logins now").because(err)
	}
	if !known {
		candidates = nil
	}
	sc := &scramServer{endPoint: endPoint}
	if _, err := v.conn.Write(append(v.start.negotiate(), sc.mechanisms()...)); err != nil {
		return none, err
	}
	body, err := readSASL(v.conn)
	if err != nil {
		return none, err
	}
	if err := sc.clientFirst(body); err != nil {
		return none, err
	}
	if _, err := v.conn.Write(sc.serverFirst(salt, iterations)); err != nil {
		return none, err
	}
	if body, err = readSASL(v.conn); err != nil {
		return none, err
	}
	signed, proof, err := sc.clientFinal(body)
	if err != nil {
		return none, err
	}
	token, signature, ok := ca.Match(candidates, signed, proof)
	if !ok || token.Source != "" && token.Source != v.source {
		s.fails.failed(s.o.Now(), byAddress, byUser)
		s.o.Metrics.login("failed")
		why := "wrong, expired or unknown token"
		if ok {
			why = "the token is bound to another address"
		}
		s.auditFailure(ctx, v, t, known, why)
		return none, s.wrongToken(v.start)
	}
	v.welcome = append(serverFinal(signature), authMessage(0)...)
	return token, nil
}

// wrongToken is the one answer to everything that is not a good token.
func (s *Server) wrongToken(st *startup) *pgError {
	target, _, _ := strings.Cut(st.database, "/")
	return fatal(stateAuth, "password authentication failed for user %q", st.user).
		hint("The password is a session token: PGPASSWORD=$(ssh %s token %s)", s.o.Name, display.Line(target, 64))
}

func (s *Server) auditFailure(ctx context.Context, v *visitor, t inventory.Target, known bool, why string) {
	ev := audit.Event{Type: audit.LoginFailed, Outcome: audit.Denied, Reason: why,
		Actor:  audit.Actor{Name: display.Line(v.start.user, 64), Source: v.source, Via: "postgres"},
		Detail: map[string]string{"database": display.Line(v.start.database, 128)}}
	if known {
		ev.Target = t.Name
	}
	if _, err := s.o.Log.Append(ctx, ev); err != nil {
		s.o.Logger.Error("audit a failed login", "err", err)
	}
}

// notAdmitted is a refusal of the approval service, with the next step.
func (s *Server) notAdmitted(err error, target string) *pgError {
	e := fatal(stateNotAllowed, "%s", err.Error()).because(err)
	var choose *approval.ChooseLogin
	var refusal *dialogue.Refusal
	if errors.As(err, &refusal) { // says the next step itself
		if text, command, ok := strings.Cut(refusal.Text, " Run: "); ok {
			e.Message, e.Hint = text, "Run: "+command
		}
		return e
	}
	switch {
	case errors.As(err, &choose):
		e.Hint = "Name the role as the user: " + strings.Join(choose.Logins, ", ")
	case errors.Is(err, approval.ErrNoGrant):
		e.hint("Ask for access: ssh -t %s request %s", s.o.Name, target)
	case errors.Is(err, approval.ErrNotActivated):
		e.hint("Give your code: ssh -t %s activate %s", s.o.Name, grantOf(err))
	case errors.Is(err, approval.ErrCodeNeeded):
		e.hint("Give a fresh code: ssh -t %s activate %s", s.o.Name, grantOf(err))
	case errors.Is(err, approval.ErrForbidden), errors.Is(err, approval.ErrUserDisabled), errors.Is(err, approval.ErrNotYet):
	default:
		e = fatal(stateCannotNow, "the gateway cannot admit anybody now").because(err)
	}
	return e
}

func grantOf(err error) string {
	var g *approval.GrantError
	if errors.As(err, &g) {
		return g.Grant.ID
	}
	return ""
}

// cancelFor forwards a cancel request. Nothing is answered: the client learns
// nothing about keys.
func (s *Server) cancelFor(r *cancelRequest, source string) {
	l := s.keys.find(r)
	if l == nil {
		s.o.Metrics.cancel("no")
		if s.o.Elsewhere != nil && s.elsewhere.Allow() {
			s.o.Elsewhere(digest(r.pid, r.secret))
		}
		return
	}
	s.o.Metrics.cancel("yes")
	l.cancel(fmt.Sprintf("a cancel request from %s", source))
}

// CancelByDigest acts on a cancel request that another gateway received.
func (s *Server) CancelByDigest(digest string) {
	if l := s.keys.findDigest(digest); l != nil {
		s.o.Metrics.cancel("yes")
		l.cancel("a cancel request to another gateway")
	}
}
