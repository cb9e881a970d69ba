package sshproxy

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"golang.org/x/crypto/ssh"

	"jit-gateway/internal/display"
	"jit-gateway/recording"
)

// Agent protocol (draft-ietf-sshm-ssh-agent).
const (
	agentFailure    = 5
	agentIdentities = 11
	agentSign       = 13
	agentExtension  = 27

	maxAgentMessage = 256 << 10 // OpenSSH's own limit
)

// agent is the user's agent, asked by the target. Keys can be listed and used
// there; they cannot be added, removed or locked from afar.
func (l *link) agent(nc ssh.NewChannel) {
	if err := l.recheck(); err != nil || !l.allowed().Agent {
		l.reject(nc, "agent", "the rule allows no agent forwarding")
		return
	}
	if !l.countForward(nc) {
		return
	}
	defer l.forwards.Add(-1)
	id := l.next.Add(1)
	f := recording.Forward{Type: "agent", Dest: "the user's agent"}
	if l.passed("agent") != nil || l.rec.Event(recording.Event{Channel: id, Payload: f}) != nil {
		nc.Reject(ssh.Prohibited, "the agent's use cannot be recorded")
		return
	}
	user, userReqs, err := l.down.OpenChannel("auth-agent@openssh.com", nil)
	if err != nil {
		nc.Reject(ssh.ConnectionFailed, "the user's client offers no agent")
		return
	}
	target, targetReqs, err := nc.Accept()
	if err != nil {
		user.Close()
		go ssh.DiscardRequests(userReqs)
		return
	}
	l.guard("ssh agent requests", func() { ssh.DiscardRequests(userReqs); target.Close() })
	l.guard("ssh agent requests", func() { ssh.DiscardRequests(targetReqs); user.Close() })
	err = l.agentLoop(id, target, user, &f)
	target.Close()
	user.Close()
	f.Ended, f.Result = true, "ok"
	if !errors.Is(err, io.EOF) {
		f.Result = display.Line(err.Error(), 200)
	}
	l.rec.Event(recording.Event{Channel: id, Payload: f})
}

// agentLoop passes one question and its answer at a time, since the protocol
// has no more at once, until one side ends: with io.EOF, if all went well.
func (l *link) agentLoop(id uint32, target, user ssh.Channel, f *recording.Forward) error {
	for {
		q, err := readAgent(target)
		if err != nil {
			return err
		}
		f.In += int64(len(q))
		why, detail := l.agentAllows(q)
		if detail != "" {
			ev := recording.Forward{Type: "agent", Dest: detail, Denied: why != "", Result: why}
			if err := l.rec.Event(recording.Event{Channel: id, Payload: ev}); err != nil {
				return err
			}
		}
		if why != "" {
			l.denied("agent "+detail, why)
			if _, err := target.Write([]byte{0, 0, 0, 1, agentFailure}); err != nil {
				return err
			}
			continue
		}
		l.sess.Activity()
		if err := writeAgent(user, q); err != nil {
			return err
		}
		a, err := readAgent(user)
		if err != nil {
			return err
		}
		f.Out += int64(len(a))
		if err := writeAgent(target, a); err != nil {
			return err
		}
	}
}

// agentAllows decides one question. detail is what the recording says of it.
func (l *link) agentAllows(q []byte) (why, detail string) {
	switch q[0] {
	case agentIdentities, agentExtension:
		return "", ""
	case agentSign:
	default:
		return "a target may list and use the agent's keys, nothing else", fmt.Sprintf("request %d", q[0])
	}
	s, err := parseSign(q)
	if err != nil {
		return "a malformed request to sign", "sign"
	}
	detail = "sign with " + s.fingerprint
	if s.user != "" {
		detail += " to log in as " + display.Line(s.user, 64)
	}
	if s.sessionID != nil && l.s.ids.has(s.sessionID) {
		why = "the target tried to log in to the gateway with your agent"
		l.raise("ridden_agent", "The target asked your agent to sign a login to this gateway. It was refused.",
			map[string]string{"ssh_session": hexID(s.sessionID), "key": s.fingerprint})
	}
	return why, detail
}

// A signRequest is what an agent is asked to sign.
type signRequest struct {
	fingerprint string
	sessionID   []byte // of an SSH login, else nil
	user        string
}

func parseSign(q []byte) (signRequest, error) {
	var s signRequest
	blob, rest, ok := takeString(q[1:])
	data, _, ok2 := takeString(rest)
	if !ok || !ok2 {
		return s, io.ErrUnexpectedEOF
	}
	s.fingerprint = "an unreadable key"
	if k, err := ssh.ParsePublicKey(blob); err == nil {
		s.fingerprint = ssh.FingerprintSHA256(k)
	}
	// RFC 4252, 7: string session id, byte SSH_MSG_USERAUTH_REQUEST, string user, …
	id, rest, ok := takeString(data)
	if ok && len(rest) > 0 && rest[0] == 50 {
		s.sessionID = id
		if user, _, ok := takeString(rest[1:]); ok {
			s.user = string(user)
		}
	}
	return s, nil
}

func readAgent(r io.Reader) ([]byte, error) {
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return nil, err
	}
	n := binary.BigEndian.Uint32(head[:])
	if n < 1 || n > maxAgentMessage {
		return nil, fmt.Errorf("an agent message of %d bytes", n)
	}
	b := make([]byte, n)
	_, err := io.ReadFull(r, b)
	return b, err
}

func writeAgent(w io.Writer, b []byte) error {
	_, err := w.Write(append(binary.BigEndian.AppendUint32(make([]byte, 0, 4+len(b)), uint32(len(b))), b...))
	return err
}
