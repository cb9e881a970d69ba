package dialogue

import (
	"context"
	"errors"
)

// A Terminal is the person at the other end of a connection, as the dialogue
// sees them: something that shows lines, asks questions and can be waited
// with. The SSH handler has one over keyboard-interactive prompts, the
// command interface one over a session channel.
//
// Each method returns when the text was handed over or the answer has come,
// and MUST return soon after ctx is done. A Terminal is used by one dialogue
// at a time.
type Terminal interface {
	// Say shows one or more whole lines; the Terminal adds the final line
	// break. Text is already safe to show (package display).
	Say(ctx context.Context, text string) error
	// Ask shows the prompt and returns the line that was typed, without its
	// line break. With echo off the answer is not shown and MUST NOT be
	// recorded or logged. io.EOF means that nobody will answer any more,
	// ErrInterrupted that the person pressed Ctrl-C.
	Ask(ctx context.Context, prompt string, echo bool) (string, error)
	// Alive shows that waiting goes on, in whatever way the medium has, and
	// returns an error when the other side has gone.
	Alive(ctx context.Context) error
}

// ErrInterrupted is the answer of a person who pressed Ctrl-C. A caller that
// runs a dialogue and sees Ctrl-C while no question is open cancels the
// dialogue's context with this cause.
var ErrInterrupted = errors.New("interrupted")
