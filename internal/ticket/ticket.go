// Package ticket asks a ticket system whether a request's ticket is what it
// should be, before the request is filed, and writes a note to the ticket when
// the grant is over.
//
// It speaks plain HTTP and JSON, as Jira, ServiceNow, GitLab, Zammad and the
// like do: an address with {ticket} in it, a header with a secret, the path of
// the state and of the assignee in the answer. No answer is no: the request is
// not filed. Connections are guarded as those of webhooks are, so that nobody
// uses the gateway to look around in its own network.
//
// Start reading at System.Check; notes are in note.go.
package ticket

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"time"

	"jit-gateway/approval"
	"jit-gateway/internal/display"
	"jit-gateway/internal/identity"
)

// Client sends a request to an address that may be asked: a *webhook.Client.
type Client interface {
	Do(*http.Request) (*http.Response, error)
}

// Options builds a System.
type Options struct {
	URL        string // with {ticket}
	Method     string // GET if empty
	Header     string // Authorization if empty
	Secret     func() (string, error)
	State      string   // path in the answer; empty: that the ticket is there is enough
	Allowed    []string // states that will do
	Assignee   string   // path in the answer; empty: anybody's ticket will do
	AssigneeIs string   // "name" or "email" of the requester
	Timeout    time.Duration
	Client     Client

	Note    *Note // nil: no notes
	Store   Store // of notes
	Gateway string
	Now     func() time.Time
	Logger  *slog.Logger
	Pause   time.Duration // before the first new try of a note; a second if zero
}

const (
	defaultTimeout = 5 * time.Second
	maxAnswer      = 1 << 20
)

// System is a ticket system.
type System struct{ o Options }

// New returns a System, or an error that names what is missing.
func New(o Options) (*System, error) {
	if o.Client == nil || !strings.Contains(o.URL, "{ticket}") {
		return nil, errors.New("ticket: Client or URL is missing")
	}
	if o.Note != nil && (o.Store == nil || o.Now == nil) {
		return nil, errors.New("ticket: notes need Store and Now")
	}
	if o.Method == "" {
		o.Method = http.MethodGet
	}
	if o.Header == "" {
		o.Header = "Authorization"
	}
	if o.Timeout <= 0 {
		o.Timeout = defaultTimeout
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return &System{o}, nil
}

func no(format string, args ...any) error {
	return &approval.TicketRefused{Text: fmt.Sprintf(format, args...)}
}

// Check implements approval.Tickets.
func (s *System) Check(ctx context.Context, ticket string, u identity.User) error {
	shown := display.Line(ticket, 100)
	place, err := address(s.o.URL, ticket)
	if err != nil {
		return no("%q is not the name of a ticket", shown)
	}
	ctx, cancel := context.WithTimeout(ctx, s.o.Timeout)
	defer cancel()
	status, body, err := s.send(ctx, s.o.Method, place, "", nil)
	switch {
	case err != nil:
		return err
	case status == http.StatusNotFound || status == http.StatusGone:
		return no("there is no ticket %s", shown)
	case status/100 != 2:
		return fmt.Errorf("the ticket system answered with status %d", status)
	}
	if s.o.State == "" && s.o.Assignee == "" {
		return nil
	}
	var answer any
	d := json.NewDecoder(bytes.NewReader(body))
	d.UseNumber()
	if err := d.Decode(&answer); err != nil {
		return errors.New("the ticket system's answer is not JSON")
	}
	if s.o.State != "" {
		state, ok := at(answer, s.o.State)
		switch {
		case !ok:
			return fmt.Errorf("the ticket system's answer has nothing at %s", s.o.State)
		case !oneOf(state, s.o.Allowed):
			return no("ticket %s is %s; it must be %s", shown, display.Line(state, 60), strings.Join(s.o.Allowed, " or "))
		}
	}
	return s.assignee(answer, shown, u)
}

// assignee refuses a ticket that is not the requester's. One that is nobody's
// is not theirs either.
func (s *System) assignee(answer any, shown string, u identity.User) error {
	if s.o.Assignee == "" {
		return nil
	}
	mine := u.Name
	if s.o.AssigneeIs == "email" {
		mine = u.Email
	}
	if mine == "" {
		return no("ticket %s must be assigned to you, and the gateway knows no mail address of yours; tell an administrator", shown)
	}
	theirs, ok := at(answer, s.o.Assignee)
	switch {
	case !ok || theirs == "":
		return no("ticket %s is assigned to nobody; it must be assigned to you", shown)
	case !strings.EqualFold(theirs, mine):
		return no("ticket %s is assigned to somebody else", shown)
	}
	return nil
}

// send sends one request and reads its answer to the limit.
func (s *System) send(ctx context.Context, method, place, id string, body []byte) (int, []byte, error) {
	req, err := http.NewRequestWithContext(ctx, method, place, bytes.NewReader(body))
	if err != nil {
		return 0, nil, errors.New("the address of the ticket system is malformed")
	}
	req.Header.Set("Accept", "application/json")
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if id != "" {
		req.Header.Set("Idempotency-Key", id)
	}
	if s.o.Secret != nil {
		secret, err := s.o.Secret()
		if err != nil {
			return 0, nil, err
		}
		if strings.ContainsAny(secret, "\r\n") {
			return 0, nil, errors.New("the secret for the ticket system is not one line")
		}
		req.Header.Set(s.o.Header, secret)
	}
	resp, err := s.o.Client.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	if err != nil {
		return 0, nil, fmt.Errorf("read the ticket system's answer: %w", err)
	}
	if len(answer) > maxAnswer {
		return 0, nil, fmt.Errorf("the ticket system's answer is larger than %d bytes", maxAnswer)
	}
	return resp.StatusCode, answer, nil
}

// address puts the ticket's name into the template as one piece: it can add
// neither a path nor a parameter.
func address(template, ticket string) (string, error) {
	if strings.ContainsFunc(ticket, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return "", errors.New("not a ticket")
	}
	// Escaped they are one piece to us, but many servers, and what stands before
	// them, take %2F for a slash: no piece may be a step up.
	for _, piece := range strings.FieldsFunc("/"+ticket+"/", func(r rune) bool { return r == '/' || r == '\\' }) {
		if strings.Trim(piece, ". ") == "" {
			return "", errors.New("not a ticket")
		}
	}
	if strings.Trim(ticket, `/\ `) == "" {
		return "", errors.New("not a ticket")
	}
	path, _, _ := strings.Cut(template, "?")
	escaped := url.PathEscape(ticket)
	if !strings.Contains(path, "{ticket}") {
		escaped = url.QueryEscape(ticket)
	}
	return strings.Replace(template, "{ticket}", escaped, 1), nil
}

func oneOf(s string, list []string) bool {
	for _, l := range list {
		if strings.EqualFold(strings.TrimSpace(s), l) {
			return true
		}
	}
	return false
}
