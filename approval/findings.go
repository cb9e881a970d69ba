package approval

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"jit-gateway/approval/risk"
	"jit-gateway/internal/audit"
	"jit-gateway/internal/id"
	"jit-gateway/internal/identity"
	"jit-gateway/internal/store"
)

// Findings keeps what is unusual until somebody has looked at it. Both stores implement it.
type Findings interface {
	RaiseFinding(ctx context.Context, f store.Finding, ev audit.Event) error
	Finding(ctx context.Context, id string) (store.Finding, error) // store.ErrNotFound
	Findings(ctx context.Context, f store.FindingFilter) ([]store.Finding, error)
	AckFinding(ctx context.Context, id, by, note string, at time.Time, ev audit.Event) error // store.ErrConflict if it was
}

// raise keeps the findings about a request that was filed.
func (s *Service) raise(ctx context.Context, r Request, who audit.Actor) error {
	for _, f := range r.Risk {
		target := f.Evidence["target"]
		if target == "" && len(r.Targets) == 1 {
			target = r.Targets[0]
		}
		if err := s.keepFinding(ctx, f, store.Finding{UserID: r.UserID, Request: r.ID, Target: target}, who); err != nil {
			return err
		}
	}
	return nil
}

// stamping looks whether somebody who just approved does so without reading.
// It is told once a day.
func (s *Service) stamping(ctx context.Context, u identity.User, r Request, who audit.Actor) error {
	if s.o.History == nil {
		return nil
	}
	found, err := risk.Approver(ctx, s.o.History, u.ID, s.now())
	if err != nil || len(found) == 0 {
		return err
	}
	if s.o.Findings != nil {
		told, err := s.o.Findings.Findings(ctx, store.FindingFilter{Code: string(risk.RubberStamp), UserID: u.ID, Since: s.now().Add(-24 * time.Hour), Limit: 1})
		if err != nil || len(told) > 0 {
			return err
		}
	}
	return s.keepFinding(ctx, found[0], store.Finding{UserID: u.ID, Request: r.ID}, who)
}

func (s *Service) keepFinding(ctx context.Context, f risk.Finding, row store.Finding, who audit.Actor) error {
	row.ID, row.Code, row.Text, row.Evidence, row.RaisedAt = id.New("D"), string(f.Code), f.Text, f.Evidence, s.now()
	ev := audit.Event{Type: audit.FindingRaised, Outcome: audit.Success, Actor: who, User: row.UserID, Request: row.Request, Target: row.Target,
		Reason: f.Text, Detail: map[string]string{"finding": row.ID, "code": row.Code}}
	for k, v := range f.Evidence {
		ev.Detail["evidence_"+k] = v
	}
	var err error
	if s.o.Findings != nil {
		err = s.o.Findings.RaiseFinding(ctx, row, ev)
	} else {
		_, err = s.o.Log.Append(ctx, ev)
	}
	if err != nil {
		return fmt.Errorf("keep finding %s: %w", f.Code, err)
	}
	return nil
}

// Acknowledge notes that the caller has looked at a finding: an auditor, an
// administrator, or somebody who may answer its request; never the one it is about.
func (s *Service) Acknowledge(ctx context.Context, c Caller, findingID, note string) error {
	u, err := s.caller(ctx, c)
	if err != nil {
		return err
	}
	if s.o.Findings == nil {
		return notFound("finding", findingID)
	}
	f, err := s.o.Findings.Finding(ctx, findingID)
	if errors.Is(err, store.ErrNotFound) {
		return notFound("finding", findingID)
	}
	if err != nil {
		return fmt.Errorf("read finding: %w", err)
	}
	about, person := "", ""
	if person, err = identity.Person(ctx, s.o.Users, u); err != nil {
		return err
	}
	if f.UserID != "" {
		if _, about, err = s.requester(ctx, f.UserID); err != nil {
			return err
		}
	}
	if about == person {
		return refuse(ErrOwnRequest, "finding %s is about you; somebody else must look at it", f.ID)
	}
	if !s.IsAdmin(u) && !s.IsAuditor(u) {
		r, err := s.o.Requests.Request(ctx, f.Request)
		if err != nil {
			return notFound("finding", findingID)
		}
		if ok, err := s.mayAnswer(ctx, u, r); err != nil || !ok {
			return notFound("finding", findingID)
		}
	}
	note = strings.TrimSpace(note)
	err = s.o.Findings.AckFinding(ctx, f.ID, u.ID, note, s.now(), audit.Event{Type: audit.FindingAcked, Outcome: audit.Success,
		Actor: actor(u, c), User: f.UserID, Request: f.Request, Target: f.Target, Reason: note,
		Detail: map[string]string{"finding": f.ID, "code": f.Code}})
	if errors.Is(err, store.ErrConflict) {
		return refuse(ErrNotPending, "somebody looked at finding %s already", f.ID)
	}
	return err
}
