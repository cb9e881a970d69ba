package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"jit-gateway/internal/backup"
	"jit-gateway/internal/command"
	"jit-gateway/internal/config"
	"jit-gateway/internal/store/sqlite"
	"jit-gateway/recording"
)

type backupCmd struct {
	File       string   `arg:"" help:"File to write; it must not be there." type:"path"`
	Recordings bool     `help:"With the sealed recordings that lie in the gateway's directory."`
	Recipient  []string `help:"Encrypt it to this age recipient (age1… or an SSH public key); may be repeated." sep:"none" placeholder:"KEY"`
}

// Run takes the stream from the running gateway. The file has its name only
// when it is whole and on the disk.
func (b backupCmd) Run(ctx context.Context, cli *local, s *io3) (err error) {
	c, err := config.Load(cli.Config)
	if err != nil {
		return err
	}
	if _, err := os.Lstat(b.File); err == nil {
		return fmt.Errorf("%s is there already", b.File)
	}
	part := b.File + ".part"
	f, err := os.OpenFile(part, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("write the backup: %w", err)
	}
	defer func() {
		if err != nil {
			f.Close()
			os.Remove(part)
		}
	}()
	args := []string{"backup"}
	if b.Recordings {
		args = append(args, "--recordings")
	}
	for _, r := range b.Recipient {
		args = append(args, "--recipient="+r)
	}
	if code := command.Call(ctx, socketPath(c), args, command.Stdio{Out: f, Err: s.err}); code != command.OK {
		return exitError(code)
	}
	if err := errors.Join(f.Sync(), f.Close(), os.Rename(part, b.File), syncParent(b.File)); err != nil {
		return fmt.Errorf("write the backup: %w", err)
	}
	st, err := os.Stat(b.File)
	if err != nil {
		return err
	}
	fmt.Fprintf(s.out, "%s: %d bytes. The sealing key is not in it: keep %s elsewhere.\n", b.File, st.Size(), c.SealKey)
	if len(b.Recipient) == 0 {
		fmt.Fprintln(s.out, "The keys of the certificate authorities are in it, in clear: keep it as you keep them.")
	}
	return nil
}

func syncParent(path string) error {
	d, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

// backup writes a backup of the running gateway.
func (s services) backup(ctx context.Context, w io.Writer, want command.BackupOptions) error {
	c := s.g.conf
	if s.g.shared != nil {
		return errors.New("the store is in PostgreSQL: its own tools back it up; docs/backup.md says what else there is to keep")
	}
	o := backup.Options{Gateway: c.Name, Program: versionString(), Keys: filepath.Join(c.DataDir, "keys"), SealKey: c.SealKey, Config: c.Path,
		Temp: c.DataDir, Sign: s.g.checkpoints.Sign, Now: now,
		Snapshot: func(ctx context.Context, to string) error { return sqlite.Snapshot(ctx, c.Store.Path, to) }}
	if want.Recordings {
		o.Recordings = s.recordings
	}
	for _, text := range want.Recipients {
		r, err := recording.ParseRecipient(text)
		if err != nil {
			return err
		}
		o.Recipients = append(o.Recipients, r)
	}
	m, err := backup.Write(ctx, w, o)
	if err != nil {
		return err
	}
	s.log.Info("a backup was written", "events", m.Events, "files", len(m.Files))
	return nil
}
