package mfa

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"jit-gateway/internal/audit"
	"jit-gateway/internal/id"
)

// Errors of machines' factors.
var (
	ErrNotAccepted = errors.New("that proof was not accepted")
	ErrUsedProof   = errors.New("that proof was used already; each is good once")
	ErrNoSuchProof = errors.New("no second factor of that kind is on record for this machine; an administrator adds one: jit-gateway user factor")
)

// Job is what a CI system's token says about one of its jobs: signature,
// issuer, audience and times were verified.
type Job struct {
	Issuer   string
	ID       string // jti
	IssuedAt time.Time
	Expires  time.Time
	Claims   map[string]any
}

// MachineOptions builds a Machines.
type MachineOptions struct {
	// VerifyToken verifies signature, issuer, audience and times of a job's
	// token. It is not asked about claims. Nil: there are no issuers.
	VerifyToken func(ctx context.Context, issuer, raw string) (Job, error)
	// Once spends a key: store.ErrConflict if it was spent.
	Once interface {
		UseOnce(ctx context.Context, key string, until, now time.Time, ev audit.Event) error
	}
	MaxAge time.Duration // of a job's token, since it was issued; 10m if zero
}

// Machines verifies the second factors of machines: something that the
// machine's SSH key alone does not give, and that is good once. A stored seed
// beside the key would be none.
type Machines struct {
	v *Verifier
	o MachineOptions
}

// NewMachines returns a Machines that shares the verifier's store, key and clock.
func NewMachines(v *Verifier, o MachineOptions) (*Machines, error) {
	if v == nil || o.Once == nil {
		return nil, errors.New("mfa: machines need a verifier, and a store of what was used")
	}
	if o.MaxAge <= 0 {
		o.MaxAge = 10 * time.Minute
	}
	return &Machines{v, o}, nil
}

// binding is what is kept of a machine's factor: which proofs are its. It is
// no secret; it is sealed with its row's identity, so that it cannot be moved
// or changed in the store.
type binding struct {
	Issuer string            `json:"issuer,omitempty"`
	Claims map[string]string `json:"claims,omitempty"`
	Roots  string            `json:"roots,omitempty"` // PEM
	SAN    string            `json:"san,omitempty"`
}

// BindingText says what a machine's factor is bound to, for people.
func (m *Machines) BindingText(f Factor) string {
	b, err := m.binding(f)
	switch {
	case err != nil:
		return "cannot be read"
	case f.Kind == MTLS:
		return "certificate of " + b.SAN
	}
	text := b.Issuer
	for _, k := range sortedKeys(b.Claims) {
		text += fmt.Sprintf(" %s=%s", k, b.Claims[k])
	}
	return text
}

// NewBinding is a machine's factor that is not yet stored: what an
// administrator wants, as data that a second one can confirm.
type NewBinding struct {
	Issuer string            `json:"issuer,omitempty"`
	Claims map[string]string `json:"claims,omitempty"`
	Roots  string            `json:"roots,omitempty"`
	SAN    string            `json:"san,omitempty"`
}

// mutable claims may belong to somebody else tomorrow: a repository, a branch
// or an account can be renamed, deleted and made again by others.
var mutable = []string{"repository", "repository_owner", "actor", "ref", "head_ref", "base_ref", "workflow", "job_workflow_ref", "workflow_ref", "sub",
	"project_path", "namespace_path", "user_login", "user_email", "email", "pipeline_source", "name", "preferred_username", "iss", "aud", "ref_protected", "environment"}

// standard claims differ from token to token, or are checked anyway.
var unfit = []string{"jti", "iat", "exp", "nbf", "iss", "aud"}

// Check refuses a binding that is none.
func (n NewBinding) Check() error {
	job, cert := n.Issuer != "" || len(n.Claims) > 0, n.Roots != "" || n.SAN != ""
	switch {
	case job == cert:
		return errors.New("a machine's factor is an issuer with claims, or a certificate authority with a name")
	case cert:
		_, err := n.pool()
		return errors.Join(err, checkSAN(n.SAN))
	case n.Issuer == "":
		return errors.New("the issuer is missing")
	}
	immutable := false
	for k, v := range n.Claims {
		if k == "" || v == "" || len(k) > 100 || len(v) > 300 || slices.Contains(unfit, k) {
			return fmt.Errorf("the claim %q cannot be pinned", k)
		}
		immutable = immutable || !slices.Contains(mutable, k)
	}
	if !immutable {
		return errors.New("pin at least one claim that never belongs to somebody else, such as repository_id or project_id: names can be given up and taken over")
	}
	return nil
}

// Add stores a factor of a machine.
func (m *Machines) Add(ctx context.Context, userID string, n NewBinding, actor audit.Actor) (Factor, error) {
	if err := n.Check(); err != nil {
		return Factor{}, err
	}
	plain, err := json.Marshal(binding(n))
	if err != nil {
		return Factor{}, fmt.Errorf("encode the binding: %w", err)
	}
	f := Factor{ID: id.New("F"), UserID: userID, Kind: JobToken, CreatedAt: stamp(m.v.o.Now())}
	detail := map[string]string{"factor": f.ID, "issuer": n.Issuer}
	for k, v := range n.Claims {
		detail["claim_"+k] = v
	}
	if n.SAN != "" {
		f.Kind = MTLS
		detail = map[string]string{"factor": f.ID, "san": n.SAN}
	}
	detail["kind"] = string(f.Kind)
	f.Sealed = m.v.o.Box.Seal(plain, aad(f))
	if err := m.v.o.Store.AddFactor(ctx, f, event(audit.FactorAdded, audit.Success, userID, actor, detail)); err != nil {
		return Factor{}, fmt.Errorf("store the machine's factor: %w", err)
	}
	return f, nil
}

// Remove removes a factor of a machine: less access needs no proof.
func (m *Machines) Remove(ctx context.Context, userID, factorID string, actor audit.Actor) error {
	return m.v.o.Store.RemoveFactor(ctx, userID, factorID, event(audit.FactorRemoved, audit.Success, userID, actor, map[string]string{"factor": factorID}))
}

func (m *Machines) binding(f Factor) (b binding, err error) {
	plain, err := m.v.o.Box.Open(f.Sealed, aad(f))
	if err != nil {
		return b, fmt.Errorf("open factor %s: %w", f.ID, err)
	}
	if err := json.Unmarshal(plain, &b); err != nil {
		return b, fmt.Errorf("read factor %s: %w", f.ID, err)
	}
	return b, nil
}

// refused logs a proof that was not accepted. None is guessed, so there is no
// wait: a wait would let whoever has the key keep the machine out.
func (m *Machines) refused(ctx context.Context, userID string, k Kind, why error, actor audit.Actor) error {
	ev := event(audit.FactorFailed, audit.Failure, userID, actor, map[string]string{"kind": string(k)})
	ev.Reason = why.Error()
	if len(ev.Reason) > 500 {
		ev.Reason = ev.Reason[:500]
	}
	if _, err := m.v.o.Store.RecordFailure(ctx, userID, time.Time{}, ev); err != nil {
		return fmt.Errorf("log a refused proof: %w", err)
	}
	return why
}
