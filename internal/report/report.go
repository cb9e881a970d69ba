// Package report makes the access report: who may ask for what, what was
// granted in a period and how much of it was used, how long answers took, every
// emergency with its review, every after-check that failed, and what nobody
// uses. It is what the regular review that auditors ask for begins with.
//
// It covers the whole population, and says how many there are of each, so that
// a reader can tell that nothing is left out. It holds what the gateway knows
// and judges nothing. Who is eligible is told as of the moment of the report,
// by the rules, users and targets as they are then.
//
// Three forms, HTML, CSV and JSON, each one file that ends with a signature by
// the audit log's key: see sign.go; Verify checks it offline.
//
// Start reading at Writer.Write, then collect.go.
package report

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"jit-gateway/approval"
	"jit-gateway/approval/policy"
	"jit-gateway/internal/audit"
	"jit-gateway/internal/identity"
	"jit-gateway/internal/inventory"
	"jit-gateway/internal/store"
	"jit-gateway/session"
)

// Query is what a report covers: From, inclusive, to To, exclusive.
type Query struct{ From, To time.Time }

// Formats of a report.
const (
	HTML = "html"
	CSV  = "csv"
	JSON = "json"
)

// Store is what reports are made of. Both stores implement it.
type Store interface {
	Users(ctx context.Context) ([]identity.User, error)
	ListRequests(ctx context.Context, f approval.RequestFilter) ([]approval.Request, error)
	ListGrants(ctx context.Context, f approval.GrantFilter) ([]approval.Grant, error)
	ListSessions(ctx context.Context, f session.Filter) ([]session.Row, error)
	FindEvents(ctx context.Context, f audit.Filter) ([]audit.Event, error)
	Findings(ctx context.Context, f store.FindingFilter) ([]store.Finding, error)
}

// Options builds a Writer.
type Options struct {
	Store     Store
	Inventory inventory.Inventory
	Rules     func() *policy.Set
	Sign      func(text string) (string, error) // audit.Signer.SignText
	Gateway   string
	Now       func() time.Time
}

// Writer writes reports.
type Writer struct{ o Options }

// New returns a Writer, or an error that names what is missing.
func New(o Options) (*Writer, error) {
	if o.Store == nil || o.Inventory == nil || o.Rules == nil || o.Sign == nil || o.Now == nil {
		return nil, errors.New("report: an option is missing")
	}
	return &Writer{o}, nil
}

// longest is the longest period of one report.
const longest = 5 * 366 * 24 * time.Hour

// Write writes the report of a period. Nothing is written if it cannot be
// made whole.
func (w *Writer) Write(ctx context.Context, q Query, format string, out io.Writer) error {
	switch {
	case format != HTML && format != CSV && format != JSON:
		return fmt.Errorf("%q is no format of a report: say html, csv or json", format)
	case q.From.IsZero() || q.To.IsZero() || !q.From.Before(q.To):
		return errors.New("a report needs a beginning and an end after it")
	case q.To.Sub(q.From) > longest:
		return errors.New("a report covers five years at most")
	}
	q.From, q.To = q.From.UTC(), q.To.UTC()
	r, err := w.collect(ctx, q)
	if err != nil {
		return err
	}
	var b bytes.Buffer
	switch format {
	case HTML:
		err = writeHTML(&b, r)
	case CSV:
		err = writeCSV(&b, r)
	default:
		err = writeJSON(&b, r)
	}
	if err == nil {
		err = w.sign(&b, q, format)
	}
	if err != nil {
		return err
	}
	_, err = out.Write(b.Bytes())
	return err
}
