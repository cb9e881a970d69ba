package sshproxy

import (
	"errors"
	"fmt"

	"golang.org/x/crypto/ssh"

	"jit-gateway/approval/policy"
	"jit-gateway/internal/display"
	"jit-gateway/recording"
)

// Limits on what a client asks of one channel.
const (
	maxEnv        = 64
	maxEnvBytes   = 32 << 10
	maxExecLine   = 128 << 10 // below the longest packet
	maxPTYPayload = 8 << 10
)

// request decides and relays one channel request of the client (G10). An
// error ends the channel. Payloads are whole before they go on: sshd ends the
// connection, all its channels with it, over a byte too many.
func (c *sessionChannel) request(r *ssh.Request) (bool, error) {
	switch r.Type {
	case "env":
		return c.envRequest(r)
	case "pty-req":
		return c.ptyRequest(r)
	case "window-change":
		cols, rows, err := parseWindow(r.Payload)
		if err != nil || len(r.Payload) != 16 {
			return false, errors.New("a window size was malformed")
		}
		if err := c.l.rec.Resize(c.id, cols, rows); err != nil {
			return false, err
		}
		return c.relay(r)
	case "signal":
		name, rest, ok := takeString(r.Payload)
		if !ok || len(name) > 32 || len(rest) != 0 {
			return false, errors.New("a signal was malformed")
		}
		if err := c.record(recording.Signal{Name: string(name)}); err != nil {
			return false, err
		}
		return c.relay(r)
	case "break": // RFC 4335; OpenSSH's ~B
		if len(r.Payload) != 4 {
			return false, errors.New("a break was malformed")
		}
		if err := c.record(recording.Signal{Name: "BREAK"}); err != nil {
			return false, err
		}
		return c.relay(r)
	case "eow@openssh.com":
		r.Payload = nil
		return c.relay(r)
	case "auth-agent-req@openssh.com":
		if !c.l.allowed().Agent {
			c.refused("agent forwarding", "the rule allows no agent forwarding")
			return false, nil
		}
		if err := c.l.passed("agent forwarding"); err != nil {
			return false, err
		}
		r.Payload = nil
		return c.relay(r)
	case "x11-req":
		c.refused("X11 forwarding", "X11 forwarding is not possible here")
		return false, nil
	case "shell", "exec", "subsystem":
		if r.Type == "shell" {
			r.Payload = nil
		}
		if c.isStarted() {
			return false, nil
		}
		return c.startRequest(r)
	}
	return false, nil // keepalives among them
}

func (c *sessionChannel) isStarted() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.started
}

// relay passes a request on and returns the target's answer.
func (c *sessionChannel) relay(r *ssh.Request) (bool, error) {
	ok, err := c.up.SendRequest(r.Type, r.WantReply, r.Payload)
	if err != nil {
		return false, nil // the channel is closing
	}
	return ok || !r.WantReply, nil
}

func (c *sessionChannel) record(p recording.Payload) error {
	return c.l.rec.Event(recording.Event{Channel: c.id, Payload: p})
}

// refused audits a refusal, and tells people at a terminal when what they
// asked for has begun.
func (c *sessionChannel) refused(what, why string) {
	c.l.denied(what, why)
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.started && len(c.notes) < 8 { // OpenSSH asks for the agent before the terminal
		c.notes = append(c.notes, why)
	}
}

func (c *sessionChannel) envRequest(r *ssh.Request) (bool, error) {
	name, rest, ok := takeString(r.Payload)
	value, rest, ok2 := takeString(rest)
	if !ok || !ok2 || len(rest) != 0 {
		return false, errors.New("an environment variable was malformed")
	}
	c.mu.Lock()
	c.env++
	many := c.env > maxEnv
	c.mu.Unlock()
	if many {
		return false, nil
	}
	refused := len(r.Payload) > maxEnvBytes || !anyGlob(c.l.allowed().Env, string(name)) || hasControl(string(name))
	ev := recording.Env{Name: display.Line(string(name), 128), Value: string(value[:min(len(value), 1024)]), Refused: refused}
	if err := c.record(ev); err != nil {
		return false, err
	}
	if refused {
		return false, nil
	}
	return c.relay(r)
}

func hasControl(s string) bool {
	for _, r := range s {
		if r < ' ' || r == 0x7f {
			return true
		}
	}
	return false
}

func (c *sessionChannel) ptyRequest(r *ssh.Request) (bool, error) {
	p, err := parsePTY(r.Payload)
	if err != nil || len(r.Payload) > maxPTYPayload {
		return false, errors.New("a terminal request was malformed")
	}
	if c.isStarted() {
		return false, nil
	}
	c.mu.Lock()
	c.pty = true
	c.mu.Unlock()
	if err := c.record(recording.Open{Type: "session", Term: display.Line(p.Term, 64)}); err != nil {
		return false, err
	}
	if err := c.l.rec.Resize(c.id, p.Cols, p.Rows); err != nil {
		return false, err
	}
	return c.relay(r)
}

// startRequest decides shell, exec and subsystem.
func (c *sessionChannel) startRequest(r *ssh.Request) (bool, error) {
	may := c.l.allowed()
	var arg string
	if r.Type != "shell" {
		b, rest, ok := takeString(r.Payload)
		if !ok || len(rest) != 0 || len(b) > maxExecLine {
			return false, errors.New("a command was malformed or too long")
		}
		arg = string(b)
	}
	if may.ForceCommand != "" { // the certificate says so to the host, too
		if isSFTPServer(may.ForceCommand) {
			return c.forcedSFTP(r, arg, may)
		}
		return c.begin("exec", recording.Exec{Command: may.ForceCommand, PTY: c.pty}, contentTaps(c), "exec", ssh.Marshal(struct{ C string }{may.ForceCommand}))
	}
	switch r.Type {
	case "shell":
		if !may.Shell {
			return c.refuseStart(r, "shell", "The rule allows no shell on "+c.target()+".")
		}
		return c.begin("shell", recording.Shell{}, contentTaps(c), r.Type, r.Payload)
	case "exec":
		if ok, why := execAllowed(may, arg); !ok {
			return c.refuseStart(r, "exec", why)
		}
		return c.begin("exec", recording.Exec{Command: arg, PTY: c.pty}, execTaps(c, arg), r.Type, r.Payload)
	}
	switch {
	case arg != "sftp":
		return c.refuseStart(r, "subsystem "+arg, fmt.Sprintf("the subsystem %q is not possible here", display.Line(arg, 32)))
	case may.SFTP == "":
		return c.refuseStart(r, "sftp", "the rule allows no file transfer")
	}
	return c.begin("sftp", recording.Exec{Command: "sftp", Subsystem: true}, sftpTaps(c, may), r.Type, r.Payload)
}

// forcedSFTP is for hosts that are file stores: sshd runs a forced
// internal-sftp for nothing but the subsystem.
func (c *sessionChannel) forcedSFTP(r *ssh.Request, arg string, may policy.Channels) (bool, error) {
	if r.Type != "subsystem" || arg != "sftp" {
		return c.refuseStart(r, r.Type, "The rule allows file transfer by sftp alone on "+c.target()+".")
	}
	t := contentTaps(c)
	if may.SFTP != "" {
		t = sftpTaps(c, may)
	}
	return c.begin("sftp", recording.Exec{Command: may.ForceCommand, Subsystem: true}, t, r.Type, r.Payload)
}

func (c *sessionChannel) target() string { return display.Line(c.l.sess.Row().Target, 64) }

// begin audits and records what starts, and asks the target for it.
func (c *sessionChannel) begin(what string, ev recording.Payload, t taps, typ string, payload []byte) (bool, error) {
	if err := c.l.passed(what); err != nil {
		return false, err
	}
	c.mu.Lock()
	pty := c.pty
	c.what, c.taps = what, t
	c.mu.Unlock()
	if !pty {
		if err := c.record(recording.Open{Type: "session"}); err != nil {
			return false, err
		}
	}
	if err := c.record(ev); err != nil {
		return false, err
	}
	c.begun = c.output.hold() // a command may end before we hear that it began
	ok, err := c.up.SendRequest(typ, true, payload)
	if err != nil {
		return false, errors.New("the connection to the target is gone")
	}
	return ok, nil
}

// refuseStart tells the user in words: the request succeeds, text on stderr,
// exit status, close. A bare failure would show people nothing but
// "request failed on channel 0".
func (c *sessionChannel) refuseStart(r *ssh.Request, what, why string) (bool, error) {
	c.l.denied(what, why)
	r.Reply(true, nil)
	r.WantReply = false
	c.lastWords(c.l.s.o.Name+": "+why, sayTime)
	return false, nil
}
