package sshproxy

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"slices"
	"sync"

	"golang.org/x/crypto/ssh"

	"jit-gateway/internal/dialogue"
	"jit-gateway/internal/display"
	"jit-gateway/proxy"
)

// maxCommandLine bounds a command line of the command interface.
const maxCommandLine = 16 << 10

// command runs one use of the command interface on a session channel.
func (o *outer) command(nc ssh.NewChannel) {
	ch, reqs, err := nc.Accept()
	if err != nil {
		return
	}
	defer ch.Close()
	ctx, cancel := context.WithCancelCause(o.ctx)
	defer cancel(nil)

	resize := make(chan dialogue.Size, 1)
	inv := dialogue.Invocation{In: ch, Out: ch, Err: ch.Stderr(), Resize: resize, Attach: o.attach, Offered: o.key}
	start := make(chan bool, 1)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer ch.Close() // before the wait: it ends the loop over reqs
	asked := func() error {
		started, pace := false, newPace()
		for r := range reqs {
			ok := false
			if pace.Wait(ctx) != nil {
				r.Reply(false, nil)
				continue
			}
			switch r.Type {
			case "pty-req":
				if p, err := parsePTY(r.Payload); err == nil && !started {
					inv.TTY, inv.Term, inv.Cols, inv.Rows = true, p.Term, int(p.Cols), int(p.Rows)
					inv.Err = ch
					ok = true
				}
			case "shell":
				ok = !started
			case "exec":
				line, rest, whole := takeString(r.Payload)
				if started || !whole || len(rest) != 0 || len(line) > maxCommandLine {
					break
				}
				if inv.Args, err = dialogue.Split(string(line)); err != nil {
					turnDown(ch, r, o.s.o.Name+": "+err.Error())
					break
				}
				ok = true
			case "subsystem":
				name, _, _ := takeString(r.Payload)
				o.refused("subsystem "+string(name), "the gateway itself has no files")
				turnDown(ch, r, fmt.Sprintf("%s has no %s of its own. Name a target: sftp -J %s login@target", o.s.o.Name, display.Line(string(name), 32), o.s.o.Name))
			case "window-change":
				if c, rows, err := parseWindow(r.Payload); err == nil && started {
					latest(resize, dialogue.Size{Cols: int(c), Rows: int(rows)})
				}
			case "signal":
				if name, _, _ := takeString(r.Payload); string(name) == "INT" {
					cancel(dialogue.ErrInterrupted)
				}
			}
			r.Reply(ok, nil)
			if ok && (r.Type == "shell" || r.Type == "exec") {
				started = true
				start <- true
			}
		}
		return nil
	}
	wg.Go(func() {
		defer close(resize)
		defer cancel(errClientGone)
		if proxy.Contain(o.s.o.Log, nil, "ssh command requests", asked) != nil {
			o.sc.Close()
		}
		select {
		case start <- false:
		default: // it has started, and perhaps ended
		}
	})
	if !<-start {
		return
	}
	id := o.identity()
	inv.Caller, inv.User = id.Caller, id.User
	if id.Grant != "" && !(len(inv.Args) > 0 && slices.Contains(certCommands, inv.Args[0])) {
		o.refuseCommand(inv.Err, id.Grant)
		exitStatus(ch, 2)
		ch.CloseWrite()
		return
	}
	status := o.s.o.Commands(ctx, inv)
	exitStatus(ch, status)
	ch.CloseWrite()
}

// turnDown refuses a request in words.
func turnDown(ch ssh.Channel, r *ssh.Request, text string) {
	r.Reply(true, nil)
	r.WantReply = false
	fmt.Fprintf(ch.Stderr(), "%s\r\n", text)
	exitStatus(ch, 2)
	ch.Close()
}

// latest puts v into a channel of capacity 1, in place of what nobody took.
func latest[T any](c chan T, v T) {
	for {
		select {
		case c <- v:
			return
		default:
		}
		select {
		case <-c:
		default:
		}
	}
}

// attach makes a prompt the place where questions of connections on the same
// outer connection are asked.
func (o *outer) attach(t dialogue.Terminal) (detach func()) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.term = append(o.term, t)
	var once sync.Once
	return func() {
		once.Do(func() {
			o.mu.Lock()
			defer o.mu.Unlock()
			if i := slices.Index(o.term, t); i >= 0 {
				o.term = slices.Delete(o.term, i, i+1)
			}
		})
	}
}

func exitStatus(ch ssh.Channel, status int) {
	ch.SendRequest("exit-status", false, binary.BigEndian.AppendUint32(nil, uint32(status)))
}

// A ptyRequest is the payload of a pty-req (RFC 4254, 6.2).
type ptyRequest struct {
	Term       string
	Cols, Rows uint32
}

const (
	maxTerm    = 128
	maxColumns = 4096 // of a terminal: recorders and emulators allocate it
)

func parsePTY(b []byte) (ptyRequest, error) {
	term, b, ok := takeString(b)
	if !ok || len(term) > maxTerm {
		return ptyRequest{}, io.ErrUnexpectedEOF
	}
	cols, rows, err := parseWindow(b)
	if err != nil || len(b) < 16 {
		return ptyRequest{}, io.ErrUnexpectedEOF
	}
	if _, rest, ok := takeString(b[16:]); !ok || len(rest) != 0 { // modes
		return ptyRequest{}, io.ErrUnexpectedEOF
	}
	return ptyRequest{Term: string(term), Cols: cols, Rows: rows}, err
}

// parseWindow reads the sizes that begin a window-change and end a pty-req,
// and clamps them.
func parseWindow(b []byte) (cols, rows uint32, err error) {
	cols, b, ok := takeUint32(b)
	if !ok {
		return 0, 0, io.ErrUnexpectedEOF
	}
	rows, _, ok = takeUint32(b)
	if !ok {
		return 0, 0, io.ErrUnexpectedEOF
	}
	return min(cols, maxColumns), min(rows, maxColumns), nil
}
