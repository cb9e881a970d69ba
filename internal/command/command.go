// Package command is the command interface: one tree of commands, served over
// `ssh jit-gateway …` (by the SSH handler, which makes an Invocation of each
// session channel) and over admin.sock (Listen and Call, for the local
// administrator and for the subcommands of the binary).
//
// A command checks what it was given, calls one service, and prints: a table
// or sentences for people, with --json the service's own types for programs.
// It decides nothing about access. Questions (reason, code, passphrase) go to
// the terminal, or to stderr with answers from stdin, so that stdout holds
// the result alone. Every string from a person, a peer or the store passes
// package display.
//
// Exit status: 0 done, 1 refused or failed, 2 the command line was wrong.
//
// Start reading at Runner.Run, then tree.go for the list.
package command

import (
	"context"
	"io"
	"time"

	"jit-gateway/internal/dialogue"
)

// Exit statuses.
const (
	OK     = 0
	Failed = 1
	Usage  = 2
)

// Options builds a Runner.
type Options struct {
	Now func() time.Time
}

// Runner runs commands.
type Runner struct{ o Options }

// New checks the options.
func New(o Options) (*Runner, error) { return &Runner{o: o}, nil }

// Run runs one command line, or the prompt, and returns its exit status.
func (r *Runner) Run(ctx context.Context, inv dialogue.Invocation) int { panic("not yet") }

// Listen serves the administrators' socket at path until ctx is done.
func (r *Runner) Listen(ctx context.Context, path string) error { panic("not yet") }

// Stdio is what Call connects to the command. Terminals are recognised and
// put into raw mode for the call.
type Stdio struct {
	In       io.Reader
	Out, Err io.Writer
}

// Call runs a command line on the gateway behind the socket at path, and
// returns its exit status.
func Call(ctx context.Context, path string, args []string, s Stdio) int { panic("not yet") }
