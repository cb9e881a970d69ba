package web

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"jit-gateway/internal/audit"
	"jit-gateway/internal/display"
	"jit-gateway/internal/store"
)

// AuditLog is what the page shows of the audit log; both stores implement it.
type AuditLog interface {
	FindEvents(ctx context.Context, f audit.Filter) ([]audit.Event, error)
	LastCheckpoint(ctx context.Context) (audit.Checkpoint, error)
}

// auditPage is how many events one page shows.
const auditPage = 100

// typesOffered are suggested in the filter; any other type can be typed.
var typesOffered = []audit.Type{audit.RequestFiled, audit.RequestApproved, audit.RequestDenied, audit.GrantActivated, audit.GrantRevoked, audit.GrantExpired,
	audit.SessionStarted, audit.SessionTerminated, audit.SessionEnded, audit.CredentialMinted, audit.CredentialDead, audit.CredentialAlive, audit.RecordingViewed,
	audit.RecordingExported, audit.EvidenceExported, audit.LoginFailed, audit.FactorFailed, audit.FindingRaised, audit.UserUpdated, audit.UserDisabled, audit.ConfigLoaded}

// audit lists events for auditors and administrators, newest first. Reading is
// itself an event.
func (s *Server) audit(w http.ResponseWriter, r *http.Request, v *viewer) error {
	if !s.mayAudit(v) {
		return errNotFound
	}
	ctx, q := r.Context(), r.URL.Query()
	shown := map[string]string{}
	for _, k := range []string{"type", "user", "target", "of", "from", "to"} {
		shown[k] = strings.TrimSpace(q.Get(k))
	}
	d := map[string]any{"Q": shown, "Types": typesOffered, "Filtered": len(strings.Join(mapValues(shown), "")) > 0}
	f, err := s.auditFilter(r, shown)
	if err != nil {
		d["Error"] = sentence(err)
	}
	f.Before, _ = strconv.ParseInt(q.Get("before"), 10, 64)
	events, err := s.o.Audit.FindEvents(ctx, f)
	if err != nil {
		return err
	}
	detail := map[string]string{}
	for k, val := range shown {
		if val != "" {
			detail[k] = display.Line(val, 200)
		}
	}
	if err := s.auditRead(r, v, detail); err != nil {
		return err
	}
	d["Events"] = events
	if len(events) == auditPage {
		d["Older"] = pageURL("/audit", shown, "before", fmt.Sprint(events[len(events)-1].Seq))
	}
	if f.Before > 0 {
		d["Newest"] = pageURL("/audit", shown, "", "")
	}
	if c, err := s.o.Audit.LastCheckpoint(ctx); err == nil && c.Size > 0 {
		d["Checkpoint"] = c
	} else if err != nil && !errors.Is(err, store.ErrNotFound) {
		return err
	}
	s.render(w, r, v, http.StatusOK, "audit", d)
	return nil
}

func (s *Server) mayAudit(v *viewer) bool { return s.o.Audit != nil && (v.Auditor || v.Admin) }

func (s *Server) auditRead(r *http.Request, v *viewer, detail map[string]string) error {
	_, err := s.o.Log.Append(r.Context(), audit.Event{Type: audit.AuditRead, Outcome: audit.Success, Actor: v.actor(), Detail: detail})
	return err
}

// auditFilter reads the filter of an address. Ids say by their first letter
// what they are of.
func (s *Server) auditFilter(r *http.Request, shown map[string]string) (f audit.Filter, err error) {
	f = audit.Filter{Limit: auditPage, Target: shown["target"]}
	if t := shown["type"]; t != "" {
		f.Types = []audit.Type{audit.Type(t)}
	}
	switch of := strings.ToUpper(shown["of"]); {
	case of == "":
	case of[0] == 'R':
		f.Request = of
	case of[0] == 'G':
		f.Grant = of
	case of[0] == 'S':
		f.Session = of
	default:
		return f, errors.New("ids of requests begin with R, of grants with G, of sessions with S")
	}
	if f.Since, f.Until, err = dates(shown["from"], shown["to"]); err != nil {
		return f, err
	}
	f.User, err = s.userID(r, shown["user"])
	return f, err
}

// event shows one whole event.
func (s *Server) event(w http.ResponseWriter, r *http.Request, v *viewer) error {
	ev, err := s.eventOf(r, v)
	if err != nil {
		return err
	}
	if err := s.auditRead(r, v, map[string]string{"event": strconv.FormatInt(ev.Seq, 10)}); err != nil {
		return err
	}
	d := map[string]any{"E": ev, "MayProve": s.o.Prove != nil, "About": ev.User}
	if u, err := s.o.Users.User(r.Context(), ev.User); err == nil {
		d["About"] = u.Name
	}
	s.render(w, r, v, http.StatusOK, "event", d)
	return nil
}

func (s *Server) eventOf(r *http.Request, v *viewer) (audit.Event, error) {
	seq, err := strconv.ParseInt(r.PathValue("seq"), 10, 64)
	if err != nil || seq < 0 || !s.mayAudit(v) {
		return audit.Event{}, errNotFound
	}
	found, err := s.o.Audit.FindEvents(r.Context(), audit.Filter{Before: seq + 1, Limit: 1})
	if err == nil && (len(found) == 0 || found[0].Seq != seq) {
		err = errNotFound
	}
	if err != nil {
		return audit.Event{}, err
	}
	return found[0], nil
}

// leaf and inclusion give what proves one event without this gateway: its
// exact bytes, and its place in the log of the newest checkpoint.
func (s *Server) leaf(w http.ResponseWriter, r *http.Request, v *viewer) error {
	return s.proved(w, r, v, "json", func(leaf, _ []byte) []byte { return leaf })
}

func (s *Server) inclusion(w http.ResponseWriter, r *http.Request, v *viewer) error {
	return s.proved(w, r, v, "proof", func(_, proof []byte) []byte { return proof })
}

func (s *Server) proved(w http.ResponseWriter, r *http.Request, v *viewer, suffix string, pick func(leaf, proof []byte) []byte) error {
	ev, err := s.eventOf(r, v)
	if err != nil {
		return err
	}
	if s.o.Prove == nil {
		return errNotFound
	}
	c, err := s.o.Audit.LastCheckpoint(r.Context())
	if err != nil {
		return err
	}
	if ev.Seq >= c.Size {
		return fmt.Errorf("%w: the event is newer than the newest checkpoint; ask again in a second", store.ErrConflict)
	}
	leaf, proof, err := s.o.Prove(r.Context(), ev.Seq, c)
	if err != nil {
		return err
	}
	if err := s.auditRead(r, v, map[string]string{"event": strconv.FormatInt(ev.Seq, 10), "as": suffix}); err != nil {
		return err
	}
	return attach(w, "text/plain; charset=utf-8", fmt.Sprintf("%08d.%s", ev.Seq, suffix), pick(leaf, proof))
}

// checkpoint is the newest signed one, as a file to keep elsewhere.
func (s *Server) checkpoint(w http.ResponseWriter, r *http.Request, v *viewer) error {
	if !s.mayAudit(v) {
		return errNotFound
	}
	c, err := s.o.Audit.LastCheckpoint(r.Context())
	if err == nil && c.Size == 0 {
		err = errNotFound
	}
	if err != nil {
		return err
	}
	return attach(w, "text/plain; charset=utf-8", fmt.Sprintf("checkpoint-%d.txt", c.Size), []byte(c.Note))
}

func attach(w http.ResponseWriter, kind, name string, body []byte) error {
	w.Header().Set("Content-Type", kind)
	w.Header().Set("Content-Disposition", `attachment; filename="`+name+`"`)
	_, err := w.Write(body)
	return err
}
