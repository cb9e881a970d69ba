package notify

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
)

// Slack posts to an incoming webhook of Slack, or of a chat that takes the
// same (Mattermost, Rocket.Chat, Zulip). Its address is a secret in itself.
type Slack struct {
	name   string
	url    func() (string, error)
	client Poster
}

// NewSlack returns a Slack channel.
func NewSlack(name string, url func() (string, error), client Poster) *Slack {
	return &Slack{name, url, client}
}

// Name implements Channel.
func (s *Slack) Name() string { return s.name }

// Send implements Channel.
func (s *Slack) Send(ctx context.Context, m Message) error {
	body, err := json.Marshal(struct {
		Text        string `json:"text"`
		UnfurlLinks bool   `json:"unfurl_links"` // nobody fetches what a reason holds
		UnfurlMedia bool   `json:"unfurl_media"`
		LinkNames   int    `json:"link_names"` // an @name in the text is no mention
	}{Text: mrkdwn(m)})
	if err != nil {
		return &Lost{fmt.Errorf("encode the message: %w", err)}
	}
	return post(ctx, s.client, s.url, nil, m.ID, body)
}

func mrkdwn(m Message) string {
	var b strings.Builder
	if m.Urgent {
		b.WriteString(":rotating_light: ")
	}
	b.WriteString(m.Title.Show(code) + "\n")
	for _, f := range m.Facts {
		fmt.Fprintf(&b, "• %s: %s\n", escape(f.Name), code(f.Value))
	}
	if m.Next.format != "" {
		b.WriteString("In a terminal: `" + strings.ReplaceAll(escape(m.Next.Plain()), "`", "'") + "`\n")
	}
	if m.Link != "" {
		fmt.Fprintf(&b, "<%s|Open it on the page>\n", escape(m.Link))
	}
	return strings.TrimSuffix(b.String(), "\n")
}

// escape is what Slack asks for: three characters are control characters in
// mrkdwn, and without them there is no link and no mention (<!channel>, <@U1>).
func escape(s string) string {
	return strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;").Replace(s)
}

// code shows somebody's text as a code span: chats that know more than Slack
// does (a bare @all, [text](address), *bold*) read none of it in there. The
// text cannot leave the span, since it holds no backtick.
func code(s string) string {
	s = strings.ReplaceAll(escape(line(s)), "`", "'")
	if strings.TrimSpace(s) == "" {
		return "`-`"
	}
	return "`" + s + "`"
}
