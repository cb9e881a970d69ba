package command

import (
	"context"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"

	"github.com/alecthomas/kong"

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

var notNumberRE = regexp.MustCompile(`: expected a valid \d+ bit int but got `)

// misread words what the parser says of a command line, and remembers how far
// it got, so that the right help is named.
func (c *call) misread(err error) error {
	text := err.Error()
	if parse, ok := errors.AsType[*kong.ParseError](err); ok {
		c.name = commandName(parse.Context)
	}
	if flag, _, ok := strings.Cut(text, `: expected `); ok && strings.HasSuffix(text, `got "EOL" (<EOL>)`) {
		text = flag + " needs a value"
	}
	text = strings.Replace(text, `one of "",`, "one of ", 1) // nothing is the default, and not said
	text = notNumberRE.ReplaceAllString(text, " needs a whole number, not ")
	if word, ok := strings.CutPrefix(text, "unexpected argument "); ok && c.name == "" {
		text = "there is no command " + word
	}
	return usagef("%s", text)
}

// commandName is a command as people type it, without its arguments.
func commandName(kc *kong.Context) string {
	var words []string
	for _, p := range kc.Path {
		if p.Command != nil && !p.Command.Hidden {
			words = append(words, p.Command.Name)
		}
	}
	return strings.Join(words, " ")
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
		text, code = err.Error(), f.code // with what of several it is about, where that was put in front
	case errors.As(err, &refusal):
		text = refusal.Text
	case dialogue.IsDecision(err):
		text = dialogue.Sentence(err.Error())
	case errors.Is(err, store.ErrNotFound):
		text = dialogue.Sentence(err.Error())
	case c.context().Err() != nil: // Ctrl-C, a client that has gone, the gateway's end: no trouble of the gateway
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
		help := strings.TrimSpace("help " + c.name)
		switch {
		case c.inv.TTY && len(c.inv.Args) == 0 && c.name == "":
			text += " `help` lists the commands."
		case c.inv.TTY && len(c.inv.Args) == 0:
			text += fmt.Sprintf(" See: %s", help)
		case !strings.Contains(text, "ssh -t"):
			text += fmt.Sprintf(" See: %s%s", c.prefix(), help)
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
