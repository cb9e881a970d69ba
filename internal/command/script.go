package command

import (
	"context"
	"strings"

	"jit-gateway/internal/dialogue"
)

// script runs the command lines that come on stdin where there is neither a
// command nor a terminal, as a shell does: each in turn, also after one that
// failed; what a command asks, the next line answers; # begins a comment. The
// exit status is that of the last one that failed. Without any line it says
// what to do instead.
func (c *call) script(ctx context.Context, in *lineReader) int {
	status, ran := OK, false
	for {
		line, err := in.line(ctx)
		if err != nil {
			if !ran && ctx.Err() == nil {
				return c.execute(ctx, nil)
			}
			return status
		}
		if line = strings.TrimSpace(line); line == "" || line[0] == '#' {
			continue
		}
		ran = true
		args, err := dialogue.Split(line)
		switch {
		case err != nil:
			status = c.complain(usagef("%s", err))
			continue
		case len(args) == 0:
			continue
		case len(args) == 1 && (args[0] == "exit" || args[0] == "quit" || args[0] == "logout"):
			return status
		}
		if s := c.execute(ctx, args); s != OK {
			status = s
		}
		if !c.usable(ctx) || ctx.Err() != nil {
			return Failed
		}
	}
}

// usable is refresh without words: the command that found it out has said so.
func (c *call) usable(ctx context.Context) bool {
	said := c.err
	c.err = quiet{}
	defer func() { c.err = said }()
	return c.refresh(ctx)
}

type quiet struct{}

func (quiet) Write(p []byte) (int, error) { return len(p), nil }
