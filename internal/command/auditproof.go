package command

import (
	"bytes"
	"fmt"
	"io"

	"jit-gateway/internal/audit"
)

// Proofs leave the gateway as text in public formats, so that somebody can
// check them without this program: testdata/checklog does.

type auditCheckpointCmd struct{}

// Help is shown below the usage.
func (*auditCheckpointCmd) Help() string {
	return "Keep it elsewhere: `audit verify --against` and `verify --against` then show that nothing before it was changed since. Example: ssh jit-gateway audit checkpoint > checkpoint.txt"
}

func (*auditCheckpointCmd) Run(c *call) error {
	_, point, err := c.signedLog()
	if err != nil {
		return err
	}
	if err := c.auditRead("checkpoint"); err != nil {
		return err
	}
	_, err = io.WriteString(c.out, point.Note)
	return err
}

type auditProofCmd struct {
	Event int64 `arg:"" optional:"" name:"seq" help:"Number of an event: its inclusion is proved." default:"-1"`
	Leaf  bool  `help:"Write the event's exact bytes instead, which the proof is of."`
	Since int64 `help:"Size of an older checkpoint: prove that the log still begins with what it covered." placeholder:"SIZE" default:"-1"`
}

// Help is shown below the usage.
func (*auditProofCmd) Help() string {
	return "A proof of inclusion is a c2sp.org/tlog-proof; one of consistency has the form of c2sp.org/tlog-witness: the old size, the hashes, and the newest checkpoint. Examples: audit proof 812 > 812.proof; audit proof 812 --leaf > 812.json; audit proof --since 700 > 700.proof"
}

func (p *auditProofCmd) Run(c *call) error {
	if (p.Event >= 0) == (p.Since >= 0) || p.Leaf && p.Event < 0 {
		return usagef("Name an event by its number, or --since and the size of an older checkpoint.")
	}
	log, point, err := c.signedLog()
	if err != nil {
		return err
	}
	if n := max(p.Event+1, p.Since); n > point.Size {
		return failf("The newest checkpoint covers %s, from 0 to %d. A new one is signed at most a second after an event.", count(int(point.Size), "event", "events"), point.Size-1)
	}
	if err := c.auditRead("proof"); err != nil {
		return err
	}
	var out []byte
	switch {
	case p.Leaf:
		leaves, err := log.Leaves(c.ctx, p.Event, 1)
		if err != nil {
			return err
		}
		if len(leaves) != 1 || leaves[0].Seq != p.Event {
			return failf("Event %d is missing from the log. See: %saudit verify", p.Event, c.prefix())
		}
		out = leaves[0].Data
	case p.Event >= 0:
		if out, err = audit.Prove(c.ctx, log, p.Event, point); err != nil {
			return err
		}
	default:
		hashes, err := audit.ProveConsistency(c.ctx, log, audit.Checkpoint{Size: p.Since}, point)
		if err != nil {
			return err
		}
		var b bytes.Buffer
		fmt.Fprintf(&b, "old %d\n", p.Since)
		for _, h := range hashes {
			fmt.Fprintf(&b, "%s\n", h)
		}
		fmt.Fprintf(&b, "\n%s", point.Note)
		out = b.Bytes()
	}
	_, err = c.out.Write(out)
	return err
}

// signedLog returns the log and its newest checkpoint.
func (c *call) signedLog() (audit.Log, audit.Checkpoint, error) {
	log, ok := c.r.o.AuditLog.(audit.Log)
	if !ok || c.r.o.AuditKey == "" {
		return nil, audit.Checkpoint{}, failf("The log of this gateway is not signed: there is nothing to prove with.")
	}
	point, err := log.LastCheckpoint(c.ctx)
	if err == nil && point.Size == 0 {
		err = failf("No checkpoint is signed yet. Try again in a second.")
	}
	return log, point, err
}
