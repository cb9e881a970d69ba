package approval

import (
	"context"
	"errors"
	"fmt"

	"jit-gateway/internal/audit"
	"jit-gateway/internal/store"
)

// WaitRequest blocks until the request is no longer pending, or ctx is done.
// It follows the feed from before it first reads the request, so no answer slips between.
func (s *Service) WaitRequest(ctx context.Context, feed audit.Source, id string) (Request, error) {
	after, err := feed.LastSeq(ctx)
	if err != nil {
		return Request{}, fmt.Errorf("follow the log: %w", err)
	}
	look := func() (Request, bool, error) {
		r, err := s.o.Requests.Request(ctx, id)
		if errors.Is(err, store.ErrNotFound) {
			return r, false, notFound("request", id)
		}
		return r, err == nil && r.State != Pending, err
	}
	r, done, err := look()
	if done || err != nil {
		return r, err
	}
	for ev, err := range audit.Tail(ctx, feed, after) {
		if err != nil {
			return r, err
		}
		if ev.Request != id {
			continue
		}
		if r, done, err = look(); done || err != nil {
			return r, err
		}
	}
	return r, ctx.Err()
}
