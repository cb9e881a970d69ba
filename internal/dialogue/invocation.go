package dialogue

import (
	"errors"
	"io"

	"golang.org/x/crypto/ssh"

	"jit-gateway/approval"
	"jit-gateway/internal/identity"
)

// An Invocation is one use of the command interface: over `ssh jit-gateway …`
// or over the administrators' socket. Who fills it in has verified Caller and
// User; the command tree trusts both.
//
// The context that comes with it ends with the connection. Ctrl-C that is not
// an answer to a question (a signal request, the local client's SIGINT)
// cancels it with the cause ErrInterrupted.
type Invocation struct {
	Caller approval.Caller
	// User is zero for the local administrator and for an unknown key, which
	// may run `enroll` alone.
	User identity.User
	// LocalAdmin is true on the administrators' socket only.
	LocalAdmin bool
	// Offered is the public key whose signature was verified on this
	// connection: what `enroll` registers. Nil on the socket.
	Offered ssh.PublicKey

	Args []string // the command line, split as a shell would; none: the prompt, or without a terminal the lines of In
	In   io.Reader
	Out  io.Writer
	Err  io.Writer

	// TTY says that In and Out are one terminal in raw mode: commands edit
	// lines themselves, echo, and end lines with CR LF.
	TTY    bool
	Term   string // TERM of that terminal
	Cols   int
	Rows   int
	Resize <-chan Size // may be nil; closed with the connection

	// Echo switches the echo of a terminal that is not in raw mode, for
	// codes: true is on. Nil where nothing can be done about it.
	Echo func(on bool)

	// Attach is called by the prompt with its Terminal, so that questions of
	// connections tunnelled beside it appear there; the returned function
	// takes it away again. Nil where there are none.
	Attach func(Terminal) (detach func())
}

// Size of a terminal.
type Size struct{ Cols, Rows int }

// Split cuts a command line into words as a POSIX shell would, knowing
// blanks, quotes and backslashes and nothing else: no expansion, no operators.
// It is how the SSH handler makes Invocation.Args of an exec request.
func Split(line string) ([]string, error) {
	var (
		words []string
		cur   []rune
		in    bool // inside a word
		quote rune
		esc   bool
	)
	for _, r := range line {
		switch {
		case esc:
			if quote == '"' && r != '"' && r != '\\' && r != '$' && r != '`' {
				cur = append(cur, '\\')
			}
			cur, esc = append(cur, r), false
		case r == '\\' && quote != '\'':
			esc, in = true, true
		case quote != 0 && r == quote:
			quote = 0
		case quote != 0:
			cur = append(cur, r)
		case r == '\'' || r == '"':
			quote, in = r, true
		case r == ' ' || r == '\t' || r == '\n' || r == '\r':
			if in {
				words, cur, in = append(words, string(cur)), nil, false
			}
		default:
			cur, in = append(cur, r), true
		}
	}
	switch {
	case quote != 0:
		return nil, errors.New("a quote is not closed")
	case esc:
		return nil, errors.New("the line ends in a backslash")
	case in:
		words = append(words, string(cur))
	}
	return words, nil
}
