package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/url"
	"syscall"
	"time"

	"jit-gateway/internal/audit"
	"jit-gateway/internal/command"
	"jit-gateway/internal/config"
	"jit-gateway/internal/inventory"
	"jit-gateway/internal/web"
	"jit-gateway/session"
)

// adminPages is what the pages of administrators and auditors show.
func (s services) adminPages(commands *command.Runner) web.Admin {
	return web.Admin{
		Changes: commands.Admin(), Rules: s.g.rules.Load, Health: s.g.health, Prove: s.prove, Report: pageReport(s.reports),
		Check: func(ctx context.Context, t inventory.Target, standing bool) ([]web.CheckResult, error) {
			found, err := s.check(ctx, t, standing)
			var out []web.CheckResult
			for _, f := range found {
				out = append(out, web.CheckResult{What: f.What, OK: f.OK, Detail: f.Detail, Fix: f.Fix})
			}
			return out, err
		},
	}
}

// prove gives an event as the log has it, and its proof.
func (s services) prove(ctx context.Context, seq int64, c audit.Checkpoint) (leaf, proof []byte, err error) {
	leaves, err := s.g.db.Leaves(ctx, seq, 1)
	if err != nil {
		return nil, nil, err
	}
	if len(leaves) != 1 || leaves[0].Seq != seq {
		return nil, nil, fmt.Errorf("audit event %d is missing from the store", seq)
	}
	proof, err = audit.Prove(ctx, s.g.db, seq, c)
	return leaves[0].Data, proof, err
}

// Bounds of what is healthy.
const (
	checkpointLate = 10 * time.Second // the log is signed once a second
	diskLow        = 5 << 30
	diskEmpty      = 512 << 20
	certificateLow = 14 * 24 * time.Hour
	deadLate       = time.Minute // how long after its end a credential may still wait for its check
)

// health looks at what would make the gateway refuse, or lose.
func (g *gateway) health(ctx context.Context) []web.Health {
	var out []web.Health
	add := func(area, subject, level, text, fix string) {
		out = append(out, web.Health{Area: area, Subject: subject, Level: level, Text: text, Fix: fix})
	}
	verdict := func(err error, area, well, fix string) {
		if err != nil {
			add(area, "", "fail", err.Error(), fix)
			return
		}
		add(area, "", "ok", well, "")
	}
	verdict(g.sessions.StoreOK(), "Store", "It answers.", "Without it nobody is admitted, and live sessions end after the grace.")
	verdict(g.sessions.ClockOK(ctx), "Clock", "It is not behind what the store has seen.", "Mend the clock. An administrator can reset the mark if it was ahead by mistake.")
	g.healthOfLog(ctx, add)
	verdict(g.sinksOK(ctx), "Copies of the log", "No required copy is behind.", "Until it is mended nobody is admitted.")
	g.healthOfDisk(add)
	g.healthOfCertificate(add)
	g.healthOfCredentials(ctx, add)
	g.healthOfOperations(ctx, add)
	return out
}

type addHealth func(area, subject, level, text, fix string)

func (g *gateway) healthOfLog(ctx context.Context, add addHealth) {
	const fix = "Look for \"the audit log was not signed\" in the gateway's own log."
	c, err := g.db.LastCheckpoint(ctx)
	last, serr := g.db.LastSeq(ctx)
	switch err = errors.Join(err, serr); {
	case err != nil:
		add("Audit log", "", "fail", err.Error(), fix)
	case last+1 > c.Size && now().Sub(c.Time) > checkpointLate:
		add("Audit log", "", "fail", fmt.Sprintf("%d events are not signed; the last checkpoint is %s old.", last+1-c.Size, now().Sub(c.Time).Round(time.Second)), fix)
	default:
		add("Audit log", "", "ok", fmt.Sprintf("%d events; all but the newest are signed.", last+1), "")
	}
}

func (g *gateway) healthOfDisk(add addHealth) {
	recordings := g.diskOf(add, "Recordings", "the recordings' disk", g.conf.Recording.Dir, "Make room. Sessions cannot begin without room for their recording.")
	if g.shared != nil {
		return
	}
	var data syscall.Stat_t
	if err := syscall.Stat(g.conf.DataDir, &data); err == nil && data.Dev != recordings {
		g.diskOf(add, "Store", "the store's disk", g.conf.DataDir, "Make room. What the store cannot write is refused.")
	}
}

// diskOf says how much room a directory's file system has, and which it is.
func (g *gateway) diskOf(add addHealth, area, name, dir, fix string) (device uint64) {
	var fs syscall.Statfs_t
	var st syscall.Stat_t
	if err := errors.Join(syscall.Statfs(dir, &fs), syscall.Stat(dir, &st)); err != nil {
		add(area, "", "fail", "look at the disk: "+err.Error(), fix)
		return 0
	}
	free := int64(fs.Bavail) * int64(fs.Bsize) //nolint:gosec // far below the limit
	text := fmt.Sprintf("%.1f GiB are free on %s.", float64(free)/(1<<30), name)
	switch {
	case free < diskEmpty:
		add(area, "", "fail", text, fix)
	case free < diskLow:
		add(area, "", "warn", text, fix)
	default:
		add(area, "", "ok", text, "")
	}
	return st.Dev
}

func (g *gateway) healthOfCertificate(add addHealth) {
	var cert *tls.Certificate
	var err error
	if g.tls.GetCertificate != nil {
		cert, err = g.tls.GetCertificate(&tls.ClientHelloInfo{})
	} else if len(g.tls.Certificates) > 0 {
		cert = &g.tls.Certificates[0]
	}
	switch {
	case err != nil:
		add("Certificate", "page", "fail", err.Error(), "")
	case cert == nil || cert.Leaf == nil:
	case cert.Leaf.NotAfter.Sub(now()) < 0:
		add("Certificate", "page", "fail", "It has expired.", "Put a new one where the configuration says, and reload.")
	case cert.Leaf.NotAfter.Sub(now()) < certificateLow && g.tls.GetCertificate == nil:
		add("Certificate", "page", "warn", "It expires on "+cert.Leaf.NotAfter.UTC().Format(time.DateOnly)+".", "Put a new one where the configuration says, and reload.")
	default:
		add("Certificate", "page", "ok", "It is good until "+cert.Leaf.NotAfter.UTC().Format(time.DateOnly)+".", "")
	}
}

// healthOfCredentials finds what should be dead and is not known to be.
func (g *gateway) healthOfCredentials(ctx context.Context, add addHealth) {
	list, err := g.db.LiveCredentials(ctx, session.CredentialFilter{})
	if err != nil {
		add("Clean-up", "", "fail", err.Error(), "")
		return
	}
	late := 0
	for _, c := range list {
		if c.Tries == 0 && (c.ExpiresAt.IsZero() || now().Sub(c.ExpiresAt) < deadLate) {
			continue
		}
		if late++; late <= 20 {
			text := fmt.Sprintf("%s %s, tried %d times.", c.Kind, c.Name, c.Tries)
			if c.LastError != "" {
				text += " " + c.LastError
			}
			add("Clean-up", c.Target, "fail", text, "The gateway goes on trying. If the target is gone for good, remove what was minted there by hand.")
		}
	}
	if late == 0 {
		add("Clean-up", "", "ok", "Whatever was minted for sessions that ended is known to be dead.", "")
	}
}

// pageHost is the page's host name: what passkeys sign for.
func pageHost(c *config.Config) string {
	u, err := url.Parse(publicURL(c))
	if err != nil || c.Listen.Web == "" {
		return ""
	}
	return u.Hostname()
}
