package sshproxy

import (
	"context"
	"sync/atomic"

	"golang.org/x/crypto/ssh"
	"golang.org/x/time/rate"
)

// A side is one of the two ends of a link: the channels that it opens, and
// what it asks of the connection as a whole.
type side struct {
	chans  <-chan ssh.NewChannel
	reqs   <-chan *ssh.Request
	serve  func(ssh.NewChannel)
	answer func(*ssh.Request)
	pace   *rate.Limiter
	open   atomic.Int32 // channels
	busy   bool         // an answer is under way: the next one waits for it
}

// gone: the connection has ended.
func (s *side) gone() bool { return s.chans == nil && s.reqs == nil }

// opens and asks are what to listen to.
func (s *side) opens() <-chan ssh.NewChannel {
	if s.busy {
		return nil
	}
	return s.chans
}

func (s *side) asks() <-chan *ssh.Request {
	if s.busy {
		return nil
	}
	return s.reqs
}

// wait serves both sides, and passes on warnings, until one side is gone or
// the session ends. Idle sessions are many, and goroutines have stacks: this
// one rests for all of a session's connections, and what may take time, which
// every answer may if its reader does not read, is done by others.
func (l *link) wait(client, target *side) {
	warnings := l.sess.Warnings()
	for !client.gone() && !target.gone() {
		select {
		case nc, ok := <-client.opens():
			l.opened(client, nc, ok)
		case r, ok := <-client.asks():
			l.asked(client, r, ok)
		case nc, ok := <-target.opens():
			l.opened(target, nc, ok)
		case r, ok := <-target.asks():
			l.asked(target, r, ok)
		case s := <-l.answered:
			s.busy = false
		case w := <-warnings:
			l.guard("ssh warnings", func() { l.tell(w.Text); l.warned(w) })
		case <-l.ctx.Done():
			return
		}
	}
}

// opened serves a channel, unless there are too many.
func (l *link) opened(s *side, nc ssh.NewChannel, ok bool) {
	if !ok {
		s.chans = nil
		return
	}
	if s.open.Add(1) > maxSessions+maxForwards {
		s.open.Add(-1)
		l.inTurn(s, func() { nc.Reject(ssh.ResourceShortage, "too many channels at once") })
		return
	}
	l.guard("ssh channel", func() {
		defer s.open.Add(-1)
		if s.pace.Wait(l.ctx) == nil {
			s.serve(nc)
		}
	})
}

// asked answers a request that belongs to no channel.
func (l *link) asked(s *side, r *ssh.Request, ok bool) {
	if !ok {
		s.reqs = nil
		return
	}
	l.inTurn(s, func() {
		if s.pace.Wait(l.ctx) != nil {
			r.Reply(false, nil)
			return
		}
		s.answer(r)
	})
}

// inTurn gives an answer, and listens to that side again when it is given.
func (l *link) inTurn(s *side, answer func()) {
	s.busy = true
	l.guard("ssh request", func() {
		defer func() { l.answered <- s }()
		answer()
	})
}

// refuseRest turns down what a side still wants when the session is over,
// until it is gone.
func (l *link) refuseRest(s *side) (gone <-chan struct{}) {
	done := make(chan struct{})
	l.guard("ssh rest", func() {
		defer close(done)
		each(context.Background(), s.chans, s.reqs, func(nc ssh.NewChannel) { nc.Reject(ssh.Prohibited, "the session is over") }, refuseGlobal)
	})
	return done
}

// each takes what a peer opens, and answers what it asks of the connection as a
// whole, in turn, until the connection ends. One goroutine does both: idle
// connections are many.
func each(ctx context.Context, chans <-chan ssh.NewChannel, reqs <-chan *ssh.Request, open func(ssh.NewChannel), answer func(*ssh.Request)) {
	pace := newPace()
	for chans != nil || reqs != nil {
		select {
		case nc, ok := <-chans:
			if !ok {
				chans = nil
				continue
			}
			open(nc)
		case r, ok := <-reqs:
			if !ok {
				reqs = nil
				continue
			}
			if pace.Wait(ctx) != nil {
				r.Reply(false, nil)
				continue
			}
			answer(r)
		}
	}
}

// newPace is how fast one side may do what leaves an event in the audit log:
// nobody fills the disk by being refused. People and browsers stay below.
func newPace() *rate.Limiter { return rate.NewLimiter(100, 500) }

func refuseGlobal(r *ssh.Request) { r.Reply(false, nil) }
