package notify

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"jit-gateway/internal/webhook"
)

// Poster posts a body once: a *webhook.Client.
type Poster interface {
	Post(ctx context.Context, url, secret, id string, body []byte) error
}

// Hook posts each message as JSON, signed by the Standard Webhooks scheme.
// The webhook-id is that of the audit event: receivers deduplicate by it.
type Hook struct {
	name   string
	url    func() (string, error)
	secret func() (string, error)
	client Poster
}

// NewHook returns a Hook. Address and secret are read at each try, so that
// they can be changed without a restart.
func NewHook(name string, url, secret func() (string, error), client Poster) *Hook {
	return &Hook{name, url, secret, client}
}

// Name implements Channel.
func (h *Hook) Name() string { return h.name }

// hookBody follows the specification's advice: type, timestamp, data.
type hookBody struct {
	Type      string    `json:"type"`
	Timestamp time.Time `json:"timestamp"`
	Data      hookData  `json:"data"`
}

type hookData struct {
	About   About      `json:"about"`
	Urgent  bool       `json:"urgent,omitempty"`
	Title   string     `json:"title"`
	Facts   []hookFact `json:"facts,omitempty"`
	Next    string     `json:"next,omitempty"`
	Link    string     `json:"link,omitempty"`
	User    string     `json:"user_id,omitempty"`
	Target  string     `json:"target,omitempty"`
	Request string     `json:"request,omitempty"`
	Grant   string     `json:"grant,omitempty"`
	To      []string   `json:"to"`
}

type hookFact struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// Send implements Channel.
func (h *Hook) Send(ctx context.Context, m Message) error {
	d := hookData{About: m.About, Urgent: m.Urgent, Title: m.Title.Plain(), Next: m.Next.Plain(), Link: m.Link,
		User: m.User, Target: m.Target, Request: m.Request, Grant: m.Grant, To: []string{}}
	for _, f := range m.Facts {
		d.Facts = append(d.Facts, hookFact{f.Name, line(f.Value)})
	}
	d.To = append(d.To, m.names()...)
	body, err := json.Marshal(hookBody{string(m.Type), m.Time.UTC(), d})
	if err != nil {
		return &Lost{fmt.Errorf("encode the message: %w", err)}
	}
	return post(ctx, h.client, h.url, h.secret, m.ID, body)
}

func post(ctx context.Context, client Poster, url, secret func() (string, error), id string, body []byte) error {
	at, err := url()
	if err != nil {
		return err
	}
	key := ""
	if secret != nil {
		if key, err = secret(); err != nil {
			return err
		}
	}
	err = client.Post(ctx, at, key, id, body)
	var status *webhook.StatusError
	if errors.As(err, &status) {
		switch status.Status {
		// The receiver understood and will never take this message.
		case http.StatusBadRequest, http.StatusRequestEntityTooLarge, http.StatusUnprocessableEntity:
			return &Lost{err}
		}
	}
	return err
}
