package command

import (
	"context"
	"io"

	"jit-gateway/internal/audit"
)

// BackupOptions says what a backup holds.
type BackupOptions struct {
	Recordings bool
	Recipients []string // age recipients; none: not encrypted
}

type backupCmd struct {
	Recordings bool     `help:"With the sealed recordings that lie in the gateway's directory."`
	Recipient  []string `help:"Encrypt it to this age recipient (age1… or an SSH public key); may be repeated." sep:"none" placeholder:"KEY"`
}

// Help is shown below the usage.
func (*backupCmd) Help() string {
	return "Writes the store, the keys and the configuration as one stream to stdout: `jit-gateway backup FILE` does it on the machine itself. " +
		"The sealing key is not in it; the keys of the certificate authorities are."
}

// Run writes the backup. It holds the keys of the certificate authorities: so
// nobody gets it who cannot read them anyway.
func (b *backupCmd) Run(c *call) error {
	o := BackupOptions{Recordings: b.Recordings, Recipients: b.Recipient}
	ev := audit.Event{Type: audit.BackupMade, Outcome: audit.Success, Actor: c.actor(), Detail: map[string]string{}}
	if b.Recordings {
		ev.Detail["recordings"] = "true"
	}
	if len(b.Recipient) > 0 {
		ev.Detail["encrypted"] = "true"
	}
	if _, err := c.r.o.Log.Append(c.ctx, ev); err != nil { // before the first byte leaves
		return err
	}
	return c.r.o.Backup(c.ctx, c.inv.Out, o)
}

// Backup writes a backup; it is here for its name in Options.
type Backup func(ctx context.Context, w io.Writer, o BackupOptions) error
