package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/http"
	"net/mail"
	"net/netip"
	"os"
	"time"

	"jit-gateway/approval"
	"jit-gateway/internal/config"
	"jit-gateway/internal/notify"
	"jit-gateway/internal/ticket"
	"jit-gateway/internal/webhook"
)

// newTickets makes the configured ticket system; nil without one.
func (g *gateway) newTickets(ctx context.Context, c *config.Config) (approval.Tickets, error) {
	t := c.Tickets
	if t == nil {
		return nil, nil
	}
	client, err := guarded(t.Allow, t.CAFile)
	if err != nil {
		return nil, fmt.Errorf("tickets: %w", err)
	}
	o := ticket.Options{URL: t.URL, Method: t.Method, Header: t.Header, State: t.State, Allowed: t.Allowed, Assignee: t.Assignee,
		AssigneeIs: t.AssigneeIs, Timeout: t.Timeout, Client: client, Store: g.db, Gateway: c.Name, Now: now, Logger: g.log}
	if t.Secret != "" {
		o.Secret = func() (string, error) { return config.Secret(t.Secret) }
	}
	if t.Note != nil {
		o.Note = &ticket.Note{URL: t.Note.URL, Method: t.Note.Method, Body: t.Note.Body}
	}
	s, err := ticket.New(o)
	if err != nil {
		return nil, err
	}
	g.job("tickets", s.Run)
	return s, s.Begin(ctx)
}

// announce makes the configured channels to people.
func (g *gateway) announce(ctx context.Context, c *config.Config, approvals *approval.Service) error {
	o := notify.Options{Store: g.db, Approvers: approvals, Only: map[string][]notify.About{}, Gateway: c.Name, Now: now, Logger: g.log,
		Roles: approval.Roles{Admins: c.Roles.Admins, Auditors: c.Roles.Auditors}, Metrics: notify.NewMetrics(g.registry)}
	if c.Listen.Web != "" || c.Public.URL != "" {
		o.URL = publicURL(c)
	}
	for _, ch := range c.Notify.Channels {
		for _, a := range ch.About {
			o.Only[ch.Name] = append(o.Only[ch.Name], notify.About(a))
		}
		made, err := channel(c, ch)
		if err != nil {
			return fmt.Errorf("notify %s: %w", ch.Name, err)
		}
		o.Channels = append(o.Channels, made)
	}
	r, err := notify.New(o)
	if err != nil {
		return err
	}
	g.job("notifications", r.Run)
	return r.Begin(ctx)
}

// expiring is how long before the end the log speaks of it: without anybody
// to tell, never.
func expiring(c *config.Config) time.Duration {
	if len(c.Notify.Channels) == 0 {
		return 0
	}
	return c.Notify.Expiring
}

func channel(c *config.Config, ch config.Channel) (notify.Channel, error) {
	if ch.Kind == "mail" {
		from, err := mail.ParseAddress(ch.From)
		if err != nil {
			return nil, err
		}
		roots, err := rootsOf(ch.CAFile)
		if err != nil {
			return nil, err
		}
		return notify.NewMail(notify.MailOptions{Name: ch.Name, Server: ch.Server, Security: ch.TLS, TLS: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
			User: ch.User, Password: func() (string, error) { return config.Secret(ch.Pass) }, From: from, Gateway: c.Name, Hello: c.Name, Now: now})
	}
	client, err := guarded(ch.Allow, ch.CAFile)
	if err != nil {
		return nil, err
	}
	url := func() (string, error) { return ch.URL, nil }
	if ch.URLFrom != "" {
		url = func() (string, error) { return config.Secret(ch.URLFrom) }
	}
	if ch.Kind == "slack" {
		return notify.NewSlack(ch.Name, url, client), nil
	}
	return notify.NewHook(ch.Name, url, func() (string, error) { return config.Secret(ch.Secret) }, client), nil
}

// guarded is a client that posts only where it may.
func guarded(allow []netip.Prefix, caFile string) (*webhook.Client, error) {
	roots, err := rootsOf(caFile)
	if err != nil {
		return nil, err
	}
	return webhook.NewClient(webhook.Options{Allow: allow, Now: now,
		Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}}}), nil
}

// rootsOf reads a CA file; nil, the system's roots, without one.
func rootsOf(path string) (*x509.CertPool, error) {
	if path == "" {
		return nil, nil
	}
	pem, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read ca_file: %w", err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s holds no certificate", path)
	}
	return roots, nil
}
