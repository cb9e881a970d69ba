package audit

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Checkpointer signs the log's tree: at most once per Every while it grows,
// and once more when it stops. Before each signature it checks that the tree
// still begins with the one that was signed before, so that a log which
// somebody rewrote beneath a running gateway is never signed over.
type Checkpointer struct {
	Log    Log
	Source Source
	Signer *Signer
	Now    func() time.Time
	Every  time.Duration // one second if zero
	// OnSigned, if set, is called with each new checkpoint after it is
	// stored: sinks carry it to where an outside copy is kept.
	OnSigned func(Checkpoint)
	// OnError, if set, is told of what may pass, such as a full disk; Run then
	// tries again. Without it Run returns such an error.
	OnError func(error)
}

// stopTime bounds the last signature, made after ctx is done.
const stopTime = 5 * time.Second

// Run signs until ctx is done, and returns nil then. An error that wraps
// ErrLogChanged means that the log cannot be vouched for any more: the gateway
// MUST NOT go on.
func (c *Checkpointer) Run(ctx context.Context) error {
	every := c.Every
	if every <= 0 {
		every = time.Second
	}
	for ctx.Err() == nil {
		last, err := c.Sign(ctx)
		switch {
		case err == nil:
		case ctx.Err() != nil:
			continue
		case errors.Is(err, ErrLogChanged) || c.OnError == nil:
			return err
		default:
			c.OnError(err)
		}
		if wait(ctx, every) != nil || err != nil {
			continue
		}
		if err := c.Source.WaitEvents(ctx, last.Size-1); err != nil && ctx.Err() == nil {
			return fmt.Errorf("wait for audit events to sign: %w", err)
		}
	}
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTime)
	defer cancel()
	_, err := c.Sign(stop)
	return err
}

func wait(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

// Sign signs and stores a checkpoint of the tree as it is now, unless the
// newest one is of this tree already, and returns the newest.
func (c *Checkpointer) Sign(ctx context.Context) (Checkpoint, error) {
	last, err := c.Log.LastCheckpoint(ctx)
	if err != nil {
		return Checkpoint{}, fmt.Errorf("read the newest checkpoint: %w", err)
	}
	tree, err := c.Log.Tree(ctx)
	if err != nil {
		return Checkpoint{}, fmt.Errorf("read the audit log's tree: %w", err)
	}
	switch {
	case last.Note == "" && tree.N == 0:
		return Checkpoint{}, nil // nothing to say yet
	case last.Note != "":
		if err := c.follows(ctx, last, Checkpoint{Size: tree.N, Root: tree.Hash}); err != nil {
			return Checkpoint{}, err
		}
		if last.Size == tree.N {
			return last, nil
		}
	}
	signed, err := c.Signer.Sign(tree)
	if err != nil {
		return Checkpoint{}, err
	}
	signed.Time = c.Now().UTC()
	if err := c.Log.SaveCheckpoint(ctx, signed); err != nil {
		return Checkpoint{}, fmt.Errorf("store the checkpoint of %d events: %w", signed.Size, err)
	}
	if c.OnSigned != nil {
		c.OnSigned(signed)
	}
	return signed, nil
}

// ErrLogChanged says that the log is not the one that was signed.
var ErrLogChanged = errors.New("the audit log is not the one that was signed")

func (c *Checkpointer) follows(ctx context.Context, last, now Checkpoint) error {
	opened, err := c.Signer.Open(last.Note)
	if err != nil {
		return fmt.Errorf("%w: the newest checkpoint: %w", ErrLogChanged, err)
	}
	if now.Size < opened.Size {
		return fmt.Errorf("%w: it has %d events, and had %d", ErrLogChanged, now.Size, opened.Size)
	}
	p, err := ProveConsistency(ctx, c.Log, opened, now)
	if err != nil {
		return err
	}
	if err := CheckConsistency(p, opened, now); err != nil {
		return fmt.Errorf("%w: %w", ErrLogChanged, err)
	}
	return nil
}
