package main

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"io"
	"log/slog"
	"net/url"
	"strconv"
	"time"

	"golang.org/x/crypto/ssh"

	"jit-gateway/approval"
	"jit-gateway/ca"
	"jit-gateway/internal/audit"
	"jit-gateway/internal/command"
	"jit-gateway/internal/config"
	"jit-gateway/internal/evidence"
	"jit-gateway/internal/inventory"
	"jit-gateway/internal/report"
	"jit-gateway/internal/store"
	"jit-gateway/internal/web"
	"jit-gateway/recording"
)

// services are what commands need of packages that they must not import.
type services struct {
	g          *gateway
	approvals  *approval.Service
	recordings *recording.Dir
	reports    *report.Writer
	origin     string
	log        *slog.Logger
}

// commands completes the options of the command interface.
func (s services) commands(o command.Options) (*command.Runner, error) {
	c := s.g.conf
	write, err := s.packs()
	if err != nil {
		return nil, err
	}
	o.Public = public(c)
	o.Reload = s.g.reload
	o.Elsewhere = s.g.keptElsewhere()
	o.ParseTargets, o.Sync = s.g.parseImport, s.g.sources.Sync
	o.Health = s.g.healthItems
	o.Check = s.check
	o.UserCert = func(ctx context.Context, adm approval.Admission, key ssh.PublicKey) (*ssh.Certificate, error) {
		return s.userCert(ctx, o.Authority, adm, key)
	}
	o.Search = s.g.db.SearchLines
	o.Backup = s.backup
	o.Report = commandReport(s.reports)
	o.Rules = s.g.reloaded
	o.Acts, o.Findings, o.Keeper = s.g.db, s.g.db.Findings, s.g.keeper
	if c.Listen.Web != "" {
		o.Public.URL = publicURL(c)
		o.PageLink = s.pageLink
	}
	o.Evidence = write
	return command.New(o)
}

// packs returns what writes evidence packs, for ssh and for the page.
func (s services) packs() (func(context.Context, approval.Caller, string, io.Writer) error, error) {
	script, style, err := web.PlayerFiles()
	if err != nil {
		return nil, err
	}
	pack, err := evidence.New(evidence.Options{Store: s.g.db, Recordings: s.recordings, Sign: s.g.checkpoints.Sign, SignText: s.g.checkpoints.Signer.SignText,
		Gateway: s.g.conf.Name, Origin: s.origin, Site: pageHost(s.g.conf), Player: &evidence.Player{Script: script, Style: style}, Now: now})
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context, caller approval.Caller, grantID string, w io.Writer) error {
		return s.evidence(ctx, pack, caller, grantID, w)
	}, nil
}

// check looks at a target with its own protocol's eyes.
func (s services) check(ctx context.Context, t inventory.Target, standing bool) ([]command.CheckResult, error) {
	var out []command.CheckResult
	switch t.Kind {
	case inventory.Postgres:
		found, err := s.g.postgres.Check(ctx, t, standing)
		if err != nil {
			return nil, err
		}
		for _, f := range found {
			out = append(out, command.CheckResult(f))
		}
	case inventory.SSH:
		found, err := s.g.ssh.Check(ctx, t, standing)
		if err != nil {
			return nil, err
		}
		for _, f := range found {
			out = append(out, command.CheckResult(f))
		}
	default:
		return nil, fmt.Errorf("targets of kind %q cannot be checked", t.Kind)
	}
	return out, nil
}

// userCert signs a key that the gateway accepts under the admission's grant.
// It is in the log before anybody has it.
func (s services) userCert(ctx context.Context, a *ca.Authority, adm approval.Admission, key ssh.PublicKey) (*ssh.Certificate, error) {
	cert, err := a.GatewayCert(adm, key)
	if err != nil {
		return nil, err
	}
	u := adm.User()
	_, err = s.g.db.Append(ctx, audit.Event{Type: audit.CredentialMinted, Outcome: audit.Success, User: u.ID, Grant: adm.Grant().ID, Target: adm.Target().Name,
		Actor:  audit.Actor{ID: u.ID, Name: u.Name, Source: adm.Source(), Via: "ssh"},
		Detail: map[string]string{"kind": "gateway_cert", "serial": strconv.FormatUint(cert.Serial, 10), "fingerprint": ssh.FingerprintSHA256(key), "name": cert.ValidPrincipals[0]}})
	if err != nil {
		return nil, err
	}
	return cert, nil
}

const linkLifetime = 5 * time.Minute

// pageLink makes a one-time link to the page for the key that asks.
func (s services) pageLink(ctx context.Context, c approval.Caller) (string, time.Time, error) {
	raw := make([]byte, 32)
	rand.Read(raw)
	token := base64.RawURLEncoding.EncodeToString(raw)
	hash := sha256.Sum256([]byte(token))
	expires := now().Add(linkLifetime)
	l := store.Link{Hash: hash[:], UserID: c.UserID, KeyFingerprint: c.KeyFingerprint, Source: c.Source, ExpiresAt: expires}
	ev := audit.Event{Type: audit.PageLinkMade, Outcome: audit.Success, User: c.UserID,
		Actor: audit.Actor{ID: c.UserID, Source: c.Source, Via: c.Via}}
	if err := s.g.db.CreateLink(ctx, l, ev); err != nil {
		return "", time.Time{}, err
	}
	return publicURL(s.g.conf) + "/sign-in?t=" + url.QueryEscape(token), expires, nil
}

// evidence writes a pack for auditors, and says in the log that it did.
func (s services) evidence(ctx context.Context, pack *evidence.Writer, c approval.Caller, grantID string, w io.Writer) error {
	if !c.LocalAdmin {
		if err := s.approvals.CanReplay(ctx, c.UserID, grantID); err != nil {
			return err
		}
	}
	_, err := s.g.db.Append(ctx, audit.Event{Type: audit.EvidenceExported, Outcome: audit.Success, Grant: grantID,
		Actor: audit.Actor{ID: c.UserID, Source: c.Source, Via: c.Via}})
	if err != nil {
		return err
	}
	return pack.Write(ctx, grantID, w)
}

// public is how people reach the gateway.
func public(c *config.Config) command.Public {
	return command.Public{Name: c.Name, Host: c.Public.Host, SSHPort: portNumber(c.Public.SSHPort, c.Listen.SSH),
		PostgresPort: portNumber(c.Public.PostgresPort, c.Listen.Postgres), HostPattern: c.Public.HostPattern}
}

// portNumber is the public port, else that of the listener, 0 if it is off.
func portNumber(public int, listen string) int {
	if public != 0 {
		return public
	}
	n, err := strconv.Atoi(portOf(listen))
	if err != nil {
		return 0
	}
	return n
}
