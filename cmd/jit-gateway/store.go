package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"time"

	"jit-gateway/internal/audit"
	"jit-gateway/internal/config"
	"jit-gateway/internal/id"
	"jit-gateway/internal/store"
	"jit-gateway/internal/store/postgres"
	"jit-gateway/internal/store/sqlite"
	"jit-gateway/internal/store/sqlstore"
	"jit-gateway/session"
)

// storage is the open store: a file that this gateway alone has open, or a
// database that it shares.
type storage struct {
	*sqlstore.DB
	shared *postgres.DB // nil: a file
	close  func() error
}

// openStore opens what the configuration names.
func openStore(ctx context.Context, c *config.Config, log *slog.Logger) (storage, error) {
	pg := c.Store.Postgres
	if pg == nil {
		db, err := sqlite.Open(ctx, c.Store.Path, sqlite.Options{Now: now})
		if err != nil {
			return storage{}, err
		}
		when, err := db.OnRecord(ctx, moved)
		switch {
		case err == nil:
			err = fmt.Errorf("the store %s was moved to PostgreSQL at %s and goes on there: say store.postgres.dsn in %s", c.Store.Path, when, c.Path)
			return storage{}, errors.Join(err, db.Close())
		case !errors.Is(err, store.ErrNotFound):
			return storage{}, errors.Join(err, db.Close())
		}
		return storage{DB: db.DB, close: db.Close}, nil
	}
	dsn, err := config.Secret(pg.DSN)
	if err != nil {
		return storage{}, pg.Wrong(err)
	}
	o := postgres.Options{Now: now, Readers: pg.Connections}
	if log != nil {
		o.Log = func(msg string, err error) { log.Warn(msg, "error", err) }
	}
	db, err := postgres.Open(ctx, dsn, o)
	if err != nil {
		return storage{}, pg.Wrong(err)
	}
	return storage{DB: db.DB, shared: db, close: db.Close}, nil
}

// openStore opens the gateway's store.
func (g *gateway) openStore(ctx context.Context) error {
	s, err := openStore(ctx, g.conf, g.log)
	if err != nil {
		return err
	}
	g.db, g.shared, g.closeStore = s.DB, s.shared, s.close
	return nil
}

// sharing completes the session manager's options: alone with a file, every
// other instance is dead; with a shared database it is dead when it has been
// silent for longer than it would keep sessions without the store.
func (g *gateway) sharing(o session.Options) session.Options {
	if o.Exclusive = g.shared == nil; o.Exclusive {
		return o
	}
	o.DeadAfter = o.StoreGrace + 10*time.Second
	o.Alone = g.shared.Alone
	o.Dead = g.presence.dead
	return o
}

// lock lets one gateway at a time do something; nil where there is one.
func (g *gateway) lock() func(context.Context, string) (func(), error) {
	if g.shared == nil {
		return nil
	}
	return g.shared.Lock
}

// machine is the name of this gateway among others.
func machine(c *config.Config) string {
	host, _ := os.Hostname()
	return cmp.Or(c.Node, host, c.Name)
}

// instanceID is new at every start, and begins with the machine's name, for
// whoever reads on which gateway a session is.
func instanceID(c *config.Config) string {
	name := strings.Map(func(r rune) rune {
		if r == '-' || r == '.' || r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' {
			return r
		}
		return '-'
	}, machine(c))
	return name[:min(len(name), 40)] + "." + id.New("I")
}

// introduce tells the log, and the other gateways, that this one begins.
func (g *gateway) introduce(ctx context.Context) error {
	t := now()
	who := store.Gateway{ID: g.instance, Name: machine(g.conf), Version: versionString(), Started: t, Beat: t}
	return g.db.Introduce(ctx, who, g.lifeEvent(audit.GatewayStarted))
}

// farewell tells the log that it ended in order.
func (g *gateway) farewell() error {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	_, err := g.db.Append(ctx, g.lifeEvent(audit.GatewayStopped))
	return err
}

func (g *gateway) lifeEvent(t audit.Type) audit.Event {
	return audit.Event{Type: t, Outcome: audit.Success, Actor: audit.Gateway,
		Detail: map[string]string{"instance": g.instance, "gateway": machine(g.conf), "version": versionString()}}
}

// cancelTopic carries the digests of cancel keys that a gateway did not know.
const cancelTopic = "pg_cancel"

// cancelElsewhere tells the other gateways of a PostgreSQL CancelRequest that
// the balancer brought here: it comes on a connection of its own. A request
// that gets lost is one that the user makes again.
func (g *gateway) cancelElsewhere() func(digest string) {
	if g.shared == nil {
		return nil
	}
	return func(digest string) {
		if err := g.shared.Publish(context.Background(), cancelTopic, digest); err != nil {
			g.log.Warn("pass a cancel request on", "error", err)
		}
	}
}

func (g *gateway) hearCancels() {
	if g.shared != nil {
		g.shared.Subscribe(cancelTopic, func(digest string) { go g.postgres.CancelByDigest(digest) })
	}
}

// keptElsewhere tells recordings that another gateway's disk keeps from lost ones.
func (g *gateway) keptElsewhere() func(context.Context, string) bool {
	if g.shared == nil {
		return nil
	}
	mine, _, _ := strings.Cut(g.instance, ".I")
	return func(ctx context.Context, sessionID string) bool {
		row, err := g.db.Session(ctx, sessionID)
		return err == nil && !strings.HasPrefix(row.Gateway, mine+".I")
	}
}
