package session

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"golang.org/x/crypto/ssh"

	"jit-gateway/ca"
	"jit-gateway/internal/audit"
	"jit-gateway/internal/id"
	"jit-gateway/internal/store"
)

// Kinds of credential that this package ends by itself. Handlers add theirs
// through Options.Cleaners.
const (
	KindSSHCert = "ssh_cert"
	KindToken   = "pg_token"
)

// stepTimeout bounds each step of an end that may hang.
const stepTimeout = 10 * time.Second

// Intend writes that c is about to be minted (step 8). Nothing may be minted
// before it returned. Kind and Name are the caller's; the rest is filled in.
func (s *Session) Intend(ctx context.Context, c Credential) (Credential, error) {
	if t := s.termination(); t != nil {
		return Credential{}, fmt.Errorf("mint %s: the session has ended: %w", c.Kind, t)
	}
	if s.m.cleaners[c.Kind] == nil {
		return Credential{}, fmt.Errorf("mint %s: nobody here could end one", c.Kind)
	}
	c.ID, c.SessionID, c.GrantID = id.New("C"), s.row.ID, s.row.GrantID
	if c.Target == "" {
		c.Target = s.row.Target
	}
	c.CreatedAt = s.m.o.Clock.Now().UTC()
	ev := rowEvent(s.row, audit.CredentialIntended)
	ev.Actor, ev.Detail = audit.Gateway, credentialDetail(c)
	if err := s.m.o.Credentials.AddCredential(ctx, c, ev); err != nil {
		return Credential{}, fmt.Errorf("mint %s: write the intent: %w", c.Kind, err)
	}
	s.mu.Lock()
	s.creds[c.ID] = c
	s.mu.Unlock()
	return c, nil
}

// Minted audits that the credential exists now; detail holds no secret.
func (s *Session) Minted(ctx context.Context, id string, detail map[string]string) error {
	s.mu.Lock()
	c, ok := s.creds[id]
	s.mu.Unlock()
	if !ok {
		return fmt.Errorf("credential %q was not intended", id)
	}
	all := credentialDetail(c)
	for k, v := range detail {
		all[k] = v
	}
	return s.Audit(ctx, audit.Event{Type: audit.CredentialMinted, Actor: audit.Gateway, Detail: all})
}

// Destroyer is a secret in memory, such as ca.SessionKey.
type Destroyer interface {
	Destroy()
	Destroyed() bool
}

// Hold lets Finish destroy the key of an ssh_cert credential, and check that
// it is gone. The handler destroys it itself as soon as upstream
// authentication is done. MintSSH does all that.
func (s *Session) Hold(id string, key Destroyer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.held[id] = key
}

// MintSSH is step 8 for SSH: intent, key, certificate, audit. The signer works
// until forget, which the handler calls once upstream authentication is done;
// Finish checks that it did.
func (s *Session) MintSSH(ctx context.Context, a *ca.Authority, o ca.UserCertOptions) (signer ssh.Signer, forget func(), err error) {
	key, err := ca.NewSessionKey()
	if err != nil {
		return nil, nil, err
	}
	c, err := s.Intend(ctx, Credential{Kind: KindSSHCert, Name: ssh.FingerprintSHA256(key.PublicKey()),
		ExpiresAt: s.m.o.Clock.Now().Add(ca.UserCertLife).UTC()})
	if err != nil {
		return nil, nil, err
	}
	s.Hold(c.ID, key)
	defer func() {
		if err != nil {
			key.Destroy()
		}
	}()
	o.Session = s.row.ID
	cert, err := a.UserCert(s.adm, key.PublicKey(), o)
	if err != nil {
		return nil, nil, err
	}
	if err := s.Minted(ctx, c.ID, map[string]string{
		"serial": strconv.FormatUint(cert.Serial, 10), "key_id": cert.KeyId, "principal": cert.ValidPrincipals[0],
		"valid_until": time.Unix(int64(cert.ValidBefore), 0).UTC().Format(time.RFC3339),
	}); err != nil {
		return nil, nil, fmt.Errorf("mint user certificate: %w", err)
	}
	signer, err = key.Signer(cert)
	return signer, key.Destroy, err
}

// Dead invalidates and checks one credential before the end, audited like at
// Finish: for handlers that are done with it early.
func (s *Session) Dead(ctx context.Context, id string) error {
	s.mu.Lock()
	c, ok := s.creds[id]
	s.mu.Unlock()
	if !ok {
		return nil // dead already
	}
	if err := s.m.kill(ctx, c, time.Time{}); err != nil {
		return err
	}
	s.mu.Lock()
	delete(s.creds, id)
	s.mu.Unlock()
	return nil
}

// IntendToken writes that a session token is about to be minted: it belongs to
// its grant, and dies with it (ca.Ledger).
func (m *Manager) IntendToken(ctx context.Context, t ca.Token) error {
	if err := m.ready(ctx); err != nil {
		return err
	}
	c := Credential{ID: id.New("C"), GrantID: t.GrantID, Kind: KindToken, Name: t.ID, Target: t.Target, CreatedAt: m.o.Clock.Now().UTC()}
	ev := audit.Event{Type: audit.CredentialIntended, Outcome: audit.Success, Actor: audit.Gateway,
		User: t.UserID, Target: t.Target, Grant: t.GrantID, Detail: credentialDetail(c)}
	return m.o.Credentials.AddCredential(ctx, c, ev)
}

// kill invalidates one credential, checks that it is dead, and tells so. ended
// is when it should have been, if known. An error means that it may be alive.
func (m *Manager) kill(ctx context.Context, c Credential, ended time.Time) error {
	dead, err := m.slay(ctx, c, ended)
	if err != nil {
		return err
	}
	m.paper <- struct{}{} // dead first, told second
	defer func() { <-m.paper }()
	// The write gets time of its own: a check that took all must still be told.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), m.writeTimeout())
	defer cancel()
	return m.writeDeath(ctx, dead)
}

// writeDeath tells of a credential that is dead.
func (m *Manager) writeDeath(ctx context.Context, d Death) error {
	err := m.o.Credentials.CredentialDead(ctx, d.Credential, d.At, d.Event)
	if errors.Is(err, store.ErrConflict) || errors.Is(err, store.ErrNotFound) {
		return nil // another gateway was faster
	}
	return err
}

// slay invalidates one credential and checks that it is dead. That it is, is
// the caller's to tell; that it may not be, the log knows when this returns.
func (m *Manager) slay(ctx context.Context, c Credential, ended time.Time) (Death, error) {
	ctx, cancel := context.WithTimeout(ctx, stepTimeout)
	defer cancel()
	start := m.o.Clock.Boot()
	invalidated, err := m.clean(ctx, c)
	checked := m.o.Clock.Boot()

	ev := audit.Event{Type: audit.CredentialDead, Outcome: audit.Success, Actor: audit.Gateway,
		Target: c.Target, Grant: c.GrantID, Session: c.SessionID, Detail: credentialDetail(c)}
	if s, ok := m.Get(c.SessionID); ok {
		ev.User, ev.Request = s.row.UserID, s.row.RequestID
	}
	if err != nil {
		m.paper <- struct{}{}
		defer func() { <-m.paper }()
		write, cancelWrite := context.WithTimeout(context.WithoutCancel(ctx), m.writeTimeout())
		defer cancelWrite()
		ev.Type, ev.Outcome, ev.Reason = audit.CredentialAlive, audit.Failure, err.Error()
		m.o.Logger.Error("a credential is not known to be dead; trying again until it is", "credential", c.ID, "kind", c.Kind,
			"name", c.Name, "target", c.Target, "session", c.SessionID, "err", err)
		err = fmt.Errorf("end %s %s on %s: %w", c.Kind, c.Name, c.Target, err)
		return Death{}, errors.Join(err, m.o.Credentials.CredentialFailed(write, c.ID, ev.Reason, ev))
	}
	ev.Detail["invalidate_ms"] = ms(invalidated - start)
	ev.Detail["check_ms"] = ms(checked - invalidated)
	now := m.o.Clock.Now()
	if !ended.IsZero() {
		ev.Detail["after_end_ms"] = ms(now.Sub(ended))
	}
	return Death{c.ID, now.UTC(), ev}, nil
}

// clean calls the cleaner; a panic there must not leave the rest undone.
func (m *Manager) clean(ctx context.Context, c Credential) (invalidated time.Duration, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("the cleaner of %s failed: %v", c.Kind, p)
		}
	}()
	cleaner := m.cleaners[c.Kind]
	if cleaner == nil {
		return 0, fmt.Errorf("no cleaner for credentials of kind %q", c.Kind)
	}
	if err := cleaner.Invalidate(ctx, c); err != nil {
		return 0, fmt.Errorf("invalidate: %w", err)
	}
	invalidated = m.o.Clock.Boot()
	if err := cleaner.Check(ctx, c); err != nil {
		return 0, fmt.Errorf("check: %w", err)
	}
	return invalidated, nil
}

func credentialDetail(c Credential) map[string]string {
	d := map[string]string{"credential": c.ID, "kind": c.Kind, "name": c.Name}
	for k, v := range c.Detail {
		d[k] = v
	}
	return d
}

// ms is a duration in milliseconds, to the microsecond.
func ms(d time.Duration) string {
	return strconv.FormatFloat(float64(d.Microseconds())/1000, 'f', 3, 64)
}
