package sink

import (
	"bytes"
	"context"

	"jit-gateway/internal/webhook"
)

// Hook posts batches as JSON arrays, signed by the Standard Webhooks scheme.
// The message id of a post is that of its first message.
type Hook struct {
	name, url string
	secret    func() (string, error)
	client    *webhook.Client
}

// NewHook returns the sink. secret is asked for at each post, so that it can
// be rotated.
func NewHook(name, url string, secret func() (string, error), c *webhook.Client) *Hook {
	return &Hook{name, url, secret, c}
}

// Name implements Sink.
func (h *Hook) Name() string { return h.name }

// Send implements Sink: the receiver answered 2xx.
func (h *Hook) Send(ctx context.Context, batch []Message) error {
	secret, err := h.secret()
	if err != nil {
		return err
	}
	parts := make([][]byte, len(batch))
	for i, m := range batch {
		parts[i] = m.JSON
	}
	body := append(append([]byte("["), bytes.Join(parts, []byte(","))...), ']')
	return h.client.Post(ctx, h.url, secret, batch[0].ID, body)
}

// Close implements Sink.
func (h *Hook) Close() error { return nil }
