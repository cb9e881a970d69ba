package audit

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/tlog"
)

const proofHeader = "c2sp.org/tlog-proof@v1"

// Prove returns the proof that the event with the number seq is in the log
// that the checkpoint describes, in the format of https://c2sp.org/tlog-proof.
// It stands alone: the event's bytes, this text and the log's public key are
// all that a verifier needs.
func Prove(ctx context.Context, l Log, seq int64, c Checkpoint) ([]byte, error) {
	if seq < 0 || seq >= c.Size {
		return nil, fmt.Errorf("event %d is not covered by the checkpoint of %d events", seq, c.Size)
	}
	p, err := tlog.ProveRecord(c.Size, seq, l.Hashes(ctx))
	if err != nil {
		return nil, fmt.Errorf("prove event %d: %w", seq, err)
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s\nindex %d\n", proofHeader, seq)
	for _, h := range p {
		fmt.Fprintf(&b, "%s\n", h)
	}
	fmt.Fprintf(&b, "\n%s", c.Note)
	return b.Bytes(), nil
}

// maxProof bounds a proof: a checkpoint and 63 hashes.
const maxProof = maxCheckpoint + 8<<10

// CheckProof verifies that the leaf, the exact bytes of one event, is in the
// log that the proof's checkpoint describes and the key has signed.
func CheckProof(proof, leaf []byte, vkey string) (seq int64, c Checkpoint, err error) {
	seq, hashes, signed, err := parseProof(proof)
	if err != nil {
		return 0, Checkpoint{}, err
	}
	if c, err = OpenCheckpoint(signed, vkey); err != nil {
		return 0, Checkpoint{}, err
	}
	if seq >= c.Size {
		return 0, Checkpoint{}, fmt.Errorf("the proof is of event %d, its checkpoint covers only %d events", seq, c.Size)
	}
	if err := tlog.CheckRecord(hashes, c.Size, c.Root, seq, tlog.RecordHash(leaf)); err != nil {
		return 0, Checkpoint{}, fmt.Errorf("the event is not number %d of the log of %d events: %w", seq, c.Size, err)
	}
	return seq, c, nil
}

func parseProof(proof []byte) (seq int64, hashes tlog.RecordProof, signed string, err error) {
	malformed := func(what string) (int64, tlog.RecordProof, string, error) {
		return 0, nil, "", errors.New("malformed proof: " + what)
	}
	if len(proof) > maxProof {
		return malformed("too long")
	}
	head, signed, ok := strings.Cut(string(proof), "\n\n")
	if !ok {
		return malformed("no checkpoint")
	}
	lines := strings.Split(head, "\n")
	if lines[0] != proofHeader {
		return malformed("it does not begin with " + proofHeader)
	}
	lines = lines[1:]
	if len(lines) > 0 && strings.HasPrefix(lines[0], "extra ") {
		lines = lines[1:] // ours to ignore: nothing signs it
	}
	if len(lines) == 0 {
		return malformed("no index")
	}
	number, ok := strings.CutPrefix(lines[0], "index ")
	seq, err = strconv.ParseInt(number, 10, 64)
	if !ok || err != nil || seq < 0 || strconv.FormatInt(seq, 10) != number {
		return malformed("no index")
	}
	if lines = lines[1:]; len(lines) > 63 {
		return malformed("more than 63 hashes")
	}
	for _, l := range lines {
		h, err := tlog.ParseHash(l)
		if err != nil || h.String() != l {
			return malformed(fmt.Sprintf("%.60q is not a hash", l))
		}
		hashes = append(hashes, h)
	}
	return seq, hashes, signed, nil
}

// ProveConsistency returns the hashes which show that the log of the newer
// checkpoint begins with the log of the older one.
func ProveConsistency(ctx context.Context, l Log, older, newer Checkpoint) (tlog.TreeProof, error) {
	if older.Size > newer.Size {
		return nil, fmt.Errorf("a log of %d events does not begin with one of %d", newer.Size, older.Size)
	}
	if older.Size == 0 {
		return nil, nil // everything begins with nothing
	}
	p, err := tlog.ProveTree(newer.Size, older.Size, l.Hashes(ctx))
	if err != nil {
		return nil, fmt.Errorf("prove that the log of %d events begins with that of %d: %w", newer.Size, older.Size, err)
	}
	return p, nil
}

// CheckConsistency verifies what ProveConsistency proves. The checkpoints must
// have been verified before.
func CheckConsistency(p tlog.TreeProof, older, newer Checkpoint) error {
	switch {
	case older.Size > newer.Size:
		return fmt.Errorf("the log shrank from %d to %d events", older.Size, newer.Size)
	case older.Size == 0:
		return nil
	}
	if err := tlog.CheckTree(p, newer.Size, newer.Root, older.Size, older.Root); err != nil {
		return fmt.Errorf("the log of %d events does not begin with the %d that were signed before: %w", newer.Size, older.Size, err)
	}
	return nil
}
