package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"filippo.io/age"
	"filippo.io/age/agessh"
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

// identities reads age identity files and SSH private keys.
func identities(paths []string) ([]age.Identity, error) {
	var out []age.Identity
	for _, p := range paths {
		b, err := os.ReadFile(p)
		if err != nil {
			return nil, fmt.Errorf("read identity: %w", err)
		}
		if id, err := agessh.ParseIdentity(b); err == nil {
			out = append(out, id)
			continue
		}
		f, err := os.Open(p)
		if err != nil {
			return nil, err
		}
		ids, err := age.ParseIdentities(f)
		f.Close()
		if err != nil {
			return nil, errors.New(p + " is neither an age identity file nor an SSH private key without passphrase")
		}
		out = append(out, ids...)
	}
	return out, nil
}
