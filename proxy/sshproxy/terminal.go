package sshproxy

import (
	"context"
	"errors"
	"io"
	"strings"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"
)

// An authTerminal asks a person inside SSH authentication: text as banners,
// questions as keyboard-interactive rounds. The handshake calls us and waits,
// so nothing else is sent meanwhile.
type authTerminal struct {
	conn      ssh.ServerPreAuthConn
	challenge ssh.KeyboardInteractiveChallenge
	dots      bool // the client prints banners as they come: OpenSSH
	now       func() time.Time

	mu    sync.Mutex
	asked int
	open  bool // dots stand at the end of an unfinished line
	shown time.Time
	pulse int
}

// maxAnswer bounds what is taken as an answer.
const maxAnswer = 4096

// reflex is how fast an empty answer to the first question comes from a
// client that asks nobody (no terminal, no askpass): it is not a person's.
const reflex = 300 * time.Millisecond

var errNoAnswer = errors.New("the client answered another question")

// Say shows text.
func (t *authTerminal) Say(ctx context.Context, text string) error {
	if err := context.Cause(ctx); err != nil {
		return err
	}
	return t.conn.SendAuthBanner(t.lead() + strings.TrimRight(text, "\n") + "\n")
}

// lead ends a line of dots.
func (t *authTerminal) lead() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	defer func() { t.open, t.pulse, t.shown = false, 0, time.Time{} }()
	if t.open {
		return "\n"
	}
	return ""
}

// Ask asks one question. A client without a terminal answers at once and
// empty: nobody is there.
func (t *authTerminal) Ask(ctx context.Context, prompt string, echo bool) (string, error) {
	if err := context.Cause(ctx); err != nil {
		return "", err
	}
	if lead := t.lead(); lead != "" {
		if err := t.conn.SendAuthBanner(lead); err != nil {
			return "", err
		}
	}
	began := time.Now()
	t.asked++
	answers, err := t.challenge("", "", []string{prompt}, []bool{echo})
	switch {
	case err != nil:
		if cause := context.Cause(ctx); cause != nil {
			return "", cause
		}
		return "", io.EOF
	case len(answers) != 1:
		return "", errNoAnswer
	case answers[0] == "" && t.asked == 1 && time.Since(began) < reflex:
		return "", io.EOF
	case len(answers[0]) > maxAnswer:
		return "", errors.New("the answer is too long")
	}
	return answers[0], nil
}

// Alive sends something, so that the client's ServerAliveInterval is content
// and a dead connection is found, and shows a dot now and then: three at
// first, later one each half minute.
func (t *authTerminal) Alive(ctx context.Context) error {
	if err := context.Cause(ctx); err != nil {
		return err
	}
	t.mu.Lock()
	text := ""
	if now := t.now(); t.dots && (t.pulse < 3 || now.Sub(t.shown) >= 30*time.Second) {
		text, t.open, t.shown = ".", true, now
		t.pulse++
	}
	t.mu.Unlock()
	return t.conn.SendAuthBanner(text)
}

// showsBanners reports whether a client prints banners as they come, without
// a window or a frame around each.
func showsBanners(clientVersion string) bool {
	return strings.HasPrefix(clientVersion, "SSH-2.0-OpenSSH")
}
