package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"time"

	"filippo.io/age"
	"golang.org/x/term"

	"jit-gateway/recording"
)

// replayCmd plays a recording file on this machine. It is the only way to see
// an encrypted one: identities never leave the auditor's machine.
type replayCmd struct {
	File     string        `arg:"" help:"Recording file." type:"existingfile"`
	Identity []string      `short:"i" help:"age identity file or SSH private key, for encrypted recordings." type:"existingfile"`
	Speed    float64       `help:"Speed factor." default:"1"`
	Idle     time.Duration `help:"Longest pause shown; 0 shows pauses as they were." default:"2s"`
	Start    time.Duration `help:"Begin at this moment."`
	Text     bool          `help:"Print the text instead of playing it."`
	Verify   bool          `help:"Verify instead of playing it."`
	Raw      bool          `help:"Do not neutralise hostile escape sequences."`
}

func (c replayCmd) Run(ctx context.Context, s *io3) error {
	r, err := recording.OpenFile(c.File)
	if err != nil {
		return err
	}
	defer r.Close()
	ids, err := identities(c.Identity)
	if err != nil {
		return err
	}
	if len(ids) > 0 {
		if err := r.Unlock(ids...); err != nil {
			return err
		}
	}
	opts := recording.ExportOptions{Raw: c.Raw}
	switch {
	case c.Verify:
		report := r.Verify()
		fmt.Fprintln(s.out, report)
		if !report.OK {
			return exitError(1)
		}
		return nil
	case c.Text:
		return recording.ExportText(r, s.out, opts)
	}
	o := recording.ReplayOptions{ExportOptions: opts, Speed: c.Speed, Idle: c.Idle, Start: c.Start, Plain: true}
	var keys io.Reader
	if in, ok := s.in.(*os.File); ok && term.IsTerminal(int(in.Fd())) {
		if out, ok := s.out.(*os.File); ok && term.IsTerminal(int(out.Fd())) {
			o.Cols, o.Rows, _ = term.GetSize(int(out.Fd()))
			old, err := term.MakeRaw(int(in.Fd()))
			if err != nil {
				return err
			}
			defer term.Restore(int(in.Fd()), old)
			keys, o.Plain = in, false
		}
	}
	return recording.Replay(ctx, r, s.out, keys, o)
}

// recipientsCmd lets more people read an encrypted recording. The gateway
// cannot: it takes the identity of somebody who can read it already.
type recipientsCmd struct {
	File      string   `arg:"" help:"Recording file; what it proves does not change." type:"existingfile"`
	Recipient []string `arg:"" help:"age1… or ssh-… public keys."`
	Identity  []string `short:"i" required:"" help:"age identity file or SSH private key of somebody who can read it." type:"existingfile"`
}

func (c recipientsCmd) Run(s *io3) error {
	ids, err := identities(c.Identity)
	if err != nil {
		return err
	}
	if err := recording.AddRecipients(c.File, ids, c.Recipient); err != nil {
		return err
	}
	fmt.Fprintf(s.out, "%d more can read it now.\n", len(c.Recipient))
	return nil
}

// identities reads age identity files and SSH private keys. The passphrase of
// a key is asked for on the terminal.
func identities(paths []string) ([]age.Identity, error) {
	var out []age.Identity
	for _, p := range paths {
		b, err := os.ReadFile(p)
		if err != nil {
			return nil, fmt.Errorf("read identity: %w", err)
		}
		ids, err := recording.ParseIdentities(b, func() ([]byte, error) { return passphrase(p) })
		if err != nil {
			return nil, fmt.Errorf("%s is neither an age identity file nor an SSH private key: %w", p, err)
		}
		out = append(out, ids...)
	}
	return out, nil
}

// passphrase asks for that of a key, on the terminal of whoever runs this.
func passphrase(key string) ([]byte, error) {
	tty, err := os.OpenFile("/dev/tty", os.O_RDWR, 0)
	if err != nil {
		return nil, fmt.Errorf("the key has a passphrase, and there is no terminal to ask for it: %w", err)
	}
	defer tty.Close()
	fmt.Fprintf(tty, "Passphrase of %s: ", key)
	p, err := term.ReadPassword(int(tty.Fd()))
	fmt.Fprintln(tty)
	return p, err
}
