package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"
	"golang.org/x/sync/errgroup"

	"jit-gateway/internal/config"
	"jit-gateway/proxy"
)

type serveCmd struct {
	Debug bool `help:"Log at debug level."`
}

func (c serveCmd) Run(ctx context.Context, cli *local, s *io3) error {
	level := slog.LevelInfo
	if c.Debug {
		level = slog.LevelDebug
	}
	log := slog.New(slog.NewJSONHandler(s.err, &slog.HandlerOptions{Level: level}))
	conf, err := config.Load(cli.Config)
	if err != nil {
		return err
	}
	if os.Getenv("GOGC") == "" {
		// Relayed bytes pass through pooled buffers; what is left to collect is
		// little, and collecting it seldom is worth some memory (docs/benchmarks.md).
		debug.SetGCPercent(400)
	}
	quiet()
	given, err := givenSockets()
	if err != nil {
		return err
	}
	g, err := build(ctx, conf, log)
	if err != nil {
		return err
	}
	g.sockets = given
	return g.run(ctx)
}

// run serves until ctx is done (SIGTERM, SIGINT), then drains: listeners
// close, live sessions get Limits.Drain to end, the rest is terminated, and
// what they held is invalidated before the store closes.
func (g *gateway) run(ctx context.Context) (err error) {
	defer func() { err = errors.Join(err, g.close()) }()

	listeners, err := g.listen()
	if err != nil {
		return err
	}
	if err := g.introduce(ctx); err != nil {
		return err
	}
	// Everything that must outlive the listeners runs under its own context.
	base, stopBase := context.WithCancel(context.WithoutCancel(ctx))
	defer stopBase()
	background, bg := errgroup.WithContext(base)
	directory, leave := context.WithCancel(bg) // ends with a hand-over: the successor has the directory then
	defer leave()
	for _, job := range g.jobs {
		ctx := bg
		if ofDirectory[job.name] {
			ctx = directory
		}
		background.Go(func() error {
			if err := job.run(ctx); err != nil && ctx.Err() == nil {
				return fmt.Errorf("%s stopped: %w", job.name, err)
			}
			return nil
		})
	}
	told := ctx // SIGTERM or SIGINT
	ctx, over := context.WithCancelCause(ctx)
	defer over(nil)
	serving, sctx := errgroup.WithContext(ctx)
	serving.Go(func() error { // a background job that fails stops everything: fail closed
		select {
		case <-bg.Done():
			return background.Wait()
		case <-sctx.Done():
			return nil
		}
	})
	serving.Go(func() error { return g.reloadOnHangup(sctx) })
	serving.Go(func() error { return g.handOverOnSignal(sctx, over) })
	serving.Go(func() error { return g.watchdog(sctx) })
	if g.successor {
		g.recovered(sctx)
	}
	// Sessions live on connections; these end when the sessions do, or at the
	// end of the drain.
	for _, l := range listeners {
		serving.Go(func() error { return l.serve(sctx) })
	}
	g.log.Info("gateway is up", "name", g.conf.Name, "ssh", g.conf.Listen.SSH, "postgres", g.conf.Listen.Postgres,
		"web", g.conf.Listen.Web, "instance", g.instance, "version", versionString())
	g.ready.Store(true)
	if err := errors.Join(takenOver(), notifySystemd("READY=1")); err != nil {
		g.log.Warn("tell that the gateway is up", "error", err)
	}
	<-sctx.Done()
	g.ready.Store(false)
	handedOver := errors.Is(context.Cause(sctx), errHandedOver)
	if handedOver {
		leave()
		g.letIn(told)
	} else {
		_ = notifySystemd(stopping(g.conf.Limits.Drain))
	}
	g.log.Info("gateway is stopping", "live_sessions", len(g.sessions.Live()))
	drain, cancel := g.patience(base, told, handedOver)
	defer cancel()
	errDrain := g.sessions.Drain(drain)
	close(g.drained)
	err = serving.Wait()
	stopBase()
	g.presence.forget()
	return errors.Join(err, errDrain, background.Wait(), g.farewell())
}

// listener is one open socket and what serves it.
type listener struct {
	net.Listener
	serve func(context.Context) error
}

// listen opens every configured socket before anything is served, so that a
// taken port is an error at the start.
func (g *gateway) listen() ([]listener, error) {
	var out []listener
	fail := func(what, addr string, err error) ([]listener, error) {
		for _, l := range out {
			l.Close()
		}
		return nil, fmt.Errorf("listen for %s on %q: %w", what, addr, err)
	}
	for _, p := range []struct {
		name, addr string
		handle     func(context.Context, net.Conn)
	}{
		{"ssh", g.conf.Listen.SSH, g.ssh.ServeConn},
		{"postgres", g.conf.Listen.Postgres, g.postgres.ServeConn},
	} {
		if p.addr == "" {
			continue
		}
		ln, err := g.sockets.listen(p.name, p.addr)
		if err != nil {
			return fail(p.name, p.addr, err)
		}
		out = append(out, listener{ln, func(ctx context.Context) error {
			return proxy.Serve(ctx, ln, proxy.ServeOptions{
				Name: p.name, MaxConns: g.conf.Limits.Connections, MaxPerSource: g.conf.Limits.ConnectionsPerSource,
				PROXYFrom: g.conf.ProxyFrom, DrainTimeout: handOverDrain + time.Hour, Drained: g.drained, Handle: p.handle,
				Metrics: g.proxyMetrics, Log: g.log,
			})
		}})
	}
	for _, h := range []struct {
		name, addr string
		handler    http.Handler
		tls        bool
	}{
		{"web", g.conf.Listen.Web, published(g.authority, g.provisioned()), true},
		{"metrics", g.conf.Listen.Metrics, g.operator(), false},
	} {
		if h.addr == "" {
			continue
		}
		ln, err := g.sockets.listen(h.name, h.addr)
		if err != nil {
			return fail(h.name, h.addr, err)
		}
		out = append(out, listener{ln, func(ctx context.Context) error {
			if !h.tls { // the operator's own
				return g.serveHTTP(ctx, ln, h.handler, false)
			}
			return g.servePage(ctx, ln, h.handler)
		}})
	}
	if names := g.sockets.rest(); len(names) > 0 {
		g.log.Warn("sockets were passed that the configuration does not use", "names", names)
	}
	return out, nil
}

// servePage serves the page under the same limits as every other listener, and
// with the real sources of what comes through a balancer.
func (g *gateway) servePage(ctx context.Context, ln net.Listener, h http.Handler) error {
	queue := proxy.NewQueue(ln.Addr())
	served := make(chan error, 1)
	go func() {
		defer queue.Close()
		served <- proxy.Serve(ctx, ln, proxy.ServeOptions{
			Name: "web", MaxConns: g.conf.Limits.Connections, MaxPerSource: g.conf.Limits.ConnectionsPerSource,
			PROXYFrom: g.conf.ProxyFrom, DrainTimeout: pageDrain, Handle: queue.Handle, Metrics: g.proxyMetrics, Log: g.log,
		})
	}()
	err := g.serveHTTP(ctx, queue, h, true)
	if ctx.Err() == nil { // it fell over by itself: nobody is to knock any more
		ln.Close()
	}
	return errors.Join(err, <-served)
}

// pageDrain is how long answers of the page may take to be sent at the end.
const pageDrain = 5 * time.Second

// serveHTTP serves until ctx is done. Bodies and headers are bounded; event
// streams have no write limit, so it is the read side that has one.
func (g *gateway) serveHTTP(ctx context.Context, ln net.Listener, h http.Handler, tls bool) error {
	srv := &http.Server{
		Handler: h, ReadHeaderTimeout: 10 * time.Second, ReadTimeout: 30 * time.Second, IdleTimeout: 2 * time.Minute,
		MaxHeaderBytes: 32 << 10, ErrorLog: slog.NewLogLogger(g.log.Handler(), slog.LevelDebug),
		BaseContext: func(net.Listener) context.Context { return ctx }, // event streams end with the gateway
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		<-ctx.Done()
		stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), pageDrain)
		defer cancel()
		if srv.Shutdown(stop) != nil {
			srv.Close()
		}
	}()
	var err error
	if tls {
		srv.TLSConfig = g.tls.Clone()
		srv.TLSConfig.NextProtos = append([]string{"h2", "http/1.1"}, g.tls.NextProtos...) // ACME has one of its own
		err = srv.ServeTLS(ln, "", "")
	} else {
		err = srv.Serve(ln)
	}
	// At the end the listener may be closed before the server knows of it.
	if errors.Is(err, http.ErrServerClosed) || ctx.Err() != nil && errors.Is(err, net.ErrClosed) {
		<-done
		return nil
	}
	return err
}

// operator serves metrics and health on the private listener.
func (g *gateway) operator() http.Handler {
	m := http.NewServeMux()
	m.Handle("GET /metrics", promhttp.HandlerFor(g.registry, promhttp.HandlerOpts{}))
	m.HandleFunc("GET /healthz", func(w http.ResponseWriter, r *http.Request) { fmt.Fprintln(w, "ok") })
	m.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) {
		if !g.ready.Load() {
			http.Error(w, "starting or stopping", http.StatusServiceUnavailable)
			return
		}
		if err := errors.Join(g.sessions.StoreOK(), g.mayAdmit(r.Context())); err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, "ready")
	})
	return m
}

// reloadOnHangup reads rules and targets again on SIGHUP. A configuration
// that does not hold changes nothing.
func (g *gateway) reloadOnHangup(ctx context.Context) error {
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP) // never stopped: see quiet
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-hup:
			_ = notifySystemd("RELOADING=1")
			err := g.reload(ctx)
			_ = notifySystemd("READY=1")
			if err != nil {
				g.log.Error("configuration was not reloaded; the old one stays in force", "error", err)
			}
		}
	}
}
