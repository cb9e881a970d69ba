package command

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/alecthomas/kong"

	"jit-gateway/approval"
	"jit-gateway/internal/audit"
	"jit-gateway/internal/dialogue"
	"jit-gateway/internal/display"
)

// A call is one command being run.
type call struct {
	r    *Runner
	inv  dialogue.Invocation
	ctx  context.Context
	root *tree
	name string // of the command that runs, such as recording export
	term dialogue.Terminal
	con  *console // nil without a terminal in raw mode
	out  io.Writer
	err  io.Writer
}

// maxArgs bounds a command line.
const (
	maxArgs    = 256
	maxArgSize = 64 << 10
)

// Run runs one command line, or the prompt, and returns its exit status.
func (r *Runner) Run(ctx context.Context, inv dialogue.Invocation) (status int) {
	c := &call{r: r, inv: inv, out: inv.Out, err: inv.Err}
	if inv.TTY {
		c.con = newConsole(inv.In, inv.Out, inv.Cols, inv.Rows, inv.Resize, r.o.Now)
		c.term, c.out, c.err = c.con, c.con, c.con
	} else {
		c.term = &lines{in: &lineReader{r: inv.In}, err: inv.Err, echo: inv.Echo, now: r.o.Now}
	}
	// A command that panics is a bug; it must not take the gateway along.
	defer func() {
		if p := recover(); p != nil {
			r.o.Logger.Error("a command panicked", "args0", first(inv.Args), "panic", fmt.Sprint(p))
			_, _ = io.WriteString(c.err, "That command failed in the gateway; its operator finds the reason in the log.\n")
			status = Failed
		}
	}()
	if len(inv.Args) == 0 && inv.TTY {
		return c.prompt(ctx)
	}
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	if c.con != nil {
		c.con.onInterrupt(func() { stop(dialogue.ErrInterrupted) })
	}
	if l, ok := c.term.(*lines); ok && len(inv.Args) == 0 {
		return c.script(ctx, l.in)
	}
	return c.execute(ctx, inv.Args)
}

func first(args []string) string {
	if len(args) == 0 {
		return ""
	}
	return display.Line(args[0], 40)
}

// prompt reads command lines until exit or the end of the connection.
func (c *call) prompt(ctx context.Context) int {
	c.greet(ctx)
	if c.inv.Attach != nil {
		defer c.inv.Attach(c.con)()
	}
	for {
		line, err := c.con.readCommand(ctx, c.r.o.Public.Name+"> ")
		switch {
		case errors.Is(err, dialogue.ErrInterrupted) && ctx.Err() == nil:
			continue
		case errors.Is(err, io.EOF):
			return OK
		case err != nil:
			return Failed
		}
		args, err := dialogue.Split(line)
		switch {
		case err != nil:
			c.complain(usagef("%s", err))
			continue
		case len(args) == 0:
			continue
		case len(args) == 1 && (args[0] == "exit" || args[0] == "quit" || args[0] == "logout"):
			return OK
		}
		one, stop := context.WithCancelCause(ctx)
		c.con.onInterrupt(func() { stop(dialogue.ErrInterrupted) })
		c.execute(one, args)
		c.con.onInterrupt(nil)
		stop(nil)
		if !c.refresh(ctx) {
			return Failed
		}
	}
}

func (c *call) greet(ctx context.Context) {
	name := "local administrator"
	if c.inv.User.ID != "" {
		name = display.Line(c.inv.User.Name, 64)
	}
	text := fmt.Sprintf("%s: hello, %s. `help` lists the commands, `exit` leaves.", c.r.o.Public.Name, name)
	if c.inv.User.ID != "" {
		if open, err := c.r.o.Approvals.Pending(ctx, c.inv.Caller); err == nil && len(open) > 0 {
			text += fmt.Sprintf("\n%s for your answer: %s", count(len(open), "request waits", "requests wait"), strings.Join(requestIDs(open), " "))
		}
	}
	c.say("%s", text)
}

// refresh reads user and key anew: a disabled user's next command is refused,
// whatever the connection was let in as.
func (c *call) refresh(ctx context.Context) bool {
	if c.inv.User.ID == "" {
		return true
	}
	u, err := c.r.o.Users.User(ctx, c.inv.User.ID)
	if err != nil {
		return c.complain(fmt.Errorf("read your user: %w", err)) == OK
	}
	if !u.Usable(c.r.o.Now()) {
		c.complain(failf("Your user is disabled. Ask an administrator."))
		return false
	}
	if fp := c.inv.Caller.KeyFingerprint; fp != "" {
		owner, _, err := c.r.o.Users.UserByKey(ctx, fp)
		if err != nil || owner.ID != u.ID {
			c.complain(failf("The key of this connection is not registered any more."))
			return false
		}
	}
	c.inv.User = u
	return true
}

// execute runs one command line.
func (c *call) execute(ctx context.Context, args []string) int {
	c.ctx = ctx
	defer func() { c.name = "" }()
	if len(args) > maxArgs || size(args) > maxArgSize {
		return c.complain(usagef("The command line is too long."))
	}
	if !c.refresh(ctx) {
		return Failed
	}
	none := len(args) == 0
	if none {
		args = []string{"--help"}
		defer func() { c.complain(usagef("Name a command, or use a terminal: ssh -t %s", c.r.o.Public.Name)) }()
	}
	k, err := c.r.parser(c, c.out)
	if err != nil {
		return c.complain(err)
	}
	kc, err := k.Parse(args)
	switch {
	case errors.Is(err, errHelp):
		if none {
			return Usage
		}
		return OK
	case err != nil:
		return c.complain(c.misread(err))
	}
	who := "user"
	for _, p := range kc.Path {
		if p.Command != nil {
			who = whoOf(p.Command, who)
		}
	}
	c.name = commandName(kc)
	if why := c.denied(who); why != "" {
		c.refusedEvent(kc, why)
		return c.complain(failf("%s", why))
	}
	return c.complain(kc.Run(c))
}

// refusedEvent tells the log of a command that was not for its caller.
func (c *call) refusedEvent(kc *kong.Context, why string) {
	ev := audit.Event{Type: audit.CommandRefused, Outcome: audit.Denied, Actor: c.actor(), User: c.inv.User.ID, Reason: why,
		Detail: map[string]string{"command": kc.Command()}}
	if _, err := c.r.o.Log.Append(c.ctx, ev); err != nil {
		c.r.o.Logger.Error("audit a refused command", "error", err)
	}
}

func size(args []string) int {
	n := 0
	for _, a := range args {
		n += len(a)
	}
	return n
}

// actor is the caller as the audit log names them.
func (c *call) actor() audit.Actor {
	if c.inv.LocalAdmin {
		return audit.Actor{Name: "local-admin", Via: "admin.sock"}
	}
	return audit.Actor{ID: c.inv.User.ID, Name: c.inv.User.Name, Source: c.inv.Caller.Source, Via: c.inv.Caller.Via}
}

// say prints lines for people, to the terminal or stderr.
func (c *call) say(format string, args ...any) {
	_ = c.term.Say(c.context(), fmt.Sprintf(format, args...))
}

func requestIDs(rs []approval.Request) []string {
	ids := make([]string, len(rs))
	for i, r := range rs {
		ids[i] = r.ID
	}
	return ids
}

func count(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}
