package main

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"jit-gateway/approval"
	"jit-gateway/approval/mfa"
	"jit-gateway/approval/policy"
	"jit-gateway/ca"
	"jit-gateway/internal/archive"
	"jit-gateway/internal/audit"
	"jit-gateway/internal/command"
	"jit-gateway/internal/config"
	"jit-gateway/internal/dialogue"
	"jit-gateway/internal/inventory"
	"jit-gateway/internal/seal"
	"jit-gateway/internal/search"
	"jit-gateway/internal/sink"
	"jit-gateway/internal/source"
	"jit-gateway/internal/store/postgres"
	"jit-gateway/internal/store/sqlstore"
	"jit-gateway/internal/web"
	"jit-gateway/proxy"
	"jit-gateway/proxy/pgproxy"
	"jit-gateway/proxy/sshproxy"
	"jit-gateway/recording"
	"jit-gateway/session"
)

// gateway is everything that a running process holds.
type gateway struct {
	conf     *config.Config
	log      *slog.Logger
	instance string
	registry *prometheus.Registry
	ready    atomic.Bool

	sockets   *sockets
	successor bool // of a process that passed its sockets on

	db           *sqlstore.DB
	shared       *postgres.DB // the same, if other gateways use it too
	closeStore   func() error
	presence     *presence
	rules        atomic.Pointer[policy.Set]
	inventory    *inventory.Live
	approvals    *approval.Service
	loading      sync.Mutex         // of the inventory
	targets      []inventory.Target // those of the configuration file
	sources      *source.Syncer
	truster      atomic.Pointer[source.Truster]
	sessions     *session.Manager
	ssh          *sshproxy.Server
	postgres     *pgproxy.Server
	web          *web.Server
	scim         http.Handler // nil: nobody provisions
	tls          *tls.Config
	authority    *ca.Authority
	proxyMetrics *proxy.Metrics
	drained      chan struct{} // closed when no session is left
	loaded       int64         // the newest event when this gateway began to read keys and targets
	stale        chan struct{} // the store's targets were changed, perhaps by another gateway
	checkpoints  *audit.Checkpointer
	sinks        *sink.Runner
	keeper       *archive.Keeper
	jobs         []job
}

// now is the wall clock in UTC. The test program replaces it.
var now = func() time.Time { return time.Now().UTC() }

// build makes the gateway, top to bottom: store, keys, who may, sessions,
// protocols, people. Nothing listens yet.
func build(ctx context.Context, c *config.Config, log *slog.Logger) (_ *gateway, err error) {
	g := &gateway{conf: c, log: log, instance: instanceID(c), registry: prometheus.NewRegistry(), drained: make(chan struct{}), stale: make(chan struct{}, 1), successor: successor()}
	defer func() {
		if err != nil {
			err = errors.Join(err, g.close())
		}
	}()
	g.registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	g.proxyMetrics = proxy.NewMetrics(g.registry)
	keys := filepath.Join(c.DataDir, "keys")
	if err := privateDir(c.DataDir); err != nil {
		return nil, err
	}

	// The store, and the log that every change goes to.
	if err := g.openStore(ctx); err != nil {
		return nil, err
	}
	if g.loaded, err = g.db.LastSeq(ctx); err != nil {
		return nil, err
	}
	if g.presence, err = bePresent(c.DataDir, g.instance); err != nil {
		return nil, err
	}
	skey, err := config.Secret("file:" + filepath.Join(keys, "audit.key"))
	if err != nil {
		return nil, err
	}
	auditKey, err := audit.PublicKey(skey)
	if err != nil {
		return nil, err
	}
	signer, err := audit.NewSigner(skey)
	if err != nil {
		return nil, err
	}
	g.checkpoints = &audit.Checkpointer{Log: g.db, Source: g.db, Signer: signer, Now: now,
		OnError: func(err error) { log.Error("the audit log was not signed; trying again", "error", err) }}
	g.job("checkpoints", g.checkpoints.Run)
	if g.sinks, err = sinks(c, g); err != nil {
		return nil, err
	}
	g.job("sinks", g.sinks.Run)

	// Keys.
	sealText, err := config.Secret(c.SealKey)
	if err != nil {
		return nil, err
	}
	box, err := seal.ParseKey(sealText, c.SealKey)
	if err != nil {
		return nil, err
	}
	authority, err := loadCA(c)
	if err != nil {
		return nil, err
	}
	if err := g.agree(ctx, authority, auditKey, box); err != nil {
		return nil, err
	}
	g.authority = authority
	g.job("other gateways", g.follow)
	if g.tls, err = g.certificates(authority); err != nil {
		return nil, err
	}

	// Who may, and who says yes.
	if err := g.newSources(c); err != nil {
		return nil, err
	}
	if err := g.load(ctx, c, audit.Gateway); err != nil {
		return nil, err
	}
	factors, err := mfa.NewVerifier(mfa.Options{Store: g.db, Box: box, Now: now, Issuer: c.Name, Lock: g.lock()})
	if err != nil {
		return nil, err
	}
	who, err := g.identities(c, factors, box)
	if err != nil {
		return nil, err
	}
	tickets, err := g.newTickets(ctx, c)
	if err != nil {
		return nil, err
	}
	approvals, err := approval.New(approval.Options{
		Users: g.db, Inventory: g.inventory, Rules: g.rules.Load, Requests: g.db, Grants: g.db, Log: g.db, Now: now,
		Roles: approval.Roles{Admins: c.Roles.Admins, Auditors: c.Roles.Auditors},
		Clock: g.mayAdmit, Feed: g.db, Logger: log, OpenSessions: g.openSessions, History: g.db, Findings: g.db, Tickets: tickets, Expiring: expiring(c),
	})
	if err != nil {
		return nil, err
	}
	g.approvals = approvals
	g.job("approvals", approvals.Run)
	if err := g.announce(ctx, c, approvals); err != nil {
		return nil, err
	}

	// Sessions, their credentials and recordings.
	recordings, err := recording.OpenDir(c.Recording.Dir, recording.DirOptions{Now: now})
	if err != nil {
		return nil, err
	}
	if err := g.archive(recordings); err != nil {
		return nil, err
	}
	indexer := &search.Indexer{Store: g.db, Recordings: recordings, Logger: log}
	if g.shared != nil {
		indexer.Node, indexer.Alone = machine(c), g.shared.Alone
	}
	g.job("search index", indexer.Run)
	tokens := ca.NewTokens(authority, g.db, now)
	talk, err := dialogue.New(dialogue.Options{Approvals: approvals, MFA: factors, Users: g.db, Feed: g.db, Now: now,
		Wait: c.Limits.Wait, Gateway: c.Name})
	if err != nil {
		return nil, err
	}
	cleaner := pgproxy.NewRoleCleaner(config.Secret)
	g.sessions, err = session.NewManager(g.sharing(session.Options{
		Instance: g.instance, Store: g.db, Credentials: g.db, Instances: g.db, Grants: g.db, Log: g.db, Feed: g.db,
		Recordings: recordings, Tokens: tokens, Cleaners: cleaner.Cleaners(),
		Logger: log, Metrics: session.NewMetrics(g.registry),
		StoreGrace: c.Limits.StoreGrace,
	}))
	if err != nil {
		return nil, err
	}
	g.job("sessions", g.sessions.Run)

	// Protocols. Each is one line in handler, below.
	g.postgres, err = pgproxy.New(pgproxy.Options{
		Inventory: g.inventory, Approvals: approvals, Log: g.db, Sessions: g.sessions, Tokens: tokens, Cleaner: cleaner,
		Authority: authority, TLS: g.tls, Dialogue: talk, Secrets: config.Secret, Installation: installation(c),
		Name: c.Name, LoginTime: c.Limits.PreAuth, Metrics: pgproxy.NewMetrics(g.registry, g.proxyMetrics), Logger: log, Now: now,
		Elsewhere: g.cancelElsewhere(), Budgets: g.db,
	})
	if err != nil {
		return nil, err
	}
	g.hearCancels()
	g.job("postgres", g.postgres.Run)
	g.job("debug socket", g.serveDebug)
	g.job("memory", trimMemory)
	g.job("memory", packMemory)
	reports, err := g.newReports(signer)
	if err != nil {
		return nil, err
	}
	services := services{g: g, approvals: approvals, recordings: recordings, reports: reports, origin: signer.Origin(), log: log}
	commands, err := services.commands(command.Options{
		Approvals: approvals, Dialogue: talk, MFA: factors, Machines: who.machines, Users: g.db, Inventory: g.inventory, Targets: g.db,
		Sessions: g.sessions, Rows: g.db, Recordings: recordings, Authority: authority, Tokens: tokens, Feed: g.db,
		Log: g.db, AuditLog: g.db, AuditKey: auditKey, Now: now, Logger: log,
	})
	if err != nil {
		return nil, err
	}
	g.job("admin socket", func(ctx context.Context) error { return commands.Listen(ctx, socketPath(c), g.successor) })
	g.ssh, err = sshproxy.New(sshproxy.Options{
		Authority: authority, Sessions: g.sessions, Approvals: approvals, Dialogue: talk, Users: g.db, Inventory: g.inventory,
		Feed: g.db, Audit: g.db, Commands: commands.Run, Tunnel: g.handler, Secrets: config.Secret, Egress: egress(c),
		Name: c.Name, LoginTime: c.Limits.PreAuth, Metrics: sshproxy.NewMetrics(g.registry), Log: log, Now: now,
	})
	if err != nil {
		return nil, err
	}
	g.job("ssh", g.ssh.Run)

	// The page.
	packs, err := services.packs()
	if err != nil {
		return nil, err
	}
	people, err := g.people(factors, commands)
	if err != nil {
		return nil, err
	}
	g.web, err = web.New(web.Options{People: people, Elsewhere: who.elsewhere,
		Name: c.Name, URL: publicURL(c), Enroll: func(code string) string { return command.EnrollCommand(public(c), code) }, Approvals: approvals, MFA: factors, Users: g.db, Inventory: g.inventory,
		Pages: g.db, Sessions: g.sessions, Rows: g.db, Recordings: recordings, Feed: g.db, Log: g.db, Now: now, Logger: log,
		Tokens: tokens, Audit: g.db, Search: g.db.SearchLines, Evidence: packs, Findings: g.db.Findings, Admin: services.adminPages(commands),
	})
	if err != nil {
		return nil, err
	}
	return g, nil
}

// handler terminates a target's protocol on a connection inside another.
func (g *gateway) handler(k inventory.Kind) proxy.Handler {
	switch k {
	case inventory.SSH:
		return g.ssh
	case inventory.Postgres:
		return g.postgres
	}
	return nil
}

func (g *gateway) close() error {
	if g.db == nil {
		return nil
	}
	return errors.Join(g.closeStore(), g.presence.close())
}

// mayAdmit refuses when the clock cannot be trusted, a required copy of the
// log is not being made, or too many recordings wait for the object store.
func (g *gateway) mayAdmit(ctx context.Context) error {
	if err := g.sinksOK(ctx); err != nil {
		return err
	}
	if err := g.keeper.Check(); err != nil {
		return err
	}
	if err := g.db.ClockOK(ctx); err != nil {
		return err
	}
	return g.sessions.ClockOK(ctx)
}

func (g *gateway) openSessions(ctx context.Context, grantID string) (int, error) {
	return g.sessions.OpenSessions(ctx, grantID)
}

// installation tells this gateway's session roles from another's on the same
// database: letters and digits of its name.
func installation(c *config.Config) string {
	name := strings.Map(func(r rune) rune {
		if (r >= 'a' && r <= 'z') || (r >= '0' && r <= '9') {
			return r
		}
		return -1
	}, c.Name)
	return name[:min(len(name), 12)]
}

func egress(c *config.Config) []netip.Prefix {
	var out []netip.Prefix
	for _, a := range c.Egress {
		out = append(out, netip.PrefixFrom(a, a.BitLen()))
	}
	return out
}

func publicURL(c *config.Config) string {
	if c.Public.URL != "" {
		return c.Public.URL
	}
	return "https://" + net.JoinHostPort(c.Name, portOf(c.Listen.Web))
}

func portOf(addr string) string {
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		return ""
	}
	return port
}
