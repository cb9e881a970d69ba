package sshproxy

import (
	"encoding/binary"
	"net"
	"strconv"

	"golang.org/x/crypto/ssh"

	"jit-gateway/internal/display"
	"jit-gateway/recording"
)

// maxListeners bounds -R on one connection.
const maxListeners = 64

// remoteListen is -R: the target listens for the user.
func (l *link) remoteListen(r *ssh.Request) {
	addr, rest, ok := takeString(r.Payload)
	port, _, ok2 := takeUint32(rest)
	if !ok || !ok2 || len(addr) > maxHostName || port > 65535 {
		r.Reply(false, nil)
		return
	}
	dest := net.JoinHostPort(string(addr), strconv.FormatUint(uint64(port), 10))
	if r.Type == "cancel-tcpip-forward" {
		l.forgetListener(dest)
		ok, _, err := l.up.SendRequest(r.Type, r.WantReply, r.Payload)
		r.Reply(ok && err == nil, nil)
		return
	}
	if !l.mayListen(dest) {
		r.Reply(false, nil)
		return
	}
	ok, data, err := l.up.SendRequest(r.Type, true, r.Payload)
	if err != nil || !ok {
		r.Reply(false, nil)
		return
	}
	if port == 0 && len(data) >= 4 {
		dest = net.JoinHostPort(string(addr), strconv.FormatUint(uint64(binary.BigEndian.Uint32(data)), 10))
	}
	l.rememberListener(dest)
	r.Reply(true, data)
}

func (l *link) remoteListenSocket(r *ssh.Request) {
	path, _, ok := takeString(r.Payload)
	if !ok || len(path) == 0 || len(path) > maxHostName {
		r.Reply(false, nil)
		return
	}
	dest := "unix:" + string(path)
	if r.Type == "cancel-streamlocal-forward@openssh.com" {
		l.forgetListener(dest)
	} else if !l.mayListen(dest) {
		r.Reply(false, nil)
		return
	}
	ok, data, err := l.up.SendRequest(r.Type, true, r.Payload)
	if ok && err == nil && r.Type == "streamlocal-forward@openssh.com" {
		l.rememberListener(dest)
	}
	r.Reply(ok && err == nil, data)
}

// mayListen decides a -R by the rule, and records it.
func (l *link) mayListen(dest string) bool {
	why := ""
	l.mu.Lock()
	many := len(l.remote) >= maxListeners
	l.mu.Unlock()
	if err := l.recheck(); err != nil {
		why = err.Error()
	} else if many {
		why = "too many listeners on one connection"
	} else if !mayForward(l.allowed().Remote, dest) {
		why = "the rule allows no remote forward from " + display.Line(l.told(dest), 100)
	}
	f := recording.Forward{Type: "remote", Dest: dest, Denied: why != "", Result: why}
	if err := l.rec.Event(recording.Event{Payload: f}); err != nil {
		return false
	}
	if why != "" {
		l.denied("remote forward from "+l.told(dest), why)
		l.tell(why)
		return false
	}
	return l.passed("remote forward from "+l.told(dest)) == nil
}

func (l *link) rememberListener(dest string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.remote[dest] = struct{}{}
}

func (l *link) forgetListener(dest string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.remote, dest)
}

func (l *link) listens(dest string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	_, ok := l.remote[dest]
	return ok
}

// remoteForward is a connection to a -R listener.
func (l *link) remoteForward(nc ssh.NewChannel) {
	d, err := parseDirect(nc.ExtraData())
	if err != nil || !l.listens(d.dest()) {
		l.reject(nc, "forwarded-tcpip", "nobody asked the target to listen there")
		return
	}
	l.forward(nc, l.down, recording.Forward{Type: "remote", Dest: d.dest(), Origin: net.JoinHostPort(d.OriginHost, strconv.FormatUint(uint64(d.OriginPort), 10))})
}

func (l *link) remoteSocket(nc ssh.NewChannel) {
	path, _, ok := takeString(nc.ExtraData())
	dest := "unix:" + string(path)
	if !ok || len(path) > maxHostName || !l.listens(dest) {
		l.reject(nc, "forwarded-streamlocal", "nobody asked the target to listen there")
		return
	}
	l.forward(nc, l.down, recording.Forward{Type: "remote", Dest: dest})
}
