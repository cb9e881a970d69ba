package postgres

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
)

// Channels of NOTIFY. A database has them once: give each installation one of
// its own, or a user's search_path a schema, and the worst is a needless look.
const (
	eventsChannel = "jit_gateway_events" // the log grew
	busChannel    = "jit_gateway_bus"    // see Publish
)

// poll looks for events of other gateways, in case nobody told.
func (db *DB) poll(ctx context.Context) {
	tick := time.NewTicker(db.o.Poll)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		if err := db.Refresh(ctx); err != nil && ctx.Err() == nil {
			db.o.Log("look for events of other gateways; trying again", err)
		}
	}
}

// listen is told by other gateways, and connects again when that ends.
func (db *DB) listen(ctx context.Context) {
	wait := db.o.Poll
	for ctx.Err() == nil {
		began := time.Now()
		err := db.hear(ctx)
		if ctx.Err() != nil {
			return
		}
		if time.Since(began) > time.Minute {
			wait = db.o.Poll
		}
		db.o.Log("listen to other gateways; polling, and trying again", err)
		select {
		case <-time.After(wait):
			wait = min(2*wait, 10*time.Second)
		case <-ctx.Done():
		}
	}
}

// hear listens on one connection until it fails.
func (db *DB) hear(ctx context.Context) error {
	start, cancel := context.WithTimeout(ctx, db.o.Timeout)
	defer cancel()
	c, err := pgx.ConnectConfig(start, db.conf)
	if err != nil {
		return err
	}
	defer func() {
		end, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		c.Close(end)
	}()
	if _, err := c.Exec(start, "LISTEN "+eventsChannel); err != nil {
		return err
	}
	if _, err := c.Exec(start, "LISTEN "+busChannel); err != nil {
		return err
	}
	if err := db.Refresh(ctx); err != nil { // what came before LISTEN
		return err
	}
	for {
		n, err := c.WaitForNotification(ctx)
		if err != nil {
			return err
		}
		switch n.Channel {
		case eventsChannel:
			if err := db.Refresh(ctx); err != nil {
				return err
			}
		case busChannel:
			db.bus.deliver(n.Payload)
		}
	}
}

// message is what goes over the bus.
type message struct {
	Topic string `json:"t"`
	Text  string `json:"x"`
}

// bus carries small messages between gateways that nobody keeps: who does not
// hear one has to manage without.
type bus struct {
	mu     sync.Mutex
	subs   map[string]func(text string)
	closed bool
}

// Publish sends text to every gateway that is subscribed to the topic, this
// one too. It must be short (8000 bytes) and no secret: whoever may connect to
// the database can listen.
func (db *DB) Publish(ctx context.Context, topic, text string) error {
	b, err := json.Marshal(message{topic, text})
	if err != nil {
		return err
	}
	if len(b) >= 8000 {
		return fmt.Errorf("tell other gateways of %s: %d bytes are too many", topic, len(b))
	}
	ctx, cancel := context.WithTimeout(ctx, db.o.Timeout)
	defer cancel()
	if _, err := db.work.ExecContext(ctx, "SELECT pg_notify($1, $2)", busChannel, string(b)); err != nil {
		return fmt.Errorf("tell other gateways of %s: %w", topic, err)
	}
	return nil
}

// Subscribe has fn called for each message of the topic, one at a time; it
// must not block. A topic has one subscriber.
func (db *DB) Subscribe(topic string, fn func(text string)) {
	db.bus.mu.Lock()
	defer db.bus.mu.Unlock()
	if db.bus.subs == nil {
		db.bus.subs = map[string]func(string){}
	}
	db.bus.subs[topic] = fn
}

func (b *bus) deliver(payload string) {
	var m message
	if json.Unmarshal([]byte(payload), &m) != nil {
		return // somebody else's
	}
	b.mu.Lock()
	fn := b.subs[m.Topic]
	if b.closed {
		fn = nil
	}
	b.mu.Unlock()
	if fn != nil {
		fn(m.Text)
	}
}

func (b *bus) close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = true
}
