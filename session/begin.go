package session

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"jit-gateway/approval"
	"jit-gateway/internal/audit"
	"jit-gateway/internal/id"
	"jit-gateway/internal/store"
	"jit-gateway/recording"
)

// Meta is what a session's row says of the connection.
type Meta struct {
	Protocol string // ssh, postgres
	Source   string // client address without port
	Client   string // client software as it named itself
}

// Begin is step 6: recording header, session row and audit event in one go.
// Any failure refuses, in a sentence for the user. The session MUST be
// finished, whatever happens.
func (m *Manager) Begin(ctx context.Context, adm approval.Admission, meta Meta) (*Session, error) {
	s, err := m.begin(ctx, adm, meta)
	m.o.Metrics.begin(meta.Protocol, err)
	if err != nil && adm.Grant().ID != "" {
		m.refused(ctx, adm, meta, err)
	}
	return s, err
}

// refused tells the log that somebody who was admitted could not begin. It
// cannot fail the refusal, and hardly delays it.
func (m *Manager) refused(ctx context.Context, adm approval.Admission, meta Meta, why error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	u, g := adm.User(), adm.Grant()
	ev := audit.Event{Type: audit.SessionRefused, Outcome: audit.Denied, User: u.ID, Target: adm.Target().Name, Request: g.RequestID, Grant: g.ID,
		Actor:  audit.Actor{ID: u.ID, Name: u.Name, Source: meta.Source, Via: meta.Protocol},
		Reason: why.Error(), Detail: map[string]string{"login": adm.Login(), "protocol": meta.Protocol}}
	if _, err := m.o.Log.Append(ctx, ev); err != nil {
		m.o.Logger.Warn("audit a refused session", "grant", g.ID, "why", why, "err", err)
	}
}

func (m *Manager) begin(ctx context.Context, adm approval.Admission, meta Meta) (*Session, error) {
	if err := adm.Check(m.o.Clock.Now()); err != nil {
		return nil, fmt.Errorf("begin session: %w", err)
	}
	if err := m.ready(ctx); err != nil {
		return nil, err
	}
	s := m.newSession(adm, meta)
	others, err := m.elsewhere(ctx, adm)
	if err != nil {
		return nil, fmt.Errorf("begin session: %w", err)
	}
	// From here on a revocation that the feed brings finds the session; one
	// that came between admission and now is found by reading the grant again.
	if err := m.enter(s, others); err != nil {
		return nil, err
	}
	if err := m.open(ctx, s); err != nil {
		s.cancel(&Termination{Cause: "refused", Reason: err.Error(), At: m.o.Clock.Now()})
		m.leave(s)
		return nil, err
	}
	if t := s.termination(); t != nil { // cut while it began
		return nil, errors.Join(errors.New(t.Reason), s.Finish(ctx, Outcome{}))
	}
	return s, nil
}

// open makes what is durable of a session.
func (m *Manager) open(ctx context.Context, s *Session) error {
	grant, err := m.o.Grants.Grant(ctx, s.row.GrantID)
	if err != nil {
		return fmt.Errorf("begin session: read the grant: %w", err)
	}
	if !grant.Live(m.o.Clock.Now()) {
		return fmt.Errorf("grant %s has ended", grant.ID)
	}
	m.extend(grant) // between admission and now
	// The header comes first: without a row it is an empty file that nobody
	// looks for, and a row without it would be a session without a recording.
	if s.rec, err = m.o.Recordings.Create(s.header(), m.recordingOptions(s)); err != nil {
		return fmt.Errorf("begin session: no recording, so no session: %w", err)
	}
	ev := rowEvent(s.row, audit.SessionStarted)
	ev.Actor = s.actor()
	ev.Detail = map[string]string{"login": s.row.Login, "protocol": s.row.Protocol, "end": s.End().UTC().Format(time.RFC3339Nano)}
	if s.row.Client != "" {
		ev.Detail["client"] = s.row.Client
	}
	if err := m.o.Store.BeginSession(ctx, s.row, ev); err != nil {
		s.refused.Store(true)
		s.leave()
		_, sealErr := s.rec.Seal("refused")
		if err := errors.Join(sealErr, m.o.Recordings.Remove(s.row.ID)); err != nil {
			m.o.Logger.Warn("remove the recording of a refused session", "session", s.row.ID, "err", err)
		}
		if errors.Is(err, store.ErrConflict) { // others began elsewhere at the same time
			return fmt.Errorf("rule %q allows you %d open sessions at once; end one first", s.row.Rule, s.row.Most)
		}
		m.perhapsBegun(s.row)
		return fmt.Errorf("begin session: %w", err)
	}
	return nil
}

// perhapsBegun has sweep close a row whose beginning was not acknowledged: a
// connection to the store may break after the change and before the answer.
func (m *Manager) perhapsBegun(r Row) {
	r.State, r.EndedAt, r.Cause, r.Reason = Closed, m.o.Clock.Now().UTC(), "refused", "The store did not say that the session may begin."
	e := End{Row: r, Event: rowEvent(r, audit.SessionEnded)}
	e.Event.Actor, e.Event.Detail = audit.Gateway, map[string]string{"cause": r.Cause}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.unclosed[r.ID] = e
	m.hasWork()
}

func (m *Manager) newSession(adm approval.Admission, meta Meta) *Session {
	grant, user := adm.Grant(), adm.User()
	s := &Session{
		m: m, adm: adm, warnings: make(chan Warning, 4), finished: make(chan struct{}),
		creds: map[string]Credential{}, held: map[string]Destroyer{}, attached: map[int]attachment{},
		row: Row{
			ID: id.New(id.Session), GrantID: grant.ID, RequestID: grant.RequestID, UserID: user.ID, User: user.Name,
			Target: adm.Target().Name, Login: adm.Login(), Protocol: meta.Protocol, Source: meta.Source, Client: meta.Client,
			Gateway: m.o.Instance, StartedAt: m.o.Clock.Now().UTC(), State: Open, Rule: adm.Rule().Name, Most: max(0, adm.Rule().Session.Max),
		},
	}
	s.row.Recording = s.row.ID
	if grant.BreakGlass {
		s.row.Flags = append(s.row.Flags, FlagBreakGlass)
	}
	if len(adm.Rule().Recording.Recipients) > 0 {
		s.row.Flags = append(s.row.Flags, FlagEncrypted)
	}
	s.flags = slices.Clone(s.row.Flags)
	// Not a child of the connection's context: only a termination or Finish
	// ends a session, so that its cause is always ours.
	s.ctx, s.cancel = context.WithCancelCause(context.Background())
	s.Activity()
	return s
}

// ready waits for Run, and refuses while the gateway could not end a session.
func (m *Manager) ready(ctx context.Context) error {
	select {
	case <-m.started:
	case <-ctx.Done():
		return fmt.Errorf("the gateway is still starting: %w", context.Cause(ctx))
	}
	if err := m.ClockOK(ctx); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case m.state != running:
		return errors.New("the gateway is stopping and takes no new sessions; connect again in a moment")
	case m.o.Clock.Boot()-m.storeSeen > m.o.StoreGrace:
		return errors.New("the gateway cannot reach its store and takes no new sessions")
	}
	return nil
}

// elsewhere counts the user's open sessions under the admission's rule on
// other gateways, if the rule limits them.
func (m *Manager) elsewhere(ctx context.Context, adm approval.Admission) (int, error) {
	if adm.Rule().Session.Max <= 0 || m.o.Exclusive {
		return 0, nil
	}
	rows, err := m.o.Store.ListSessions(ctx, Filter{UserID: adm.User().ID, State: Open, Limit: 1000})
	if err != nil {
		return 0, err
	}
	n := 0
	rules := map[string]string{} // by grant
	for _, r := range rows {
		if r.Gateway == m.o.Instance {
			continue // counted exactly, in memory
		}
		if _, ok := rules[r.GrantID]; !ok {
			g, err := m.o.Grants.Grant(ctx, r.GrantID)
			if err != nil {
				return 0, err
			}
			rules[r.GrantID] = g.Rule.Name
		}
		if rules[r.GrantID] == adm.Rule().Name {
			n++
		}
	}
	return n, nil
}

// enter takes a place among the live sessions.
func (m *Manager) enter(s *Session, others int) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.state != running {
		return errors.New("the gateway is stopping and takes no new sessions; connect again in a moment")
	}
	if why := m.gone.match(s, m.o.Clock.Boot()); why != "" {
		return errors.New(why)
	}
	rule := s.adm.Rule()
	if limit := rule.Session.Max; limit > 0 {
		n := others
		for _, o := range m.live {
			if o.row.UserID == s.row.UserID && o.adm.Rule().Name == rule.Name {
				n++
			}
		}
		if n >= limit {
			return fmt.Errorf("you have %d open sessions and rule %q allows %d at once; end one first", n, rule.Name, limit)
		}
	}
	m.live[s.row.ID] = s
	s.setDeadline(s.adm.End())
	m.o.Metrics.setLive(len(m.live))
	return nil
}

// leave gives the place back.
func (m *Manager) leave(s *Session) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.live, s.row.ID)
	m.o.Metrics.setLive(len(m.live))
	close(m.ended)
	m.ended = make(chan struct{})
}

func (s *Session) header() recording.Header {
	r := s.adm.Rule().Recording
	return recording.Header{
		Session: s.row.ID, Grant: s.row.GrantID, Request: s.row.RequestID, UserID: s.row.UserID, User: s.row.User,
		Target: s.row.Target, Kind: string(s.adm.Target().Kind), Login: s.row.Login, Protocol: s.row.Protocol,
		Source: s.row.Source, Client: s.row.Client, Gateway: s.row.Gateway, Rule: s.adm.Rule().Name,
		Start: s.row.StartedAt, Input: r.Input || r.Strict, Content: r.Content,
	}
}
