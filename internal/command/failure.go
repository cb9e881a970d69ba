package command

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"jit-gateway/internal/dialogue"
	"jit-gateway/internal/store"
)

// A failure is an error whose text is for the user: exit status 1, or 2 where
// the command line was wrong.
type failure struct {
	text string
	code int
}

func (f *failure) Error() string { return f.text }

func failf(format string, args ...any) error {
	return &failure{fmt.Sprintf(format, args...), Failed}
}

func usagef(format string, args ...any) error {
	return &failure{fmt.Sprintf(format, args...), Usage}
}

// errQuiet is a failure that was told already.
var errQuiet = errors.New("failed")

// complain prints an error and returns the exit status.
func (c *call) complain(err error) int {
	if err == nil {
		return OK
	}
	var f *failure
	var refusal *dialogue.Refusal
	text, code := "", Failed
	switch {
	case errors.Is(err, errQuiet):
		return Failed
	case errors.As(err, &f):
		text, code = f.text, f.code
	case errors.As(err, &refusal):
		text = refusal.Text
	case dialogue.IsDecision(err):
		text = dialogue.Sentence(err.Error())
	case errors.Is(err, store.ErrNotFound):
		text = dialogue.Sentence(err.Error())
	case errors.Is(context.Cause(c.context()), dialogue.ErrInterrupted):
		text = "Stopped."
	default:
		c.r.o.Logger.Error("a command failed", "user", c.inv.User.Name, "error", err)
		text = "The gateway could not do that now; its operator finds the reason in the log."
		if c.inv.LocalAdmin || c.inv.User.ID != "" && c.r.o.Approvals.IsAdmin(c.inv.User) {
			text = dialogue.Sentence(err.Error())
		}
	}
	if code == Usage {
		text = dialogue.Sentence(text)
		if c.inv.TTY && len(c.inv.Args) == 0 {
			text += " `help` lists the commands."
		} else if !strings.Contains(text, "ssh -t") {
			text += fmt.Sprintf(" See: %shelp", c.prefix())
		}
	}
	_, _ = io.WriteString(c.err, text+"\n")
	return code
}

func (c *call) context() context.Context {
	if c.ctx == nil {
		return context.Background()
	}
	return c.ctx
}

// prefix is how this caller runs a command.
func (c *call) prefix() string {
	if c.inv.LocalAdmin {
		return "jit-gateway "
	}
	return "ssh " + c.r.o.Public.Name + " "
}
